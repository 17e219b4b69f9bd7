"""How numbers, states and errors are put into words, in all outputs alike."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from mesa_llm.errors import JournalMissError
from mesa_llm.errors.shown_text import for_people

RULE = "rule-based policy"
"""Who decides where no model is asked."""


def counted(count: int, noun: str) -> str:
    """So many of something: `1 agent`, `1,234 agents`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def answers_took(count: int, seconds: float, *, simulated: str = "") -> str:
    """What answers took, each for itself: `40 answers took 5.50 s, added up`.

    This is no time that a run would take: answers that were on their way at once are added up too.

    Args:
        count: how many answers.
        seconds: what they took, added up.
        simulated: says so of answers that a rule gives, whose times are made up; empty for those of a model.
    """
    added_up = "" if count == 1 else ", added up"
    return f"{counted(count, 'answer')} took {seconds:.2f} s{added_up}" + (f" ({simulated})" if simulated else "")


def headline(template: str, values: Mapping[str, Any]) -> str:
    """A template with values in braces; `{cops:cop|cops}` becomes `1 cop` or `2 cops`."""
    return _Headline().vformat(template, (), values)


class _Headline(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        return f"{value} {one if value == 1 else many}" if bar else super().format_field(value, format_spec)


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
