"""A step whose decisions failed."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from mesa_llm.errors import BudgetExhaustedError, JournalError, MesaLLMError
from mesa_llm.errors.tracebacks import place_of, shorten

if TYPE_CHECKING:
    from mesa import Agent

type Failure = tuple[Agent[Any], Exception]

ALWAYS_RAISED = (BudgetExhaustedError, JournalError)
"""What ends a step even where `on_error` is a function: to go on without the agents would be another run."""

_MOST_NAMED = 20
"""How many ids, or ranges of ids, a message names."""


class ParallelStepError(ExceptionGroup[Exception], MesaLLMError):
    """Agents of a parallel step could not decide, so nobody has acted on this round's decisions.

    With the activation `eager`, the other agents have acted; those that failed while they did are in the group too.

    Agents that have failed in the same way (the same error at the same place, but for their ids and for durations in
    its text) share one exception: that of the first of them, with a note that names all of them.

    Attributes:
        agent_ids: the ids of the agents that failed, in the order of the step.
    """

    agent_ids: tuple[int, ...] = ()
    _ids_by_exception: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(
        cls,
        failures: Sequence[Failure],
        n_agents: int,
        *,
        outcome: str = "nobody has acted",
        failed_acts: Sequence[Failure] = (),
    ) -> Self:
        """The error of a step.

        Args:
            failures: each agent that could not decide, with its exception.
            n_agents: how many agents were to step.
            outcome: what has become of the others.
            failed_acts: each agent that has failed while acting, with its exception.
        """
        deciding, acting = alike(failures), alike(failed_acts)
        for what, groups in (("deciding", deciding), ("acting", acting)):
            for error, agents in groups:
                shorten(error)
                add_note(error, _note(agents, what))
        first, *others = deciding
        text = f"{len(failures)} of {n_agents} agents could not decide, and {outcome}: "
        text += f"{names_of(agent for agent, _ in failures)}. {described(first[0])}"
        if others:
            text += f" ({len(first[1])} agents; the group holds {len(others)} other errors)"
        for error, agents in acting:
            text += f" {names_of(agents)} failed while acting: {described(error)}"
        groups = deciding + acting
        group = cls(text, [error for error, _ in groups])
        group.agent_ids = tuple(agent.unique_id for agent, _ in (*failures, *failed_acts))
        group._ids_by_exception = tuple(tuple(agent.unique_id for agent in agents) for _, agents in groups)
        return group

    def ids_of(self, error: BaseException) -> tuple[int, ...]:
        """The ids of the agents that have failed with one of the exceptions.

        Args:
            error: one of `exceptions`.
        """
        for own, ids in zip(self.exceptions, self._ids_by_exception, strict=True):
            if own is error:
                return ids
        return ()

    def derive(self, excs: Sequence[Exception], /) -> ParallelStepError:  # type: ignore[override]
        """A group of the same kind for some of the exceptions; `split` and `subgroup` use it.

        Args:
            excs: the exceptions that are left.
        """
        group = ParallelStepError(self.message, excs)
        group._ids_by_exception = tuple(map(self.ids_of, excs))
        kept = {agent_id for ids in group._ids_by_exception for agent_id in ids}
        group.agent_ids = tuple(agent_id for agent_id in self.agent_ids if agent_id in kept)
        return group


def alike(failures: Iterable[Failure]) -> list[tuple[Exception, list[Agent[Any]]]]:
    """Failures of the same kind together: the first error of each kind, and the agents that failed so, in their order.

    Args:
        failures: each agent that failed, with its exception.
    """
    groups: dict[Hashable, tuple[Exception, list[Agent[Any]]]] = {}
    for agent, error in failures:
        _, agents = groups.setdefault(_kind(agent, error), (error, []))
        agents.append(agent)
    return list(groups.values())


def _kind(agent: Agent[Any], error: Exception) -> Hashable:
    text = re.sub(rf"\b{agent.unique_id}\b", "#", described(error))
    return re.sub(r"\b\d[\d.]* s\b", "# s", text), place_of(error)


def name_of(agent: Agent[Any]) -> str:
    """An agent's class and id, as messages name it."""
    return f"{type(agent).__name__} {agent.unique_id}"


def names_of(agents: Iterable[Agent[Any]]) -> str:
    """Agents as messages name them, by class, in short: `Citizen 1-60, 64, Cop 61-63`."""
    ids: dict[str, list[int]] = {}
    for agent in agents:
        ids.setdefault(type(agent).__name__, []).append(agent.unique_id)
    names: list[str] = []
    for name, of_class in ids.items():
        first, *others = _ranges(sorted(of_class))
        names += [f"{name} {first}", *others]
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _ranges(ids: Iterable[int]) -> Iterator[str]:
    """Sorted numbers in short: three or more that follow each other as first and last."""
    for _, numbered in groupby(enumerate(ids), lambda pair: pair[1] - pair[0]):
        run = [agent_id for _, agent_id in numbered]
        yield f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run))


def _note(agents: Sequence[Agent[Any]], what: str) -> str:
    if len(agents) == 1:
        return f"While {name_of(agents[0])} was {what}."
    return f"While {len(agents)} agents were {what}: {names_of(agents)}."


def described(error: BaseException) -> str:
    """An exception's class and text, even if it cannot be made text."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception, once."""
    notes = getattr(error, "__notes__", [])
    if isinstance(notes, list) and note not in notes:
        error.add_note(note)
