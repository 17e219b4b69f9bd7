"""What one visitor of the page has open: a model, its player, and what is shown of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mesa_llm_examples.apps.inspector import AgentRecord, records_of
from mesa_llm_examples.apps.player import NOTHING_DONE, PAUSE, Player, PlayerState
from mesa_llm_examples.apps.watching import Choices, Watched, watch
from mesa_llm_examples.failures import in_one_line

if TYPE_CHECKING:
    from mesa_llm_examples.apps.example import ExampleApp


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What is shown at one moment. Made between two steps, so that it may be drawn while a step runs.

    Attributes:
        watched: the model; `None` if none could be made.
        state: where its player is.
        agents: its agents, by id.
        reports: the reports of its last step.
        error: what is wrong, in one line; `None` if nothing is.
    """

    watched: Watched | None = None
    state: PlayerState = NOTHING_DONE
    agents: Mapping[int, AgentRecord] = field(default_factory=dict)
    reports: tuple[Any, ...] = ()
    error: str | None = None


class Session:
    """A model and its player, exchanged together. Its methods return at once, but for `reset`, which makes a model.

    Args:
        app: which example.
        pause: seconds between two steps while it plays.
    """

    def __init__(self, app: ExampleApp, *, pause: float = PAUSE) -> None:
        self._app = app
        self._pause = pause
        self._lock = threading.Lock()  # protects the frame: of a model that was reset, none may follow
        self.on_change: Callable[[], object] = lambda: None
        """Called after each new frame, on the thread on which it came about, see `Player`."""
        self.choices = Choices(parameters=app.defaults(), seed=app.seed)
        """By what the next model is made."""
        self.player: Player | None = None
        self.frame = Frame()
        self.reset()

    def reset(self) -> None:
        """Make a new model as chosen. A step that runs in the old one ends by itself and is not shown.

        If the model cannot be made, the old one stays and the frame says why.
        """
        try:
            watched = watch(self._app, self.choices)
        except Exception as error:
            with self._lock:
                self.frame = replace(self.frame, error=in_one_line(error))
        else:
            self.close()
            with self._lock:
                self.player = Player(watched.model, lambda state: self._changed(watched, state), pause=self._pause)
                self.frame = Frame(watched=watched, agents=records_of(watched.model, self._app.describe))
        self.on_change()

    def close(self) -> None:
        """Let the running step be the last one."""
        if self.player is not None:
            self.player.close()

    def _changed(self, watched: Watched, state: PlayerState) -> None:
        with self._lock:
            old = self.frame
            if old.watched is not watched:
                return
            if state.steps == old.state.steps and state.error is None:
                # Only the buttons change, and a step may be running: nothing is read from the model.
                self.frame = replace(old, state=state, error=None)
            else:
                self.frame = Frame(
                    watched=watched,
                    state=state,
                    agents=records_of(watched.model, self._app.describe),
                    reports=tuple(getattr(watched.model, "parallel_reports", ())),
                    error=state.error,
                )
        self.on_change()
