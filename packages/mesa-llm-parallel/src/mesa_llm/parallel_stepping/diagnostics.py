"""What a step warns of: results that depend on timing, agents that do not overlap, a step that does not get on."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mesa_llm import concurrency
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import NotParallelWarning, ReproducibilityWarning
from mesa_llm.parallel_stepping.failures import described, names_of
from mesa_llm.parallel_stepping.turn import State

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.parallel_stepping.board import Board
    from mesa_llm.parallel_stepping.turn import AgentTurn

type Notice = Callable[[Model], None]
"""Called at each draw, with the model whose generator it is."""

STALL_S = 10.0
"""Seconds without progress after which a step says what it waits for."""

_logger = logging.getLogger(__name__)

_warned_of_turns: weakref.WeakSet[type] = weakref.WeakSet()
_warned_of_serial: weakref.WeakSet[type] = weakref.WeakSet()
_warned_of_draws: weakref.WeakSet[type] = weakref.WeakSet()

# The frames between the user's line and here.
_OURS = tuple(os.path.dirname(path) for path in (__file__, str(concurrency.__file__), str(asyncio.__file__)))


class Diagnostics:
    """Warnings collected during a step and issued at its end, once for each class.

    Under `-W error`, a warning raised in the middle of a step would fail one arbitrary agent.
    """

    def __init__(self) -> None:
        self._warnings: dict[str, type[Warning]] = {}

    def waited_without_turn(self, agent_class: type) -> None:
        """An agent of this class has waited for something, and has ended without a turn."""
        if agent_class not in _warned_of_turns:
            _warned_of_turns.add(agent_class)
            self._warnings[
                f"{agent_class.__name__} has waited for something and ended its step without a turn: what it did after "
                "waiting came in the order of the answers. Decide with `await self.reasoning.aplan()`, or wait for the "
                "turn with `await my_turn()` (in a thread `plan()`, `wait_my_turn()`)."
            ] = ReproducibilityWarning

    def drew_while_waiting(self, agent_class: type) -> None:
        """An agent of this class has drawn a random number between its first model call and its turn."""
        if agent_class not in _warned_of_draws:
            _warned_of_draws.add(agent_class)
            self._warnings[
                f"{agent_class.__name__} draws from model.random or model.rng after it has first waited, for a model "
                "or for something else, and before its turn: the numbers go to the agents in the order of the answers. "
                "Draw before the first wait, or after plan() or my_turn()."
            ] = ReproducibilityWarning

    def drew_together(self, agent_class: type) -> None:
        """A plain agent of this class has drawn a random number while others stepped beside it."""
        if agent_class not in _warned_of_draws:
            _warned_of_draws.add(agent_class)
            self._warnings[
                f"{agent_class.__name__} draws from model.random or model.rng in a step that runs beside those of "
                "other plain agents: the numbers go to the agents in the order of the threads. Set "
                "plain_steps='ordered', or wait for the turn with `wait_my_turn()`."
            ] = ReproducibilityWarning

    def ran_serially(self, agent_class: type, model_class: type) -> None:
        """Agents have taken long, one after the other."""
        if model_class not in _warned_of_serial:
            _warned_of_serial.add(model_class)
            self._warnings[
                f"{model_class.__name__}: each agent ({agent_class.__name__}, …) ended its step before the next one "
                "started, so nothing ran in parallel: none has asked a model through its `llm` or `reasoning`, or "
                "waited for its turn. Do a call of your own in `with model_call():` (mesa_llm.activation)."
            ] = NotParallelWarning

    def nobody_decided(self, error: Exception, n_agents: int, model_class: type) -> None:
        """Not one agent could decide, and the step has gone on without them."""
        self._warnings[
            f"{model_class.__name__}: not one of {n_agents} agents could decide in a step, and it went on without them "
            f"(on_error). The first error: {described(error)}"
        ] = RuntimeWarning

    def warn(self) -> None:
        """Issue the warnings."""
        for message, category in self._warnings.items():
            warnings.warn(message, category, skip_file_prefixes=_OURS)


class Watchdog:
    """Logs a warning, once, if for some time no call to a model is in flight and no agent gets on.

    Looks at the step from the transport loop's thread, so that an agent that blocks the step's own loop is noticed too.

    Args:
        board: of the step that it watches; only read.
        turns: gives the turns of the step; only read.
    """

    def __init__(self, board: Board, turns: Callable[[], Sequence[AgentTurn]]) -> None:
        self._board = board
        self._turns: Callable[[], Sequence[AgentTurn]] | None = turns
        self._seen = board.progress
        self._stop: Callable[[], object] = transport_loop.call_later(STALL_S, self._look)

    def stop(self) -> None:
        """Watch no more."""
        self._turns = None  # the loop may keep this object alive for a while, and must not keep the agents alive
        self._stop()

    def _look(self) -> None:
        if self._turns is None:
            return
        turns = self._turns()
        if self._seen == self._board.progress and not any(turn.is_in_call for turn in turns):
            deciding = names_of(turn.agent for turn in turns if turn.state is State.DECIDING)
            acting = names_of(turn.agent for turn in turns if turn.state is State.ACTING)
            if deciding or acting:
                _logger.warning(
                    "No model is being asked, and nothing has happened in this step for %g s. Not decided: %s. Acting: "
                    "%s. If they ask a model by means of their own, do so in `with model_call():`.",
                    STALL_S,
                    deciding or "nobody",
                    acting or "nobody",
                )
                return
        self._seen = self._board.progress
        self._stop = transport_loop.call_later(STALL_S, self._look)


@contextmanager
def rng_watched(models: Iterable[Model], notice: Notice) -> Iterator[None]:
    """Call `notice` at each draw from `model.random` or `model.rng` of these models.

    The generators give the numbers that they would give anyway.
    """
    with ExitStack() as watches:
        for model in models:
            watches.enter_context(_random_watched(model, notice))
            watches.enter_context(_generator_watched(model, notice))
        yield


@contextmanager
def _random_watched(model: Model, notice: Notice) -> Iterator[None]:
    """`random.Random` draws everything through these two methods, which an instance can shadow."""
    generator = model.random
    if type(generator) is not random.Random or "getrandbits" in vars(generator):
        yield
        return
    for name in ("random", "getrandbits"):
        setattr(generator, name, _noticed(getattr(generator, name), model, notice))
    try:
        yield
    finally:
        del generator.random, generator.getrandbits


def _noticed(draw: Callable[..., Any], model: Model, notice: Notice) -> Callable[..., Any]:
    def noticed(*args: Any) -> Any:
        notice(model)
        return draw(*args)

    return noticed


@contextmanager
def _generator_watched(model: Model, notice: Notice) -> Iterator[None]:
    """A NumPy generator is a thin layer over a bit generator: for a while, another layer lies over the same one."""
    generator = getattr(model, "rng", None)
    if type(generator) is not np.random.Generator:
        yield
        return
    watcher = _WatchedGenerator(generator.bit_generator)
    watcher.notice = lambda: notice(model)
    model.rng = watcher
    try:
        yield
    finally:
        watcher.notice = _ignore
        if model.rng is watcher:
            model.rng = generator


def _ignore() -> None:
    pass


class _WatchedGenerator(np.random.Generator):
    notice: Callable[[], None] = staticmethod(_ignore)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in {"notice", "bit_generator"}:
            self.notice()
        return super().__getattribute__(name)
