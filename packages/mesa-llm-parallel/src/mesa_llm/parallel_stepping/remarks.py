"""Warnings about agents whose result depends on how fast the model answers: once for each class."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref

from mesa_llm import concurrency
from mesa_llm.errors import ReproducibilityWarning

_told_of_turns: weakref.WeakSet[type] = weakref.WeakSet()
_told_of_draws: weakref.WeakSet[type] = weakref.WeakSet()

# The frames between the user's line and here.
_OURS = tuple(os.path.dirname(path) for path in (__file__, str(concurrency.__file__), str(asyncio.__file__)))


class Remarks:
    """What is to be said at the end of a step: within it, a warning that is an error would strike one agent only."""

    def __init__(self) -> None:
        self._to_say: dict[str, None] = {}

    def no_turn(self, agent_class: type) -> None:
        """An agent of this class has waited for something, and has ended without a turn."""
        if agent_class not in _told_of_turns:
            _told_of_turns.add(agent_class)
            self._to_say[
                f"{agent_class.__name__} has waited for something and ended its step without a turn: what it did after "
                "waiting came in the order of the answers. Decide with `await self.reasoning.aplan()`, or wait for the "
                "turn with `await my_turn()` (in a thread `plan()`, `wait_my_turn()`)."
            ] = None

    def drawn(self, agent_class: type) -> None:
        """An agent of this class has drawn a random number between its first model call and its turn."""
        if agent_class not in _told_of_draws:
            _told_of_draws.add(agent_class)
            self._to_say[
                f"{agent_class.__name__} draws from model.random or model.rng after it has asked a model and before "
                "its turn: the numbers go to the agents in the order of the answers. Draw before asking, or after "
                "plan() or my_turn()."
            ] = None

    def say(self) -> None:
        """Warn."""
        for remark in self._to_say:
            warnings.warn(remark, ReproducibilityWarning, skip_file_prefixes=_OURS)
