"""What a methods section says about a run, as data, in words, and in the form of ODD."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mesa_llm.journal import Journal, RecordedRun, RecordedStep
from mesa_llm.runs.odd import odd_protocol
from mesa_llm.runs.runs_in import label_of, reports_in, run_of

_COUNTS = {
    "decisions": "decisions",
    "without_call": "without_call",
    "asked_again": "asked_again",
    "tool_calls": "tool_calls",
    "refused_tool_calls": "refused",
    "crashed_tool_calls": "crashed",
}
"""Counts of decisions: their names in reports, and in tallies of agents that Mesa stepped one at a time."""


@dataclass(frozen=True, slots=True)
class RunDescription:
    """What a reader needs to know of a run. Its text is a paragraph for a methods section.

    Attributes:
        data: all of it, as JSON could hold it.
    """

    data: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON could hold it."""
        return dict(self.data)

    def odd(self) -> str:
        """A description after the ODD protocol (Grimm et al. 2020), in Markdown: what is known is filled in.

        What only the author knows is marked `TODO`. The parts about language models are beside the elements to which
        they belong.
        """
        return odd_protocol(self.data)

    def __str__(self) -> str:
        """A paragraph for a methods section."""
        return " ".join(_sentences(self.data))


def describe(path: str | os.PathLike[str], *, run: str | None = None) -> RunDescription:
    """Describe a recorded run for a methods section: what was run, with what, and what its decisions were worth.

    Args:
        path: the journal.
        run: the name of the run; by default the newest that is not a copy of another.

    Returns:
        The description.

    Raises:
        JournalError: if there is no such run, or it is damaged.
    """
    journal, recorded = run_of(path, run)
    calls = _calls_in(journal, recorded)
    return RunDescription({**_frame(journal, recorded), "calls": calls, **_steps_in(journal, recorded)})


def _frame(journal: Journal, run: RecordedRun) -> dict[str, Any]:
    return {
        "run": label_of(journal, run),
        "status": run.status,
        "error": (run.end or {}).get("error"),
        "result": (run.end or {}).get("result"),
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        **{
            name: run.identity.get(name)
            for name in (
                *("model", "seed", "activation", "agents", "instructions", "llms", "sources", "git", "versions"),
            )
        },
        "opaque": list(run.opaque),
        "metadata": dict(run.metadata),
    }


def _calls_in(journal: Journal, run: RecordedRun) -> dict[str, Any]:
    states, errors, models = Counter[str](), Counter[str](), Counter[str]()
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "retries", "priced"), 0)
    cost = 0.0
    for call in journal.calls(run.name):
        states[call.state] += 1
        models[call.request["model"]] += 1
        if call.error is not None:
            errors[call.error.kind] += 1
            counts["retries"] += call.error.details.get("retries") or 0
        if (response := call.response) is not None:
            counts["prompt_tokens"] += response.usage.prompt_tokens
            counts["completion_tokens"] += response.usage.completion_tokens
            counts["retries"] += response.retries
            counts["priced"] += response.cost is not None
            cost += response.cost or 0.0
    return {
        "calls": states.total(),
        **{state: states[state] for state in ("answered", "failed", "cancelled")},
        "models": dict(models),
        "errors": dict(errors),
        **{name: counts[name] for name in ("prompt_tokens", "completion_tokens", "retries")},
        "cost": cost if counts["priced"] else None,
    }


def _steps_in(journal: Journal, run: RecordedRun) -> dict[str, Any]:
    decisions = Counter[str]()
    steps, seconds, state_hash = 0, 0.0, None
    measures: dict[str, Any] = {}
    for step in journal.steps(run.name):
        steps, seconds = max(steps, step.step), seconds + step.seconds
        state_hash = step.state_hash or state_hash
        measures = dict(step.measures) or measures
        decisions.update(decisions_of([step]))
    known = {name: decisions[name] for name in (*_COUNTS, "failed_decisions", "wasted_calls")}
    return {"steps": steps, "seconds": seconds, "decisions": known, "state_hash": state_hash, "measures": measures}


def decisions_of(steps: Iterable[RecordedStep]) -> Counter[str]:
    """What the decisions of some steps were worth: counts, by the names of an `AgentReport`."""
    decisions = Counter[str]()
    for step in steps:
        for report in reports_in(step):
            for agent in report.agents:
                decisions.update({name: getattr(agent, name) for name in _COUNTS})
                decisions["failed_decisions"] += agent.outcome in {"failed", "fell back"}
            decisions["wasted_calls"] += report.wasted_calls
        for tally in step.tallies.values():
            decisions.update({name: tally[counted] for name, counted in _COUNTS.items()})
    return decisions


def _sentences(data: Mapping[str, Any]) -> Iterator[str]:
    model, calls, decided = data["model"] or {}, data["calls"], data["decisions"]
    if model:
        agents = ", ".join(f"{kind['agents']} {name}" for name, kind in (data["agents"] or {}).items())
        yield f"We ran {model['class']} for {data['steps']} steps with {agents or 'no agents'} and seed {data['seed']}."
        given = ", ".join(f"{name}={value!r}" for name, value in model["parameters"].items() if value is not None)
        if given:
            yield f"Parameters: {given}."
        yield _activated(data["activation"])
        if versions := data["versions"]:
            yield f"Software: {', '.join(f'{name} {version}' for name, version in versions.items())}."
    for llm in data["llms"] or ():
        where = f" at {llm['endpoint']}" if llm["endpoint"] else ""
        options = ", ".join(f"{name}={value!r}" for name, value in llm["options"].items())
        yield f"Language model: {llm['model']}{where}, {options or 'no sampling options set'}."
    failed = f", {calls['failed']:,} of them failed" if calls["failed"] else ""
    money = "" if calls["cost"] is None else f" and US$ {calls['cost']:,.4f}"
    yield f"The run made {calls['calls']:,} model calls{failed}, with {calls['retries']:,} retries;"
    yield f"they took {calls['prompt_tokens']:,} tokens read, {calls['completion_tokens']:,} tokens written{money}."
    if decided["decisions"]:
        yield (
            f"Of {decided['decisions']:,} decisions, {decided['without_call']:,} held no valid call and "
            f"{decided['asked_again']:,} were asked for again; {decided['failed_decisions']:,} more failed. Of "
            f"{decided['tool_calls']:,} actions, {decided['refused_tool_calls']:,} were refused and "
            f"{decided['crashed_tool_calls']:,} crashed."
        )
    ended = f": {data['error']}" if data["error"] else ""
    yield f"The run is {data['status']}{ended}."
    if data["state_hash"]:
        yield f"State after the last step: SHA-256 {data['state_hash']}."
    if data["opaque"]:
        yield f"The hash knows of these attributes only their class: {', '.join(data['opaque'])}."
    if (git := data["git"]) is not None:
        yield f"Code: commit {git['commit']}{' with local changes' if git['changed'] else ''}."


def _activated(activation: Mapping[str, Any]) -> str:
    kind = activation["activation"]
    if kind == "mesa":
        return "Mesa activated the agents one at a time."
    meaning = {
        "simultaneous": "all agents decided on the same state of the model, and then acted one by one in seeded order",
        "sequential": "each agent saw what those before it had done, as in Mesa's own order",
        "eager": "each agent acted as soon as it had decided, so the run depends on how fast the model answered",
    }
    settings = ", ".join(
        f"{name}={activation[name]!r}" for name in ("mode", "on_error", "decide_timeout") if activation.get(name)
    )
    return f"Activation was {kind}: {meaning.get(kind, 'a regime of its own')} ({settings})."
