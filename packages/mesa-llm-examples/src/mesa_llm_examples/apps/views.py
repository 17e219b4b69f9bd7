"""What the page says in numbers and words: about the run, and about what an agent saw, thought, did and heard.

Agents are read between two steps. The entries of a memory never change, so the page may read them while a step runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm.errors.shown_text import for_people
from mesa_llm.memory import Memory
from mesa_llm_examples.words import answers_took, counted, looked_ahead

if TYPE_CHECKING:
    from mesa_llm.clients import CallCounts
    from mesa_llm.memory import MemoryEntry


WIDTH = 64  # characters; a longer line of an observation is broken

_THOUGHTS = frozenset({"plan", "plan_execution", "action"})
_OWN_SECTION = _THOUGHTS | {"observation", "message"}


@dataclass(frozen=True, kw_only=True)
class AgentRecord:
    """An agent between two steps: its class and id, its state in a word or two, and its memory, oldest entry first."""

    name: str
    state: str
    entries: tuple[MemoryEntry, ...]

    @property
    def steps(self) -> list[int]:
        """The steps in which it has observed, as far as it remembers them."""
        return sorted({entry.step for entry in self.entries if entry.type == "observation"})

    @property
    def label(self) -> str:
        """Name and state."""
        return f"{self.name} ({self.state})" if self.state else self.name


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """What the inspector shows of an agent.

    Attributes:
        step: the step that is shown; `None` before the first decision.
        observation: what the agent saw of itself, a fact in each line.
        neighbours: whom it saw: name, place and what they showed.
        reasoning: the plan of the last decision, as the model wrote it, and its reasons for the actions of that step.
        acts: the actions and tool calls with their results, newest first.
        messages: the messages that the agent sent and received, newest first.
        other: what else the agent remembers, newest first.
    """

    step: int | None = None
    observation: str = ""
    neighbours: tuple[tuple[str, str, str], ...] = ()
    reasoning: str = ""
    acts: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


def records_of(model: Any, describe: Callable[[Any], str]) -> dict[int, AgentRecord]:
    """The agents of a Mesa model that have a memory, by id. To be called between two steps.

    Args:
        model: the model.
        describe: gives an agent's state in a word or two.
    """
    agents = sorted(model.agents, key=lambda agent: (type(agent).__name__, agent.unique_id))
    return {
        agent.unique_id: AgentRecord(
            name=f"{type(agent).__name__} {agent.unique_id}", state=describe(agent), entries=agent.memory.entries
        )
        for agent in agents
        if isinstance(getattr(agent, "memory", None), Memory)
    }


def view_of(record: AgentRecord, step: int | None = None) -> AgentView:
    """What the inspector shows of an agent.

    Args:
        record: the agent.
        step: which step; by default the last in which it has observed.
    """
    if step is None:
        step = record.steps[-1] if record.steps else None
    observed = [entry for entry in record.entries if entry.type == "observation" and entry.step == step]
    decided = [entry for entry in record.entries if entry.type in _THOUGHTS and entry.step == step]
    # After a plan in words come the calls that execute it, which have a list of their own.
    with_words = {"plan", "action"} if any(entry.type == "plan" for entry in decided) else _THOUGHTS
    thoughts = [_thought(entry) for entry in decided if entry.type in with_words]
    newest_first = record.entries[::-1]
    return AgentView(
        step=step,
        observation=_indented(observed[-1].content.get("self_state", observed[-1].content)) if observed else "",
        neighbours=_neighbours(observed[-1].content.get("local_state", {})) if observed else (),
        reasoning="\n\n".join(filter(None, thoughts)),
        acts=tuple(_act(entry) for entry in newest_first if entry.type == "action"),
        messages=tuple(_message(entry, record.name) for entry in newest_first if entry.type == "message"),
        other=tuple(
            f"Step {entry.step}, {entry.type}: {_as_text(entry.content)}"
            for entry in newest_first
            if entry.type not in _OWN_SECTION
        ),
    )


def _neighbours(seen: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """The agents in sight, a row each."""
    return tuple(
        (
            name,
            "" if facts.get("position") is None else str(facts["position"]),
            "; ".join(_shown(facts.get(kind)) for kind in ("internal_state", "attributes") if facts.get(kind)),
        )
        for name, facts in seen.items()
    )


def _shown(facts: Any) -> str:
    if isinstance(facts, Mapping):
        return ", ".join(f"{name} {value}" for name, value in facts.items())
    return ", ".join(map(str, facts)) if isinstance(facts, list | tuple) else str(facts)


def _indented(content: Mapping[str, Any], indent: str = "") -> str:
    """A line `name: value` for each fact, values as JSON; a mapping too long for a line is indented below its name."""
    lines = []
    for name, value in content.items():
        line = f"{indent}{name}: {json.dumps(value, default=str, ensure_ascii=False)}"
        if isinstance(value, Mapping) and len(line) > WIDTH:
            line = f"{indent}{name}:\n{_indented(value, indent + '  ')}"
        lines.append(line)
    return "\n".join(lines)


def _as_text(content: Mapping[str, Any]) -> str:
    if len(content) == 1:
        return str(next(iter(content.values())))
    return "\n".join(f"{key}: {value}" for key, value in content.items())


def _thought(entry: MemoryEntry) -> str:
    """The text of a plan; of an action the reason, if the model gave one."""
    return _as_text(entry.content) if entry.type != "action" else str(_made(entry).get("rationale") or "")


def _made(entry: MemoryEntry) -> Mapping[str, Any]:
    """The action, or the tool call, that an entry is about."""
    chosen = entry.content.get("action")
    return chosen if isinstance(chosen, Mapping) else entry.content


def _act(entry: MemoryEntry) -> str:
    """An action or a tool call as in Python, and its result; what happened without one, as the result alone."""
    made = _made(entry)
    arguments = ", ".join(f"{name}={value!r}" for name, value in made.get("arguments", {}).items())
    name = made.get("name", made.get("tool"))
    call = f"{name}({arguments}) → " if name is not None else ""
    return f"Step {entry.step}: {call}{entry.content.get('result', '')}"


def _message(entry: MemoryEntry, name: str) -> str:
    content = entry.content
    text = content.get("message", "")
    if "recipients" in content:
        return f"Step {entry.step}, {name} to {', '.join(map(str, content['recipients']))}: {text}"
    return f"Step {entry.step}, from {content.get('sender')}: {text}"


def call_counters(counts: CallCounts, *, conflicts: int, llm: bool) -> dict[str, str]:
    """The counts of a run, calls in flight included, as the page shows them.

    Args:
        counts: the counts of the calls.
        conflicts: how often another agent got there first.
        llm: whether an LLM is called; a rule has neither tokens nor cost.
    """
    shown = {
        "calls in flight": f"{counts.in_flight:,}",
        "calls": f"{counts.calls:,}",
        "conflicts": f"{conflicts:,}",
    }
    if llm:
        shown |= {
            "at the same time (peak)": f"{counts.peak_in_flight:,}",
            "failed calls": f"{counts.failures:,}",
            "input tokens": f"{counts.prompt_tokens:,}",
            "output tokens": f"{counts.completion_tokens:,}",
            "cost": f"${counts.cost:,.4f}",
        }
    return shown


def last_step(reports: Sequence[Any]) -> str:
    """What the last step took, in words; empty if it did not run in parallel.

    Args:
        reports: `model.parallel_reports`.
    """
    if not reports:
        return ""
    step = f"Step {reports[-1].step}"
    agents = [agent for report in reports for agent in report.agents]
    failures = sum(report.failures for report in reports)
    if failures and all(agent.outcome in {"failed", "called off"} for agent in agents):
        error = next(agent.error for agent in agents if agent.error is not None)
        return (
            f"{step}: {failures:,} of {counted(len(agents), 'agent')} failed. Nothing has changed. {for_people(error)}"
        )
    text = f"{step}: {counted(len(agents), 'agent')} in {sum(report.wall_s for report in reports):.2f} s"
    if answers := sum(report.measured_calls for report in reports):
        is_simulated = any(call.source == "rule" for agent in agents for call in agent.model_calls)
        waited = sum(report.latency_s for report in reports)
        text += f"; {answers_took(answers, waited, simulated='simulated' if is_simulated else '')}"
    if looked := looked_ahead(reports):
        text += f"; {looked}"
    text += "."
    if failures:
        text += f" {counted(failures, 'agent')} failed."
    if conflicts := sum(report.conflicts for report in reports):
        text += f" {counted(conflicts, 'conflict')}."
    return text
