"""How all outputs put numbers, states and errors into words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mesa_llm.errors import JournalMissError, MissingAPIKeyError
from mesa_llm.errors.shown_text import for_people

if TYPE_CHECKING:
    from mesa_llm.parallel_stepping import StepReport
    from mesa_llm_examples.simulation import DecisionCounts

RULE = "rule-based policy"  # the word of run logs for the Python rule that decides if no LLM is called


def counted(count: int, noun: str) -> str:
    """A number of things: `1 agent`, `1,234 agents`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def answers_took(count: int, seconds: float, *, simulated: str = "") -> str:
    """The sum of the times of some answers: `40 answers took 5.50 s, added up`.

    No run takes this long: the sum counts answers that were in flight at the same time one after the other.

    Args:
        count: how many answers.
        seconds: the sum of their times.
        simulated: a remark for answers of a rule, whose times are made up; empty for those of a model.
    """
    added_up = "" if count == 1 else ", added up"
    return f"{counted(count, 'answer')} took {seconds:.2f} s{added_up}" + (f" ({simulated})" if simulated else "")


def looked_ahead(reports: Iterable[StepReport]) -> str:
    """What looking ahead came to in some parallel steps: `12 rounds, 5 calls wasted`; empty if none looked ahead."""
    looks = [report.look_ahead for report in reports if report.look_ahead is not None]
    if not looks:
        return ""
    rounds, wasted = sum(look.rounds for look in looks), sum(look.wasted_calls for look in looks)
    return f"{counted(rounds, 'round')}, {counted(wasted, 'call')} wasted"


def decisions_in_words(counts: DecisionCounts) -> str:
    """What decisions were worth; empty if nothing was decided and done.

    For example: `142 decisions; 2 more decisions failed; 1 answer was asked for again; 3 of 140 actions refused, 0
    crashed`.

    Args:
        counts: the decisions.
    """
    parts = []
    if counts.decisions:
        without = f", {counts.without_call:,} of them without a valid call" if counts.without_call else ""
        parts.append(f"{counted(counts.decisions, 'decision')}{without}")
    if counts.failed_decisions:
        parts.append(f"{counted(counts.failed_decisions, f'{"more " if parts else ""}decision')} failed")
    if again := counts.asked_again:
        parts.append(f"{counted(again, 'answer')} {'was' if again == 1 else 'were'} asked for again")
    if counts.tool_calls:
        of_all = f"{counts.refused_tool_calls:,} of {counted(counts.tool_calls, 'action')} refused"
        parts.append(f"{of_all}, {counts.crashed_tool_calls:,} crashed")
    return "; ".join(parts)


def figure(value: float | None) -> str:
    """A state: a count in full, a measure with three decimals, a dash for `None`."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def in_words(states: Mapping[str, float | None]) -> str:
    """The states of a step: `active 4, quiet 56, jailed 0`."""
    return ", ".join(f"{name} {figure(value)}" for name, value in states.items())


def in_one_line(error: BaseException) -> str:
    """An error, and how many agents it failed, without line breaks, control codes and secrets.

    Args:
        error: an error; of a group the first cause is named, since most often all agents fail for the same reason.
    """
    causes = _leaves(error)
    first = str(causes[0])
    if isinstance(causes[0], MissingAPIKeyError):
        first = first.replace(", or pass api_key", "")  # which code can, but neither a command line nor a page
    if isinstance(causes[0], JournalMissError):
        first = first.partition("\n")[0]  # a diff follows
    text = " ".join(for_people(first).split()) or type(causes[0]).__name__
    n_agents = len(getattr(error, "agent_ids", ())) or len(causes)
    if n_agents == 1:
        return text
    if len(causes) == 1:
        return f"{text} ({n_agents} agents failed, all with this error.)"
    return f"{text} ({n_agents} agents failed; this is the first error.)"


def lines_below(error: BaseException) -> list[str]:
    """The lines that follow the first one: how the request of a replay differs from the recorded one."""
    cause = _leaves(error)[0]
    return for_people(str(cause)).splitlines()[1:] if isinstance(cause, JournalMissError) else []


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
