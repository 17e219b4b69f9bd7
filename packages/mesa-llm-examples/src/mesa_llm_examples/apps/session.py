"""What one visitor of the page has open: a model that is made as chosen, its player, and what is shown of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from mesa_llm.clients import MeteredClient, RuleBasedClient
from mesa_llm.clients.providers import endpoint_of, is_openai_compatible
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm_examples.apps.player import NOTHING_DONE, PAUSE, Player, PlayerState
from mesa_llm_examples.apps.serving import API_BASE, at_start
from mesa_llm_examples.apps.views import AgentRecord, records_of
from mesa_llm_examples.words import in_one_line

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm_examples.apps.example import ExampleApp


MODES = ("asyncio", "threading", "off")
LATENCY = 0.2

_NO_KEY = "none"
"""Sent in the place of a key; clients look for a key in the environment only where they are given none."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is chosen on the page.

    Attributes:
        parameters: the model's own, by name.
        seed: the same seed and the same answers give the same run.
        mode: how the agents of a step decide; `off` for one after the other.
        llm_model: the language model, as `provider/model`; `None` for the example's rule.
        api_base: the base URL of the model's server; empty for the provider's own.
        latency: seconds until the rule answers.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42
    mode: str = "asyncio"
    llm_model: str | None = None
    api_base: str = field(default="", repr=False)
    latency: float = LATENCY


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """A model on the page.

    Attributes:
        model: the Mesa model.
        client: its agents' way to the language model, which counts the calls.
        choices: what it was made by.
    """

    model: Any
    client: MeteredClient
    choices: Choices


def watch(app: ExampleApp, choices: Choices) -> Watched:
    """Make a model as chosen.

    Switches automatic parallel stepping on in the process; whether it is used, each model says for itself.

    Raises:
        ConfigurationError: if a choice cannot work.
    """
    if choices.mode not in MODES:
        raise ConfigurationError(f"mode must be one of {', '.join(map(repr, MODES))}, got {choices.mode!r}.")
    llm_model = None if choices.llm_model is None else choices.llm_model.strip()
    api_base = choices.api_base.strip() or None
    if api_base is not None and llm_model is None:
        raise ConfigurationError("An address needs a model too, for example openai/NAME: the rule answers by itself.")
    client = MeteredClient(
        RuleBasedClient(app.policy, latency=choices.latency) if llm_model is None else _way(llm_model, api_base)
    )
    model = app.make_model(
        **choices.parameters,
        seed=choices.seed,
        llm_model=llm_model,
        client=client,
        parallel_stepping=_stepping(choices.mode),
    )
    enable_automatic_parallel_stepping()
    return Watched(model=model, client=client, choices=choices)


def gets_key(llm_model: str, api_base: str) -> bool:
    """Whether a key from the environment is sent to an address.

    Only to the provider's own, to one that stands in the environment, and to the one that the app was started with.

    Args:
        llm_model: the language model, as `provider/model`.
        api_base: the base URL that is chosen on the page; empty for the provider's own.
    """
    known = {at_start().api_base, endpoint_of(llm_model) or ""}
    return api_base.strip().rstrip("/") in {"", *(address.rstrip("/") for address in known)}


def _way(llm_model: str, api_base: str | None) -> LLMClient:
    """A client that asks a model, and sends keys from the environment only where they belong."""
    provider, _, name = llm_model.partition("/")
    if not llm_model:
        raise ConfigurationError(
            "Name the language model, as provider/name, for example openai/gpt-4o-mini; or let the rule decide."
        )
    if "://" in llm_model:  # litellm sends the key of some providers there
        raise ConfigurationError(
            f"A model's name has no address in it, got {llm_model!r}. Give the base URL by itself."
        )
    if api_base is None or gets_key(llm_model, api_base):
        return connect(api_base=api_base)
    if not (name and is_openai_compatible(provider)):
        raise ConfigurationError(
            f"{llm_model} at {api_base} cannot be asked without a key, and an address typed into the page gets none. "
            f"Start the app with --api-base URL (under solara run: {API_BASE}=URL in the environment)."
        )
    try:
        has_password = "@" in urlsplit(api_base).netloc  # sent in the place of a key
    except ValueError as error:
        raise ConfigurationError(f"The base URL must be an http or https URL, got {api_base!r}.") from error
    # Directly: litellm finds further credentials, and lets some of its providers follow redirects.
    return connect(api_base=api_base, api_key=None if has_password else _NO_KEY, transport="direct")


def _stepping(mode: str) -> ParallelStepping | bool:
    return mode != "off" and ParallelStepping(mode=cast(Literal["asyncio", "threading"], mode))


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
