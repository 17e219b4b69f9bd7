"""What an agent sees, what it decides, and how long the decision holds."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.values import plain, to_json, to_text, without_addresses
from mesa_llm.module_llm.dialogue import Dialogue

if TYPE_CHECKING:
    from mesa_llm.clients import Message, ToolChoice


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at one moment. A copy: it does not change when the world does.

    Attributes:
        step: the model's step.
        self_state: about the agent itself: `agent_unique_id`, `location`, `internal_state`, and `attributes` where its
            class declares `visible_attributes`.
        local_state: about each agent in its vision, by class name and id (`"Citizen 3"`): `position`,
            `internal_state`, and `attributes` likewise.
        environment: about its own cell and those in its vision, by position: the values of property layers, and
            `room`, how many more agents the cell takes. In JSON, positions become text such as `"[3, 4]"`, and an
            empty environment is left out.
    """

    step: int
    self_state: dict[str, Any]
    local_state: dict[str, Any]
    environment: dict[Hashable, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> str:
        """The observation as one line of JSON, every value in its canonical form."""
        fields = {"step": self.step, "self_state": self.self_state, "local_state": self.local_state}
        if self.environment:
            fields["environment"] = {
                to_json(place) if isinstance(place, tuple) else to_text(place): facts
                for place, facts in self.environment.items()
            }
        try:  # to_json would copy everything, and few values of an observation need it
            text = json.dumps(fields, default=plain, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # keys that JSON does not have, numbers that are not finite
            return to_json(fields)
        return without_addresses(text)

    def __str__(self) -> str:
        """The observation as it stands in a prompt."""
        return self.as_json()


def text_of(obs: Any) -> str:
    """An observation as it stands in a prompt: an `Observation`, a text, or anything else in its canonical form."""
    return str(obs if isinstance(obs, Observation | str) else plain(obs))


def sight_of(obs: Any) -> Any:
    """What an agent sees, to check calls against it; `None` if the observation does not say whom it sees."""
    return obs if hasattr(obs, "local_state") else None


@dataclass(slots=True)
class Plan:
    """A decision.

    Attributes:
        step: the model's step in which it was made.
        llm_plan: the model's message, with the tool calls that carry the decision out; of a strategy of your own also a
            text, or `None`, which call no tool.
        ttl: for how many steps it holds, at least 1.
        offered: the names of the tools on offer; calls of others are refused. `None` for all of the agent's.
        seen: what the agent saw as it decided; calls that name agents out of sight are refused. `None` for no check.
    """

    step: int
    llm_plan: Message
    ttl: int = 1
    offered: tuple[str, ...] | None = None
    seen: Observation | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """The text of the decision, or its tool calls if it has no text."""
        message: Any = self.llm_plan
        if not (message is None or isinstance(message, str)):
            message = message.content if hasattr(message, "content") else to_text(message)
        functions = (getattr(call, "function", call) for call in self.tool_calls)
        return message or ", ".join(f"{function.name}({function.arguments})" for function in functions)

    @property
    def tool_calls(self) -> Sequence[Any]:
        """The tool calls of the decision, in order."""
        return getattr(self.llm_plan, "tool_calls", None) or ()


type Thinking = Dialogue[Plan]
"""A decision in the making: a generator that yields requests, is sent the responses, and returns the plan."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan answers: prompt, tools on offer, and how many to call. A held plan answers only its own question."""

    prompt: str
    selected_tools: tuple[str, ...] | None
    tool_calls: ToolChoice | None
    max_tool_calls: int | None = None


class HeldPlans:
    """An agent's plans that hold for longer than the step in which they were made."""

    def __init__(self) -> None:
        self._plans: dict[Question, Plan] = {}

    def find(self, question: Question, step: int) -> Plan | None:
        """The plan that holds in a step and was made in an earlier one; or `None`."""
        plan = self._plans.get(question)
        return replace(plan) if plan is not None and plan.step < step < plan.step + plan.ttl else None

    def keep(self, question: Question, plan: Plan) -> None:
        """Keep a plan, and drop those that no longer hold."""
        self._plans = {asked: kept for asked, kept in self._plans.items() if plan.step < kept.step + kept.ttl}
        self._plans[question] = replace(plan)
