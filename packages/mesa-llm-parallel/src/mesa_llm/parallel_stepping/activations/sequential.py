"""Each agent sees what those before it have done, as in plain Mesa; the models are asked ahead.

Mesa's own loop steps the agents. Between their turns, and while one waits for its model, the rest of the step runs on a
throw-away copy of the model, where it turns out what agents will ask. An agent whose request has come true gets the
answer at its turn at once. So the run is the one that plain Mesa makes, whatever the agents do: each call returns what
the model answers to this very request.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.context import within
from mesa_llm.activation.repeats import log_counts
from mesa_llm.activation.schedules import step_on_after_failure
from mesa_llm.errors import NotParallelWarning
from mesa_llm.parallel_stepping.answers import FIRST_WINDOW, AnswersAtTurn, Memo, Record
from mesa_llm.parallel_stepping.look_ahead import LookAhead, step_agent
from mesa_llm.parallel_stepping.runners import has_decision
from mesa_llm.parallel_stepping.world_copy import CannotCopyError

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.parallel_stepping.config import ParallelStepping

_GROWTH = 4
"""By how many agents the window grows with each look, as long as little is wasted."""


class SequentialStep:
    """One step of some agents in plain Mesa's way, with their models asked ahead.

    Args:
        agents: who steps, in the order in which Mesa is going to step them. Held weakly, as Mesa does.
        agent_set: whose agents they are; `None` for a list.
        config: how.
        method: what each agent does.
        args: passed on.
        kwargs: passed on.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        agent_set: Any,
        config: ParallelStepping,
        *,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._agents = [weakref.ref(agent) for agent in agents]
        self._model: Model[Any, Any] = agents[0].model
        self._config = config
        self._method = method
        self._args, self._kwargs = args, kwargs or {}
        self._memo = Memo(config.max_waste, risky=_experience_of(self._model))
        self._look_ahead = LookAhead(self._model, agent_set, method, args, self._kwargs, self._memo)
        self._answers = AnswersAtTurn(self._memo, self._look_again)
        self._place = 0  # of the agent whose turn it is
        self._n_exact = 0  # up to which place the answers to come are known
        self._window: float = math.inf if config.max_waste is None else FIRST_WINDOW if config.max_waste else 0
        self._looks = any(has_decision(agent, in_threads=False) for agent in agents) and all(
            agent.model is self._model for agent in agents
        )
        self._has_looked = False

    def run(self, step_all: Callable[[Callable[..., object]], object]) -> None:
        """Make the step.

        Args:
            step_all: calls its argument with each agent, in order: Mesa's own loop.

        Raises:
            Exception: what an agent raises at its turn; those before it have acted.
        """
        try:
            step_all(self._turn)
        except BaseException:
            step_on_after_failure(self._model)
            raise
        finally:
            self._memo.close()
            self._look_ahead.forget()
            log_counts(self._model)

    def _turn(self, agent: Agent, *args: Any, **kwargs: Any) -> None:
        while self._place < len(self._agents) and self._agents[self._place]() is not agent:
            self._place += 1
        if self._place >= self._n_exact:
            self._prepare()
        with within(answers=self._answers):
            step_agent(agent, self._method, args, kwargs)
        with self._memo.lock:
            self._memo.turn_ended(agent.unique_id)
        self._place += 1

    def _prepare(self) -> None:
        """Look before a turn at which not everything is known."""
        if not self._looks or not self._memo.may_ask_ahead:
            self._look_ahead.forget()
            return
        try:
            self._look_ahead.remember([reference() for reference in self._agents[self._place :]])
        except CannotCopyError as error:
            self._looks = False
            warn_not_copied(self._model, error)
            return
        with self._memo.lock:
            self._memo.gather()
            if self._memo.take_news() or not self._has_looked:
                self._look()

    def _look_again(self) -> bool:
        if not (self._look_ahead.can_look and self._memo.may_ask_ahead and self._memo.take_news()):
            return False
        self._look()
        return True

    def _look(self) -> None:
        self._has_looked = True
        if self._window < math.inf:
            self._window += _GROWTH
        self._n_exact = self._place + self._look_ahead.look(self._window)


_experience: weakref.WeakKeyDictionary[Model[Any, Any], Record] = weakref.WeakKeyDictionary()


def _experience_of(model: Model[Any, Any]) -> Record:
    """What became of risky calls in earlier steps of a model; each step counts half of the next one."""
    record = _experience.setdefault(model, Record())
    record.used, record.lost = record.used / 2, record.lost / 2
    return record


_warned: weakref.WeakSet[type[Model[Any, Any]]] = weakref.WeakSet()


def warn_not_copied(model: Model[Any, Any], error: CannotCopyError) -> None:
    """Say, once a class of models, why agents wait one after the other."""
    if type(model) in _warned:
        return
    _warned.add(type(model))
    warnings.warn(
        f"{type(model).__name__} cannot be copied, so nothing is asked ahead, and its agents wait one after the other as "
        f"in plain Mesa: {error}. Keep it outside of the model and its agents, or give it a __reduce__.",
        NotParallelWarning,
        stacklevel=6,
    )
