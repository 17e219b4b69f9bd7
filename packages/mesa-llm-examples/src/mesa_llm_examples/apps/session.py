"""What one visitor of the page has open: a model, its player, and what is shown of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mesa_llm_examples.apps.inspector import AgentRecord, records_of
from mesa_llm_examples.apps.player import NOTHING_DONE, PAUSE, Player, PlayerState
from mesa_llm_examples.apps.starting import at_start
from mesa_llm_examples.apps.watching import Choices, Watched, watch
from mesa_llm_examples.words import in_one_line

if TYPE_CHECKING:
    from mesa_llm_examples.apps.example import ExampleApp

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """A model as PNG images.

    Attributes:
        world: where its agents are.
        states: its states over time, a plot each.
    """

    world: bytes = b""
    states: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What is shown at one moment. Made between two steps: nothing in it changes while the next one runs.

    Attributes:
        watched: the model; `None` if none could be made.
        state: where its player is.
        agents: its agents, by id.
        reports: the reports of its last step.
        pictures: what is drawn of it.
        error: what is wrong, in one line; `None` if nothing is.
    """

    watched: Watched | None = None
    state: PlayerState = NOTHING_DONE
    agents: Mapping[int, AgentRecord] = field(default_factory=dict)
    reports: tuple[Any, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)
    error: str | None = None


class Session:
    """A model and its player, exchanged together.

    Its methods do not wait for a step. `reset` makes a model, and `reset` and `mark` draw one.

    Args:
        app: which example.
        draw: draws the model, given it and the id of the agent that is marked. Called between two steps.
        is_watched: whether a page is open that shows the session; if not, play stops after the running step.
        pause: seconds between two steps while it plays.
    """

    def __init__(
        self,
        app: ExampleApp,
        *,
        draw: Callable[[Any, int | None], Pictures] = lambda model, chosen: Pictures(),
        is_watched: Callable[[], bool] = lambda: True,
        pause: float = PAUSE,
    ) -> None:
        self._app = app
        self._draw = draw
        self._is_watched = is_watched
        self._pause = pause
        # Protects the frame: none may follow of a model that was reset. The player reports that a step begins or has
        # ended before it goes on, so that while the lock is held, a model that is not busy stays as it is.
        self._lock = threading.Lock()
        self.on_change: Callable[[], object] = lambda: None
        """Called after each new frame, on the thread on which it came about, see `Player`."""
        start = at_start()
        self.choices = Choices(
            parameters=app.defaults(),
            seed=app.seed,
            llm_model=start.llm_model,
            api_base=start.api_base if start.llm_model is not None else "",
        )
        """By what the next model is made."""
        self.chosen: int | None = None
        """The id of the agent that is looked into."""
        self.player: Player | None = None
        self.frame = Frame()
        self.reset()

    def reset(self) -> None:
        """Make a new model as chosen. A step that runs in the old one ends by itself and is not shown.

        If the model cannot be made or drawn, the old one stays and the frame says why.
        """
        try:
            watched = watch(self._app, self.choices)
            frame = self._look(watched, NOTHING_DONE)
        except Exception as error:
            with self._lock:
                self.frame = replace(self.frame, error=_logged(error, "The model cannot be made"))
        else:
            self.close()
            with self._lock:
                self.player = Player(
                    watched.model,
                    lambda state: self._changed(watched),
                    is_watched=self._is_watched,
                    pause=self._pause,
                )
                self.frame = frame
        self.on_change()

    def mark(self, agent_id: int | None) -> None:
        """Look into an agent. While a step runs, it is marked in the picture when the step ends."""
        with self._lock:
            self.chosen = agent_id
            if self.frame.watched is not None and not self.frame.state.busy:
                try:
                    pictures = self._draw(self.frame.watched.model, agent_id)
                    self.frame = replace(self.frame, pictures=pictures)
                except Exception as error:
                    self.frame = replace(self.frame, error=_logged(error, "The model cannot be drawn"))
        self.on_change()

    def close(self) -> None:
        """Let the running step be the last one."""
        if self.player is not None:
            self.player.close()

    def _changed(self, watched: Watched) -> None:
        with self._lock:
            old, player = self.frame, self.player
            if old.watched is not watched or player is None:
                return
            # Not the state that was reported: another thread may have reported a later one first.
            state = player.state
            fails = False
            if state.steps == old.state.steps and state.error is None:
                # Only the buttons change, and a step may be running: nothing is read from the model.
                begins = state.busy and not old.state.busy
                self.frame = replace(old, state=state, error=None if begins else old.error)
            else:
                try:
                    self.frame = self._look(watched, state)
                except Exception as error:
                    self.frame = replace(old, state=state, error=_logged(error, "The model cannot be shown"))
                    fails = True
        if fails:
            player.pause()
        self.on_change()

    def _look(self, watched: Watched, state: PlayerState) -> Frame:
        return Frame(
            watched=watched,
            state=state,
            agents=records_of(watched.model, self._app.describe),
            reports=tuple(getattr(watched.model, "parallel_reports", ())),
            pictures=self._draw(watched.model, self.chosen),
            error=state.error,
        )


def _logged(error: Exception, what: str) -> str:
    """An error in one line, for the page; the log has it with its traceback."""
    text = in_one_line(error)
    _log.error("%s: %s", what, text, exc_info=error)
    return text
