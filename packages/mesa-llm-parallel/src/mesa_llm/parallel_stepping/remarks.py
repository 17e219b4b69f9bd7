"""Warnings about agents whose result depends on timing, or that did not run in parallel: once for each class."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref

from mesa_llm import concurrency
from mesa_llm.errors import NotParallelWarning, ReproducibilityWarning
from mesa_llm.parallel_stepping.failures import described

_told_of_turns: weakref.WeakSet[type] = weakref.WeakSet()
_told_of_serial: weakref.WeakSet[type] = weakref.WeakSet()
_told_of_draws: weakref.WeakSet[type] = weakref.WeakSet()

# The frames between the user's line and here.
_OURS = tuple(os.path.dirname(path) for path in (__file__, str(concurrency.__file__), str(asyncio.__file__)))


class Remarks:
    """What is to be said at the end of a step: within it, a warning that is an error would strike one agent only."""

    def __init__(self) -> None:
        self._to_say: dict[str, type[Warning]] = {}

    def no_turn(self, agent_class: type) -> None:
        """An agent of this class has waited for something, and has ended without a turn."""
        if agent_class not in _told_of_turns:
            _told_of_turns.add(agent_class)
            self._to_say[
                f"{agent_class.__name__} has waited for something and ended its step without a turn: what it did after "
                "waiting came in the order of the answers. Decide with `await self.reasoning.aplan()`, or wait for the "
                "turn with `await my_turn()` (in a thread `plan()`, `wait_my_turn()`)."
            ] = ReproducibilityWarning

    def drawn(self, agent_class: type) -> None:
        """An agent of this class has drawn a random number between its first model call and its turn."""
        if agent_class not in _told_of_draws:
            _told_of_draws.add(agent_class)
            self._to_say[
                f"{agent_class.__name__} draws from model.random or model.rng after it has first waited, for a model "
                "or for something else, and before its turn: the numbers go to the agents in the order of the answers. "
                "Draw before the first wait, or after plan() or my_turn()."
            ] = ReproducibilityWarning

    def drawn_together(self, agent_class: type) -> None:
        """A plain agent of this class has drawn a random number while others stepped beside it."""
        if agent_class not in _told_of_draws:
            _told_of_draws.add(agent_class)
            self._to_say[
                f"{agent_class.__name__} draws from model.random or model.rng in a step that runs beside those of "
                "other plain agents: the numbers go to the agents in the order of the threads. Set "
                "plain_steps='ordered', or wait for the turn with `wait_my_turn()`."
            ] = ReproducibilityWarning

    def serial(self, agent_class: type, model_class: type) -> None:
        """Agents have taken long, one after the other."""
        if model_class not in _told_of_serial:
            _told_of_serial.add(model_class)
            self._to_say[
                f"{model_class.__name__}: each agent ({agent_class.__name__}, …) ended its step before the next one "
                "started, so nothing ran in parallel: none has asked a model through its `llm` or `reasoning`, or "
                "waited for its turn. Do a call of your own in `with model_call():` (mesa_llm.activation)."
            ] = NotParallelWarning

    def nobody_decided(self, error: Exception, n_agents: int, model_class: type) -> None:
        """Not one agent could decide, and the step has gone on without them."""
        self._to_say[
            f"{model_class.__name__}: not one of {n_agents} agents could decide in a step, and it went on without them "
            f"(on_error). The first error: {described(error)}"
        ] = RuntimeWarning

    def say(self) -> None:
        """Warn."""
        for remark, category in self._to_say.items():
            warnings.warn(remark, category, skip_file_prefixes=_OURS)
