"""Where two recorded runs part."""

from __future__ import annotations

import difflib
import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from mesa_llm.journal import Journal, RecordedCall, RecordedRun
from mesa_llm.journal.replay import request_lines
from mesa_llm.recording import load_recording
from mesa_llm.recording.state import parts_difference
from mesa_llm.runs.runs_in import label_of, run_of

type Kind = Literal["answer", "request", "missing"]

_WIDTH = 58  # characters of a column
_LINES = 40  # of requests side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDifference:
    """The first model call in which two runs differ.

    Attributes:
        kind: `answer`: the same request was answered in another way. `request`: the agent asked something else.
            `missing`: one of the runs has no such call.
        call: which call it is, in words.
        model_step: in which step of the model.
        first: the call in the first run; `None` if it is missing.
        second: the call in the second run.
    """

    kind: Kind
    call: str
    model_step: int
    first: RecordedCall | None
    second: RecordedCall | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """Where two runs part. Its text says so, with the requests or the answers side by side.

    Attributes:
        runs: both runs, as `FILE:RUN`.
        settings: what was run differently: the path into the identity, and both values.
        step: the first step of the model after which the states differ; `None` if none does.
        agent: the first agent that differs then, such as `"Citizen 3"`; `None` if only the model does.
        attribute: its attribute that differs.
        values: the values of the attribute in both runs, or their digests.
        event: of a differing memory, the first event of the agent that is not the same, in both runs.
        call: the first model call that differs; `None` if none does.
    """

    runs: tuple[str, str]
    settings: tuple[tuple[str, Any, Any], ...] = ()
    step: int | None = None
    agent: str | None = None
    attribute: str | None = None
    values: tuple[str | None, str | None] = (None, None)
    event: tuple[str | None, str | None] | None = None
    call: CallDifference | None = None

    def __str__(self) -> str:
        """The difference in words, the first call side by side."""
        return "\n".join(_in_words(self))


def diff(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    run: str | None = None,
    other_run: str | None = None,
) -> RunDifference | None:
    """Where two recorded runs part: the first step, agent and attribute that differ, and the first call.

    Nothing is run again: the record has a digest of each attribute of each agent after each step. In a step whose calls
    differ, an answer that differs for the same request comes first: it is the cause.

    Args:
        first: a journal.
        second: a journal, or the same one.
        run: the name of the run in the first; by default the newest that is not a copy of another.
        other_run: the name of the run in the second.

    Returns:
        The difference; `None` if both went the same way, step by step and call by call.

    Raises:
        JournalError: if there is no such run, or a file is damaged.
    """
    (one, one_run), (two, two_run) = run_of(first, run), run_of(second, other_run)
    call = _first_call(one, one_run, two, two_run)
    found: dict[str, Any] = {}
    for before, after in zip_longest(one.steps(one_run.name), two.steps(two_run.name)):
        if before is None or after is None:
            known = before or after
            assert known is not None
            how_far = tuple(f"{side.steps} steps, {side.status}" for side in (one_run, two_run))
            found = {"step": known.step, "attribute": "steps", "values": how_far}
            break
        if before.state_hash != after.state_hash or before.error != after.error:
            found = {"step": before.step}
            if difference := parts_difference(before.state or _NOTHING, after.state or _NOTHING):
                values = difference.first, difference.second
                found |= {"agent": difference.agent, "attribute": difference.attribute, "values": values}
            elif before.error != after.error:
                found |= {"attribute": "error", "values": (before.error, after.error)}
            if difference is not None and difference.agent is not None:
                agent_id = int(difference.agent.rpartition(" ")[2])
                found["event"] = _first_event(one, one_run, two, two_run, agent_id, before.step)
            break
    if call is None and not found:
        return None
    settings = tuple(_unequal(_settings_of(one_run), _settings_of(two_run)))
    return RunDifference(runs=(label_of(one, one_run), label_of(two, two_run)), settings=settings, call=call, **found)


_NOTHING: Mapping[str, Any] = {"agents": {}, "model": {}}


def _settings_of(run: RecordedRun) -> dict[str, Any]:
    return {name: value for name, value in run.identity.items() if name != "git"}


def _unequal(first: Any, second: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The places where two values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in {**first, **second}:
            yield from _unequal(first.get(name), second.get(name), f"{path}.{name}" if path else name)
    elif first != second:
        yield path, first, second


def _key(call: RecordedCall) -> tuple[Any, ...]:
    return call.agent_id, call.step, call.call


def _calls_by_step(journal: Journal, run: RecordedRun) -> dict[int, dict[tuple[Any, ...], tuple[str, Any]]]:
    """By the model's step, each call with the digest of its request and that of its outcome: not whole calls."""
    steps: dict[int, dict[tuple[Any, ...], tuple[str, Any]]] = {}
    for call in journal.calls(run.name):
        steps.setdefault(call.model_step, {})[_key(call)] = call.request_key, hash(repr(_outcome(call)))
    return steps


def _outcome(call: RecordedCall) -> Any:
    if call.response is not None:
        message = call.response.message
        return message.content, [(called.name, called.arguments) for called in message.tool_calls]
    return call.state, call.error


def _first_call(one: Journal, one_run: RecordedRun, two: Journal, two_run: RecordedRun) -> CallDifference | None:
    here, there = _calls_by_step(one, one_run), _calls_by_step(two, two_run)
    for step in sorted({*here, *there}):
        calls, others = here.get(step, {}), there.get(step, {})
        if calls == others:
            continue
        kinds: dict[Kind, tuple[Any, ...]] = {}
        for key in {**calls, **others}:
            if key not in calls or key not in others:
                kinds.setdefault("missing", key)
            elif calls[key][0] != others[key][0]:
                kinds.setdefault("request", key)
            elif calls[key][1] != others[key][1]:
                kinds.setdefault("answer", key)
        for kind in ("answer", "request", "missing"):
            if kind in kinds:
                key = kinds[kind]
                first, second = _call_at(one, one_run, step, key), _call_at(two, two_run, step, key)
                known = first or second
                assert known is not None
                who = "outside of agents' steps" if known.agent_id is None else f"{known.agent_class} {known.agent_id}"
                label = f"call {known.call} of {who} in step {step}" if known.agent_id else f"call {known.call} {who}"
                return CallDifference(kind=kind, call=label, model_step=step, first=first, second=second)
    return None


def _call_at(journal: Journal, run: RecordedRun, step: int, key: tuple[Any, ...]) -> RecordedCall | None:
    return next((call for call in journal.calls(run.name) if call.model_step == step and _key(call) == key), None)


def _first_event(
    one: Journal, one_run: RecordedRun, two: Journal, two_run: RecordedRun, agent_id: int, step: int
) -> tuple[str | None, str | None] | None:
    """The first event of an agent, up to a step, that is not the same in both runs."""
    sides = (
        (
            f"{event.event_type} {json.dumps(event.content, ensure_ascii=False)}"
            for event in load_recording(journal.path, run=run.name)
            if event.agent_id == agent_id and event.step <= step
        )
        for journal, run in ((one, one_run), (two, two_run))
    )
    return next(((first, second) for first, second in zip_longest(*sides) if first != second), None)


def _in_words(found: RunDifference) -> Iterator[str]:
    yield f"{found.runs[0]} and {found.runs[1]}"
    for path, first, second in found.settings:
        yield f"Run with another {path}: {_short(first)} and {_short(second)}"
    if found.call is not None:
        yield from _call_in_words(found.call)
    if found.step is not None:
        where = f"{found.agent}, {found.attribute}" if found.agent else f"the model, {found.attribute}"
        first, second = ("nothing" if value is None else value for value in found.values)
        yield f"The first state that differs is that after step {found.step}: {where}: {first} and {second}"
        if found.event is not None:
            yield f"The first event of {found.agent} that differs:"
            yield from _side_by_side([found.event[0] or "none"], [found.event[1] or "none"])


def _call_in_words(found: CallDifference) -> Iterator[str]:
    label = found.call[:1].upper() + found.call[1:]
    if found.first is None or found.second is None:
        yield f"{label} is in the {'second' if found.first is None else 'first'} run only. It asks:"
        known = found.first or found.second
        assert known is not None
        yield from request_lines(known.request)[-_LINES:]
    elif found.kind == "answer":
        yield f"{label} asks the same, and is answered in another way:"
        yield from _side_by_side(_answer_lines(found.first), _answer_lines(found.second))
    else:
        yield f"{label} asks something else:"
        lines, others = request_lines(found.first.request), request_lines(found.second.request)
        for tag, start, end, other_start, other_end in difflib.SequenceMatcher(
            None, lines, others, autojunk=False
        ).get_opcodes():
            if tag != "equal":
                yield from _side_by_side(lines[start:end][:_LINES], others[other_start:other_end][:_LINES])


def _answer_lines(call: RecordedCall) -> list[str]:
    if call.response is None:
        return [f"{call.error.kind}: {call.error.message}" if call.error else call.state]
    message = call.response.message
    calls = [f"{called.name}({called.arguments})" for called in message.tool_calls]
    return [*message.content.splitlines(), *calls] or ["(an empty answer)"]


def _side_by_side(first: list[str], second: list[str]) -> Iterator[str]:
    for left, right in zip_longest(first, second, fillvalue=""):
        pair = (textwrap.wrap(side, _WIDTH) or [""] for side in (left, right))
        for one, other in zip_longest(*pair, fillvalue=""):
            yield f"  {one:<{_WIDTH}} | {other}".rstrip()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}…"
