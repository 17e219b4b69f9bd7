"""What ends a run early, as one line."""

from __future__ import annotations

from mesa_llm.errors import JournalMissError
from mesa_llm.errors.shown_text import for_people


class RunInterruptedError(Exception):
    """Ctrl-C was pressed during a step."""


def in_one_line(error: BaseException) -> str:
    """What went wrong, and for how many agents, without line breaks, control codes and secrets.

    Args:
        error: an error; of a group the first cause is named, since most often all agents fail for the same reason.
    """
    causes = _leaves(error)
    first = str(causes[0])
    if isinstance(causes[0], JournalMissError):
        first = first.partition("\n")[0]  # a diff follows
    text = " ".join(for_people(first).split()) or type(causes[0]).__name__
    n_agents = len(getattr(error, "agent_ids", ())) or len(causes)
    if n_agents == 1:
        return text
    what = "in this way" if len(causes) == 1 else "this is the first one's error"
    return f"{text} ({n_agents} agents failed{', ' if len(causes) > 1 else ' '}{what}.)"


def lines_below(error: BaseException) -> list[str]:
    """What is worth more than one line: what a replay asks, beside what was recorded."""
    cause = _leaves(error)[0]
    return for_people(str(cause)).splitlines()[1:] if isinstance(cause, JournalMissError) else []


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
