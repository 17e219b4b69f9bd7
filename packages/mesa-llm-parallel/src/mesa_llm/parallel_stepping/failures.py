"""A step whose decisions failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from mesa_llm.errors import BudgetExhaustedError, JournalError, MesaLLMError

if TYPE_CHECKING:
    from mesa import Agent

ALWAYS_RAISED = (BudgetExhaustedError, JournalError)
"""What ends a step whatever its `on_error` says: to go on without the agents would be another run."""


class ParallelStepError(ExceptionGroup[Exception], MesaLLMError):
    """Agents of a parallel step could not decide, so nobody has acted on this round's decisions.

    With the activation `eager`, the other agents have acted; those that failed while they did are in the group too.

    Holds one exception for each of them, with its own traceback and a note that names the agent.

    Attributes:
        agent_ids: the ids of the agents that failed, in the order of `exceptions`.
    """

    agent_ids: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        failures: Sequence[tuple[Agent[Any], Exception]],
        n_agents: int,
        *,
        outcome: str = "nobody has acted",
        failed_acts: Sequence[tuple[Agent[Any], Exception]] = (),
    ) -> Self:
        """The error of a step.

        Args:
            failures: each agent that could not decide, with its exception.
            n_agents: how many agents were to step.
            outcome: what has become of the others.
            failed_acts: each agent that has failed while acting, with its exception.
        """
        for agent, error in failures:
            add_note(error, f"While {name_of(agent)} was deciding.")
        for agent, error in failed_acts:
            add_note(error, f"While {name_of(agent)} was acting.")
        first_agent, first_error = failures[0]
        names = ", ".join(name_of(agent) for agent, _ in failures[:10]) + (", …" if len(failures) > 10 else "")
        group = cls(
            f"{len(failures)} of {n_agents} agents could not decide, and {outcome}: {names}. "
            f"{name_of(first_agent)}: {told(first_error)}"
            + "".join(f" {name_of(agent)} failed while acting: {told(error)}" for agent, error in failed_acts),
            [error for _, error in (*failures, *failed_acts)],
        )
        group.agent_ids = tuple(agent.unique_id for agent, _ in (*failures, *failed_acts))
        return group

    def derive(self, excs: Sequence[Exception], /) -> ParallelStepError:  # type: ignore[override]
        """A group of the same kind for some of the exceptions; `split` and `subgroup` use it.

        Args:
            excs: the exceptions that are left.
        """
        group = ParallelStepError(self.message, excs)
        ids = dict(zip(map(id, self.exceptions), self.agent_ids, strict=False))
        group.agent_ids = tuple(ids[id(error)] for error in excs if id(error) in ids)
        return group


def name_of(agent: Agent[Any]) -> str:
    """An agent's class and id, as messages name it."""
    return f"{type(agent).__name__} {agent.unique_id}"


def told(error: BaseException) -> str:
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
