"""Steps a model on a thread of its own, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mesa_llm_examples.words import in_one_line

PAUSE = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlayerState:
    """Where a player is.

    Attributes:
        steps: how many steps have ended.
        busy: whether a step is running, or the next one about to begin.
        playing: whether another step follows it.
        error: what the last step has failed with, in one line; `None` if it has not.
    """

    steps: int = 0
    busy: bool = False
    playing: bool = False
    error: str | None = None


NOTHING_DONE = PlayerState()


class Player:
    """Steps a model, once or again and again. Its methods return at once and may be called from any thread.

    Args:
        model: a Mesa model.
        on_change: called with each new state, on the thread on which it came about: that of the caller, or the one that
            steps. It is called before a step begins, and after a step before the next one begins.
        is_watched: whether anybody sees the model; if not, play stops after the running step.
        pause: seconds between two steps while it plays.
    """

    def __init__(
        self,
        model: Any,
        on_change: Callable[[PlayerState], object] = lambda state: None,
        *,
        is_watched: Callable[[], bool] = lambda: True,
        pause: float = PAUSE,
    ) -> None:
        self._model = model
        self._on_change = on_change
        self._is_watched = is_watched
        self._between = pause
        self._lock = threading.Lock()  # protects the state: the call that sets it to busy starts the thread
        self._state = PlayerState()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def state(self) -> PlayerState:
        """Where it is."""
        return self._state

    def step(self) -> None:
        """Step once; nothing while a step is running."""
        self._start(playing=False)

    def play(self) -> None:
        """Step until `pause` or an error."""
        self._start(playing=True)

    def pause(self) -> None:
        """Let the running step be the last one."""
        with self._lock:
            self._state = state = replace(self._state, playing=False)
            self._hurry.set()
        self._tell(state)

    def close(self) -> None:
        """Let the running step be the last one, and tell nobody of it any more."""
        self._closed = True
        self.pause()

    def join(self, timeout: float | None = None) -> None:
        """Wait until no step is running.

        Args:
            timeout: seconds to wait at most.
        """
        if (thread := self._thread) is not None:
            thread.join(timeout)

    def _start(self, *, playing: bool) -> None:
        with self._lock:
            if self._closed:
                return
            starts = not self._state.busy
            if starts:
                self._hurry.clear()
                self._state = replace(self._state, busy=True, playing=playing, error=None)
            else:
                self._state = replace(self._state, playing=self._state.playing or playing)
            state = self._state
        self._tell(state)
        if starts:
            self._thread = threading.Thread(target=self._run, name="model steps", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._model.step()
                error = None
            except Exception as failure:
                error = in_one_line(failure)
                _log.error("A step has failed: %s", error, exc_info=failure)
            if not self._goes_on(steps=error is None, error=error):
                return
            self._hurry.wait(self._between)
            if not self._goes_on():  # paused meanwhile
                return

    def _goes_on(self, *, steps: int = 0, error: str | None = None) -> bool:
        """Whether another step follows; says so."""
        is_watched = self._is_watched()
        with self._lock:
            before = self._state
            goes_on = before.playing and error is None and is_watched
            self._state = state = PlayerState(before.steps + steps, busy=goes_on, playing=goes_on, error=error)
        if state != before:
            self._tell(state)
        return goes_on

    def _tell(self, state: PlayerState) -> None:
        if self._closed:
            return
        try:
            self._on_change(state)
        except Exception:
            # Of the page, not of the model: the player must not stay busy for it.
            _log.exception("The page could not be changed after a step.")
