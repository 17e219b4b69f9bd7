"""A decision, and how long it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm.dialogue import Dialogue

if TYPE_CHECKING:
    from mesa_llm.clients import Message, ToolChoice
    from mesa_llm.reasoning.observation import Observation


@dataclass(slots=True)
class Plan:
    """A decision.

    Attributes:
        step: the model's step in which it was made.
        llm_plan: the model's message, with the tool calls that carry the decision out.
        ttl: for how many steps it holds, at least 1.
        offered: the names of the tools that were on offer; calls of others are refused. `None` for all of the agent's.
        seen: what the agent saw as it decided; calls that name agents out of sight are refused. `None` for no check.
    """

    step: int
    llm_plan: Message
    ttl: int = 1
    offered: tuple[str, ...] | None = None
    seen: Observation | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """The text of the decision, or its tool calls if it has no text."""
        calls = ", ".join(f"{call.name}({call.arguments})" for call in self.llm_plan.tool_calls)
        return self.llm_plan.content or calls


type Thinking = Dialogue[Plan]
"""A decision in the making: yields each request to the model, is sent its response, returns the plan."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan answers: one made for another question is not in its place.

    Attributes:
        prompt: what was to be decided.
        selected_tools: the names of the tools on offer, `None` for all.
        tool_calls: whether the plan may, must not or must call tools.
    """

    prompt: str
    selected_tools: tuple[str, ...] | None
    tool_calls: ToolChoice | None


class HeldPlans:
    """The plans of an agent that hold for longer than the step they were made in."""

    def __init__(self) -> None:
        self._plans: dict[Question, Plan] = {}

    def find(self, question: Question, step: int) -> Plan | None:
        """The plan that holds in a step and was made in an earlier one; or `None`."""
        plan = self._plans.get(question)
        return replace(plan) if plan is not None and plan.step < step < plan.step + plan.ttl else None

    def keep(self, question: Question, plan: Plan) -> None:
        """Keep a plan, and forget those that hold no longer."""
        self._plans = {asked: kept for asked, kept in self._plans.items() if plan.step < kept.step + kept.ttl}
        self._plans[question] = replace(plan)


def check_ttl(ttl: int) -> int:
    """Return `ttl` if a plan can hold for so many steps.

    Raises:
        ConfigurationError: otherwise.
    """
    if ttl < 1:
        raise ConfigurationError(f"ttl must be at least 1 step, got {ttl!r}. With 1, the agent decides in each step.")
    return ttl


def names_of(selected_tools: Iterable[str] | None) -> tuple[str, ...] | None:
    """The names of the tools on offer, as a plan and a question hold them."""
    return None if selected_tools is None else tuple(selected_tools)
