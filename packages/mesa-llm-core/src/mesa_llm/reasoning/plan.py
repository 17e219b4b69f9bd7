"""From an observation to a plan: both of them, and the requests that strategies make in between.

In a prompt, what all agents share stands first and what changes most stands last, so that servers which cache prompts
by their beginning can reuse it: instructions, persona | memory, observation, task.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.activation.method_pairs import own_method
from mesa_llm.activation.values import plain, to_text
from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.errors import DecisionError
from mesa_llm.memory.memory import remember
from mesa_llm.memory.observation import Observation
from mesa_llm.module_llm.dialogue import Dialogue
from mesa_llm.module_llm.request_fields import AnyTool
from mesa_llm.spaces import legend_for
from mesa_llm.tools import ToolManager
from mesa_llm.tools.tool_decorator import INHERIT

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mesa_llm.clients import LLMRequest, Message, ToolChoice
    from mesa_llm.llm_agent import LLMAgent

_OBSERVATION = "# Observation"
_EXECUTION = (
    "You carry out the decision of an agent in a simulation by calling tools. Call exactly the tools that the decision "
    "asks for, in its order. If it asks for no action, call none."
)
register_question("call tools", _EXECUTION, name="call tools")


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


def first_request(
    agent: LLMAgent,
    instructions: str,
    task: str,
    obs: Observation,
    selected_tools: list[str] | None,
    tool_choice: ToolChoice | None,
    response_format: type[BaseModel] | None = None,
    *,
    prompt: str | list[str] | None = None,
    system_prompt: str | None = None,
) -> LLMRequest:
    """The request that starts a decision: what the agent remembers, what it sees, what it has to decide.

    A `prompt` or `system_prompt` built by a method of the user's own replaces the one that is made here.
    """
    if prompt is None:
        prompt = "\n\n".join([*remembered_and_seen(agent, obs), f"# Task\n{task}"])
    request = agent.llm.request(
        prompt=prompt,
        # Nothing checks calls that must not be made.
        tool_schema=_tools_for(agent, selected_tools, None if tool_choice == "none" else obs),
        tool_choice=tool_choice,
        response_format=response_format,
        system_prompt=system_prompt_of(agent, instructions) if system_prompt is None else system_prompt,
    )
    request.observation = obs
    return request


def decision_in_words(
    agent: LLMAgent,
    instructions: str,
    task: str,
    obs: Observation,
    selected_tools: list[str] | None,
    own_system_prompt: str | None,
) -> Dialogue[str]:
    """Ask for a decision in words and remember it; use with `yield from`.

    After a system prompt of the strategy's own, only the task follows.
    """
    prompt = None if own_system_prompt is None else task
    response = yield first_request(
        agent, instructions, task, obs, selected_tools, "none", prompt=prompt, system_prompt=own_system_prompt
    )
    remember(agent.memory, "plan", {"content": response.message.content})
    return response.message.content


def tool_calls_for(
    agent: LLMAgent,
    decision: str,
    obs: Observation | None,
    ttl: int,
    selected_tools: list[str] | None,
    tool_calls: ToolChoice | None,
) -> Thinking:
    """Ask the model to turn a decision in words into tool calls; use with `yield from`."""
    if not decision.strip():  # some servers refuse an empty message, and others make something up
        raise DecisionError(f"{agent}: there is no decision to carry out, the text is empty.")
    response = yield agent.llm.request(
        prompt=decision,
        tool_schema=_tools_for(agent, selected_tools, obs),
        tool_choice=tool_calls,
        system_prompt=system_prompt_of(agent, instructions_for(agent, "call tools"), with_persona=False),
    )
    plan = Plan(
        step=step_decided(agent, obs),
        llm_plan=response.message,
        ttl=ttl,
        offered=None if selected_tools is None else tuple(selected_tools),
        seen=sight_of(obs),
    )
    remember(agent.memory, "plan_execution", {"content": str(plan)})
    return plan


def _tools_for(agent: LLMAgent, selected_tools: list[str] | None, obs: Any) -> Iterable[AnyTool]:
    """The tools on offer; as a manager of the user's own says, if it overrides one of mesa-llm's methods for that."""
    manager = agent.tool_manager
    if of_main := own_method(manager.get_tools_schema, ToolManager.get_tools_schema):
        return of_main(INHERIT if selected_tools is None else selected_tools)
    own = own_method(manager.get_all_tools_schema, ToolManager.get_all_tools_schema)
    return own(selected_tools) if own else agent.tool_manager.specs(selected_tools, agent=agent, seen=sight_of(obs))


def step_decided(agent: LLMAgent, obs: Any) -> int:
    """The model's step in which an agent decides: that of its observation, if it has one."""
    step: int | None = getattr(obs, "step", None)
    return step_of(agent.model) if step is None else step


def read_observation(request: LLMRequest) -> dict[str, Any]:
    """The observation on which an agent decides, for policies that answer instead of a model.

    It is that of the request (`LLMRequest.observation`); where it has none, as in a request that a server has received,
    the JSON that stands below "# Observation" in its messages.

    Args:
        request: a request made from an observation.

    Returns:
        `step`, `self_state` and `local_state`, as in `Observation`, and `environment` if it is not empty; as JSON has
        them, so that positions are lists.

    Raises:
        DecisionError: if the request holds no observation.
    """
    texts = [] if request.observation is None else [_json_of(request.observation)]
    for message in reversed(request.messages):
        _, found, rest = message.content.partition(f"{_OBSERVATION}\n")
        if found:
            texts += rest.partition("\n\n")[0].splitlines()
    for text in texts:
        with contextlib.suppress(ValueError):  # an observation of the user's own
            observation = json.loads(text)
            if isinstance(observation, dict):
                return observation
    raise DecisionError(f"No observation in the request: none of its {len(request.messages)} messages has one.")


def system_prompt_of(
    agent: LLMAgent, instructions: str, obs: Observation | None = None, *, with_persona: bool = True
) -> str:
    """Instructions and who the agent is; with an observation, also what it remembers and sees, as in mesa-llm 0.3."""
    legend = legend_for(agent) if agent.explains_positions else None
    parts = [instructions] if instructions else []
    for heading, text in (("Positions", legend), ("Who you are", agent.system_prompt if with_persona else None)):
        if text and (text := text.strip()):
            parts.append(f"# {heading}\n{text}")
    if obs is not None:
        parts += remembered_and_seen(agent, obs)
    return "\n\n".join(parts)


def remembered_and_seen(agent: LLMAgent, obs: Any) -> list[str]:
    """What an agent remembers, and what it sees: two parts of a prompt."""
    return [f"# Memory\n{agent.memory.get_prompt_ready()}", f"{_OBSERVATION}\n{_seen(agent, obs)}"]


def _seen(agent: LLMAgent, obs: Any) -> str:
    """What an agent sees, as it stands in a prompt: an `Observation`, a text, or anything in its canonical form."""
    if isinstance(obs, Observation):
        seen = agent.describe_observation(obs) or "nothing"
        return f"Step {obs.step}. You are agent {agent.unique_id}. You see:\n{seen}"
    return str(obs if isinstance(obs, str) else plain(obs))


def _json_of(obs: Any) -> str:
    return obs.as_json() if isinstance(obs, Observation) else str(obs if isinstance(obs, str) else plain(obs))


def own_prompt[T](build: Callable[..., T], base: Callable[..., T], *args: Any) -> T | None:
    """What a strategy's bound method builds, if it overrides the function of the base, else `None`."""
    own = own_method(build, base)
    return None if own is None else own(*args)
