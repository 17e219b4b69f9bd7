"""How much an agent's decision varies: the same question, asked several times off the record."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn
from mesa_llm.activation.mesa_model import restorer
from mesa_llm.activation.turn import OffRecordTurn
from mesa_llm.activation.values import to_json
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, DecisionError, ToolError, TurnError
from mesa_llm.module_llm.call_reading import read_arguments
from mesa_llm.tools.tool_definition import definition_of
from mesa_llm.tools.tool_manager import read_call

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from mesa_llm.llm_agent.llm_agent import LLMAgent
    from mesa_llm.reasoning import Plan

NO_CALL = "(no call)"
NO_DECISION = "(no decision)"


def consistency(agent: LLMAgent, k: int = 10, *, prompt: str | None = None, **how: Any) -> pd.DataFrame:
    """Ask an agent the same question several times, off the record, and count what it decides.

    The agent decides by its own reasoning, on what it sees and remembers now, and through its own client: limits and
    budgets count the calls. They have no other effect. No tool is called. Memory, held plans, recorder, journal, counts
    of the agent's steps, and the model's random generators are as before. Plans that hold, or are not finished, are not
    looked at. A reasoning of your own has to keep the promise of `Reasoning.decide`: to change nothing but the agent's
    memory. All `k` questions are asked at once. Answers that are equal because `temperature` is 0 or a `seed` is given
    say nothing about the question.

    Args:
        agent: who is asked, between two steps.
        k: how many times, at least 1.
        prompt: what to decide; the agent's `step_prompt` by default.
        **how: further arguments of `Reasoning.plan`: `selected_tools`, `tool_calls`, `max_tool_calls`.

    Returns:
        A frame with a row for each distinct action, the most frequent first: `count` and `share`, indexed by `action`,
        which is the tool calls with their arguments as the tools take them, in order. `(no call)` stands for answers
        without a call, and `(no decision)` for those that could not be used.

    Raises:
        ConfigurationError: if `k` is less than 1, or the question cannot be asked, see `Reasoning.plan`.
        TurnError: within a parallel step, or if the reasoning acts.
        JournalError: if the client replays a journal, which has no answers to such questions.
        ModelCallError: if the model could not be asked.
    """
    return calling_loop.run(aconsistency(agent, k, prompt=prompt, **how))


async def aconsistency(agent: LLMAgent, k: int = 10, *, prompt: str | None = None, **how: Any) -> pd.DataFrame:
    """Like `consistency`, without blocking the event loop."""
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for the import

    if type(k) is not int or k < 1:
        raise ConfigurationError(f"k must be how many times to ask, at least 1, got {k!r}.")
    if current_turn() is not None:
        raise TurnError(f"{agent} cannot be asked off the record within a parallel step. Ask between two steps.")
    restore = restorer([agent])
    try:
        decided = await asyncio.gather(
            *[_decision(agent, prompt, how, restore) for _ in range(k)], return_exceptions=True
        )
    finally:
        restore()
    actions = Counter[str]()
    for action in decided:
        if isinstance(action, BaseException):
            raise action
        actions[action] += 1
    counts = pd.Series(dict(actions.most_common()), name="count", dtype=int).rename_axis("action")
    return counts.to_frame().assign(share=counts / k)


async def _decision(agent: LLMAgent, prompt: str | None, how: dict[str, Any], restore: Callable[[], None]) -> str:
    """One decision, in its canonical form. Each begins with the same state of the generators."""
    turn = OffRecordTurn(agent)
    try:
        with turn.deciding():
            restore()
            plan = await agent.reasoning.aplan(prompt, **how)
            return _action(agent, plan)
    except DecisionError:
        return NO_DECISION
    finally:
        turn.drop()


def _action(agent: LLMAgent, plan: Plan) -> str:
    return ", ".join(_canonical(agent, call) for call in plan.tool_calls) or NO_CALL


def _canonical(agent: LLMAgent, call: Any) -> str:
    """A call with its arguments by name: as the tool takes them, or as the model wrote them if it does not."""
    _, name, written = read_call(call)
    function = agent.tool_manager.tools.get(name)
    try:
        arguments = read_arguments(written)
        if function is not None:
            accepted, _ = definition_of(function, name).accept(arguments)
            arguments = _defaults_of(function) | accepted
    except ToolError:
        return f"{name}({written})"
    return f"{name}({', '.join(f'{name}={_text(value)}' for name, value in sorted(arguments.items()))})"


def _defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {part.name: part.default for part in parameters if part.name != "agent" and part.default is not part.empty}


def _text(value: Any) -> str:
    return json.dumps(json.loads(to_json(value)), sort_keys=True, ensure_ascii=False)
