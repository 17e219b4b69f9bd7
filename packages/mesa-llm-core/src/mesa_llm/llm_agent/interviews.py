"""Interviews: some agents are asked a question off the record, all together."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import current_turn, step_of
from mesa_llm.activation.context import JOURNAL
from mesa_llm.activation.mesa_model import restorer
from mesa_llm.activation.turn import OffRecordTurn
from mesa_llm.activation.values import plain
from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, DecisionError, JournalError, TurnError
from mesa_llm.journal.steps import InterviewRow, write_interviews
from mesa_llm.llm_agent.llm_agent import LLMAgent
from mesa_llm.module_llm.dialogue import Form, aconverse, ask_structured
from mesa_llm.reasoning.plan import remembered_and_seen, system_prompt_of

if TYPE_CHECKING:
    import pandas as pd

_INSTRUCTIONS = (
    "You are interviewed about your life in a simulation. Answer the question as the one you are, from what you "
    "remember and see. You do nothing, and nobody in the simulation gets to know your answer."
)
register_question("decide", _INSTRUCTIONS, name="interview")

_COLUMNS = ("agent_id", "agent_class", "step", "question")


def ask(agents: LLMAgent | Iterable[Any], question: str, schema: Form | None = None) -> pd.DataFrame:
    """Ask agents a question off the record, all together.

    Each agent answers through its own client, as the one it is: its system prompt, what it remembers and what it sees
    now are in the prompt, as in that of a decision. No trace stays in its memory, in the events of a recording, or in
    the state of the model, and no draw is made from its generators. If the run is recorded by `record_run`, the answers
    are kept in the file, see `Journal.interviews`; a replayed or resumed run gets them from there.

    Between two steps, or in a reporter of a `DataCollector`:
    `DataCollector({"mood": lambda model: ask(model.agents, "How are you?", Mood)["mood"].mean()})`. Mesa calls a
    reporter twice when it collects for the first time, to check it.

    ```python
    from mesa import Model
    from pydantic import BaseModel

    from mesa_llm.llm_agent import LLMAgent, ask
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    class Mood(BaseModel):
        mood: int
        why: str

    model = Model()
    llm = ScriptedLLM('{"mood": 3, "why": "It rains."}')
    LLMAgent.create_agents(model, 2, CoTReasoning, client=llm, step_prompt="?")
    frame = ask(model.agents, "How are you, from 0 to 10?", Mood)
    print(frame["mood"].mean(), list(frame.columns))
    #> 3.0 ['agent_class', 'step', 'question', 'mood', 'why', 'error']
    ```

    Args:
        agents: who is asked: one agent, or any of them. Agents of other classes than `LLMAgent` are left out.
        question: what they are asked.
        schema: the form of the answers: a pydantic model, or the JSON schema of an object. By default a text, `answer`.

    Returns:
        A frame with a row for each agent, indexed by `agent_id`: `agent_class`, the model's `step`, `question`, the
        fields of the answer, and `error`, why there is no answer that could be used.

    Raises:
        ConfigurationError: if the question is empty, or the schema is not one of an object.
        TurnError: within a parallel step.
        JournalError: in a replay, if the answer is not recorded.
        ModelCallError: if a model could not be asked.
    """
    return calling_loop.run(aask(agents, question, schema))


async def aask(agents: LLMAgent | Iterable[Any], question: str, schema: Form | None = None) -> pd.DataFrame:
    """Like `ask`, without blocking the event loop."""
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for the import

    if not isinstance(question, str) or not question.strip():
        raise ConfigurationError(f"question must be a text, got {question!r}.")
    if current_turn() is not None:
        raise TurnError("Agents cannot be interviewed within a parallel step. Ask between two steps.")
    asked = [agents] if isinstance(agents, LLMAgent) else [agent for agent in agents if isinstance(agent, LLMAgent)]
    restore = restorer(asked)
    answering = [_row(agent, question, schema, restore) for agent in asked]
    found: list[tuple[InterviewRow, bool]] = []
    try:
        for one in await asyncio.gather(*answering, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
            found.append(one)
    finally:
        restore()
    _keep(asked, found)
    rows = [row for row, _ in found]
    answers = [json.loads(row.answer or "{}") for row in rows]
    fields = list(dict.fromkeys(name for answer in answers for name in answer))
    frame = pd.DataFrame(
        [
            {**{name: getattr(row, name) for name in _COLUMNS}, **answer, "error": row.error}
            for row, answer in zip(rows, answers, strict=True)
        ],
        columns=[*_COLUMNS, *fields, "error"],
    )
    return frame.set_index("agent_id")


async def _row(
    agent: LLMAgent, question: str, schema: Form | None, restore: Callable[[], None]
) -> tuple[InterviewRow, bool]:
    """An agent's answer, and whether it is new."""
    step, journal = step_of(agent.model), getattr(agent.model, JOURNAL, None)
    if journal is not None:
        recorded = journal.session().recorded_interview(step, agent.unique_id, question)
        if recorded is not None:
            return recorded, False
        if journal.mode == "replay":
            raise JournalError(
                f"{agent} is asked {question!r} after step {step}, and the answer is not recorded in run "
                f"{journal.run!r} of {journal.path}."
            )
    answer, error = None, None
    try:
        answer = json.dumps(plain(await _answer(agent, question, schema, restore)), ensure_ascii=False)
    except DecisionError as problem:
        error = str(problem)
    row = InterviewRow(time.time(), step, agent.unique_id, type(agent).__name__, question, answer, error)
    return row, True


async def _answer(agent: LLMAgent, question: str, schema: Form | None, restore: Callable[[], None]) -> Any:
    turn = OffRecordTurn(agent)
    try:
        with turn.deciding():
            restore()  # each observes with the same state of the generators
            observation = agent.generate_obs()
            parts = remembered_and_seen(agent, observation)
            request = agent.llm.request(
                prompt="\n\n".join([*parts, f"# Question\n{question}"]),
                system_prompt=system_prompt_of(agent, instructions_for(agent, "interview")),
            )
            request.observation = observation
            if schema is None:
                return {"answer": (await agent.llm.acomplete(request)).message.content}
            return await aconverse(ask_structured(request, schema, asker=agent), agent.llm.acomplete)
    finally:
        turn.drop()


def _keep(agents: Iterable[LLMAgent], rows: Iterable[tuple[InterviewRow, bool]]) -> None:
    """Have new answers written into the files of the runs to which the agents belong."""
    by_journal: dict[int, tuple[Any, list[InterviewRow]]] = {}
    for agent, (row, is_new) in zip(agents, rows, strict=True):
        journal = getattr(agent.model, JOURNAL, None)
        if journal is not None and is_new:
            by_journal.setdefault(id(journal), (journal, []))[1].append(row)
    for journal, new in by_journal.values():
        session = journal.session()
        session.put(write_interviews(session.run, new))
