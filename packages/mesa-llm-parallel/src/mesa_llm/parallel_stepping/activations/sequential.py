"""Each agent sees what those before it have done, as in plain Mesa; the models are asked ahead.

Mesa's own loop steps the agents. Between their turns, and while one waits for its model, the rest of the step runs on a
throw-away copy of the model, where it turns out what agents will ask. An agent whose request has come true gets the
answer at its turn at once. So the run is the one that plain Mesa makes, whatever the agents do: each call returns what
the model answers to this very request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import step_of
from mesa_llm.activation.call import AgentStep, Tally
from mesa_llm.activation.context import within
from mesa_llm.activation.mesa_model import is_in_model, step_on_after_failure
from mesa_llm.activation.once import log_counts
from mesa_llm.concurrency import calling_loop, transport_loop, worker_thread
from mesa_llm.errors import DecisionError, ModelCallError, NotParallelWarning, ends_run
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.parallel_stepping import progress, relaxed_gc
from mesa_llm.parallel_stepping.answers import AnswersAtTurn
from mesa_llm.parallel_stepping.failures import ALWAYS_RAISED, described, name_of
from mesa_llm.parallel_stepping.look_ahead import LookAhead, own_step_of, step_agent
from mesa_llm.parallel_stepping.memo import Experience, Memo
from mesa_llm.parallel_stepping.report import AgentReport, LookAheadReport, Outcome, Span, StepReport
from mesa_llm.parallel_stepping.reporting import publish, worth
from mesa_llm.parallel_stepping.runners import has_decision
from mesa_llm.parallel_stepping.world_copy import CannotCopyError

if TYPE_CHECKING:
    from mesa import Agent, Model

    from mesa_llm.parallel_stepping.config import ParallelStepping

_logger = logging.getLogger(__name__)

_WINDOW = 12
"""For how many agents a look bets on what they will ask, where bets are lost too often to bet on all."""


class SequentialStep:
    """One step of some agents in plain Mesa's way, with their models asked ahead.

    Args:
        agents: who steps, in the order in which Mesa is going to step them. Held weakly, as Mesa does.
        config: how.
        method: what each agent does.
        args: passed on.
        kwargs: passed on.
        agent_set: whose agents they are; by default all that are in the model.
        step_all: calls its argument with each agent, in order: Mesa's own loop. By default each agent of the list that
            is still in the model has its turn.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        config: ParallelStepping,
        *,
        method: str = "step",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        agent_set: Any = None,
        step_all: Callable[[Callable[..., object]], object] | None = None,
    ) -> None:
        self._agents = [weakref.ref(agent) for agent in agents]
        self._model: Model[Any, Any] = agents[0].model
        self._step_all = self._step_list if step_all is None else step_all
        self._stepping = frozenset(map(id, agents))
        self._config = config
        self._method = method
        self._args, self._kwargs = args, kwargs or {}
        self._memo = Memo(config.max_waste, experience=_experience.setdefault(self._model, Experience()))
        self._look_ahead = LookAhead(
            self._model, self._model.agents if agent_set is None else agent_set, method, args, self._kwargs, self._memo
        )
        self._answers = AnswersAtTurn(self._memo, self._look_again)
        self._place = 0  # of the agent whose turn it is
        self._n_exact = 0  # up to which place the answers to come are known
        self._looks = all(agent.model is self._model for agent in agents)
        self._asks = any(map(_asks, agents))
        self._has_looked = False
        self._n_failures = 0
        self._reports: list[AgentReport] = []

    async def run(self) -> None:
        """Make the step on a thread of its own: its turns block the thread that they run in."""
        await asyncio.wrap_future(worker_thread.start(self.run_here))

    def run_here(self) -> None:
        """Make the step.

        Raises:
            Exception: what an agent raises at its turn; those before it have acted.
        """
        started, failure = time.time(), None
        try:
            with (
                progress.shown(self._progress, [self._model]),
                calling_loop.keeping_helpers(),
                relaxed_gc.relaxed(len(self._agents)),
            ):
                self._step_all(self._turn)
        except BaseException as error:
            failure = error
            step_on_after_failure(self._model)
            shorten(error)
            raise
        finally:
            self._memo.close()
            self._look_ahead.forget()
            log_counts(self._model)
            publish(self._report(started, failure), self._model, self._config.on_report)

    def _step_list(self, turn: Callable[..., object]) -> None:
        for reference in self._agents:
            agent = reference()
            if agent is not None and is_in_model(agent):
                turn(agent, *self._args, **self._kwargs)

    def _turn(self, agent: Agent, *args: Any, **kwargs: Any) -> None:
        if id(agent) not in self._stepping:  # a member, which is left to its group
            return
        while self._place < len(self._agents) and self._agents[self._place]() is not agent:
            self._place += 1
        if self._place >= self._n_exact:
            self._prepare()
        began = self._memo.now()
        agent_step = own_step_of(agent, self._method)
        self._answers.agent_id = agent.unique_id
        outcome: Outcome = "acted"
        problem: BaseException | None = None
        try:
            with within(answers=self._answers):
                try:
                    step_agent(agent, agent_step, self._method, args, kwargs)
                except (ModelCallError, DecisionError) as error:
                    problem, outcome = error, "failed"
                    self._go_on_without(agent, agent_step, error)
                    outcome = "fell back" if callable(self._config.on_error) else "failed"
        except BaseException as error:
            problem, outcome = error, "failed acting" if problem is None else outcome
            raise
        finally:
            with self._memo.lock:
                self._memo.turn_ended(agent.unique_id)
            self._reports.append(self._agent_report(agent, agent_step, began, outcome, problem))
            self._place += 1

    def _go_on_without(self, agent: Agent, agent_step: AgentStep | None, error: Exception) -> None:
        """Do as `on_error` says about an agent whose decision has failed.

        Raises:
            Exception: the error, if `on_error` does not let the others go on.
        """
        config = self._config
        self._n_failures += 1
        if (
            isinstance(error, ALWAYS_RAISED)
            or (config.on_error == "skip" and ends_run(error))
            or not config.allows(self._n_failures, len(self._agents))
        ):
            raise error
        shorten(error)
        _logger.warning("%s could not decide: %s", name_of(agent), described(error))
        if callable(config.on_error):
            with within(agent_step=agent_step):
                config.on_error(agent, error)

    def _agent_report(
        self,
        agent: Agent,
        agent_step: AgentStep | None,
        began: float,
        outcome: Outcome,
        error: BaseException | None,
    ) -> AgentReport:
        answers = self._answers
        calls, waits = tuple(answers.calls), tuple(answers.waits)
        answers.calls.clear()
        answers.waits.clear()
        spans, since = [], began
        for start, end in waits:
            spans += [Span("act", since, start), Span("decide", start, end)]
            since = end
        return AgentReport(
            agent_id=agent.unique_id,
            agent_class=type(agent).__name__,
            outcome=outcome,
            error=None if error is None else described(error),
            spans=(*spans, Span("act", since, self._memo.now())),
            model_calls=calls,
            **worth(Tally() if agent_step is None else agent_step.tally),  # type: ignore[arg-type]
        )

    def _report(self, started: float, failure: BaseException | None) -> StepReport:
        memo, look_ahead = self._memo, self._look_ahead
        waited_s = sum(agent.seconds("decide") for agent in self._reports)
        wall_s = memo.now()
        return StepReport(
            step=step_of(self._model),
            started=started,
            mode=self._config.mode,
            activation=self._config.activation,
            wall_s=wall_s,
            decide_s=waited_s,
            act_s=wall_s - waited_s,
            settle_s=0.0,
            agents=tuple(self._reports),
            error=None if failure is None else described(failure),
            look_ahead=LookAheadReport(
                rounds=memo.rounds,
                turns_waited=memo.turns_waited,
                asked_ahead=memo.asked_ahead,
                used_ahead=memo.used_ahead,
                wasted_calls=memo.waste.calls,
                wasted_tokens=memo.waste.tokens,
                wasted_cost=memo.waste.cost,
                looks=tuple(look_ahead.looks),
                copy_s=look_ahead.copy_s,
                failed_looks=look_ahead.errors,
            ),
        )

    def _progress(self, model: Model[Any, Any]) -> progress.StepProgress:
        return progress.StepProgress(
            step=step_of(model),
            agents=len(self._agents),
            decided=max(self._place, self._n_exact),
            acted=self._place,
            failed=self._n_failures,
            seconds=self._memo.now(),
        )

    def _prepare(self) -> None:
        """Look before a turn at which not everything is known."""
        asks = self._asks or self._memo.used
        if not (self._looks and asks and self._memo.may_ask_ahead):
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
        """Look while an agent waits, if answers have arrived since the last look; says whether it did."""
        memo, look_ahead = self._memo, self._look_ahead
        if not (look_ahead.can_look and memo.may_ask_ahead and memo.has_news):
            return False
        rest = look_ahead.rest_s()
        if rest > 0:
            transport_loop.call_later(rest, memo.ring)
            return False
        memo.take_news()
        self._look()
        return True

    def _look(self) -> None:
        self._has_looked = True
        window = math.inf if self._memo.bets_pay else _WINDOW
        self._n_exact = self._place + self._look_ahead.look(window)


def _asks(agent: Agent) -> bool:
    """Whether an agent shows that it asks a model; others may ask as well, which shows when one does."""
    return has_decision(agent, in_threads=False) or any(isinstance(value, ModuleLLM) for value in vars(agent).values())


_experience: weakref.WeakKeyDictionary[Model[Any, Any], Experience] = weakref.WeakKeyDictionary()


_warned: weakref.WeakSet[type[Model[Any, Any]]] = weakref.WeakSet()


def warn_not_copied(model: Model[Any, Any], error: CannotCopyError) -> None:
    """Say, once a class of models, why agents wait one after the other."""
    if type(model) in _warned:
        return
    _warned.add(type(model))
    warnings.warn(
        f"{type(model).__name__} cannot be copied, so nothing is asked ahead, and its agents wait one after the other "
        f"as in plain Mesa: {error}. Keep it outside of the model and its agents, or give it a __reduce__.",
        NotParallelWarning,
        stacklevel=6,
    )
