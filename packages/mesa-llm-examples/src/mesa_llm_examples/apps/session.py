"""The session of one visitor: a model made as chosen, the thread that steps it, and what the page shows of it."""

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
from mesa_llm_examples.apps.calls import CallLog
from mesa_llm_examples.apps.serving import API_BASE, at_start
from mesa_llm_examples.apps.views import AgentRecord, records_of
from mesa_llm_examples.simulation import DecisionCounts
from mesa_llm_examples.words import in_one_line

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm_examples.apps.example import ExampleApp


MODES = ("asyncio", "threading", "off")
ACTIVATIONS = ("simultaneous", "sequential", "eager")
LATENCY = 0.2  # seconds until the rule answers, at first
PAUSE = 0.1  # seconds between two steps while a model plays

_NO_KEY = "none"  # sent in the place of a key: without a key, clients look for one in the environment


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The choices on the page.

    Attributes:
        parameters: the parameters of the model, by name.
        seed: the same seed and the same answers give the same run.
        mode: how the agents of a step decide; `off` for one after the other.
        activation: what they decide on; has no meaning in mode `off`.
        llm_model: the LLM, as `provider/model`; `None` for the example's rule.
        api_base: the base URL of the model's server; empty for the provider's own.
        latency: seconds until the rule answers.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42
    mode: str = "asyncio"
    activation: str = "simultaneous"
    llm_model: str | None = None
    api_base: str = field(default="", repr=False)
    latency: float = LATENCY


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """A model on the page, the client of its agents, which counts the calls, its choices, and the calls themselves."""

    model: Any
    client: MeteredClient
    choices: Choices
    calls: CallLog


def watch(app: ExampleApp, choices: Choices) -> Watched:
    """Make a model as chosen, and enable automatic parallel stepping in this process.

    Raises:
        ConfigurationError: if a choice cannot work.
    """
    if choices.mode not in MODES:
        raise ConfigurationError(f"mode must be one of {', '.join(map(repr, MODES))}, got {choices.mode!r}.")
    llm_model = None if choices.llm_model is None else choices.llm_model.strip()
    api_base = choices.api_base.strip() or None
    if api_base is not None and llm_model is None:
        raise ConfigurationError("An address needs an LLM too, for example openai/NAME: the rule asks no server.")
    calls = CallLog(
        RuleBasedClient(app.policy, latency=choices.latency) if llm_model is None else _client_of(llm_model, api_base)
    )
    client = MeteredClient(calls)
    model = app.make_model(
        **choices.parameters,
        seed=choices.seed,
        llm_model=llm_model,
        client=client,
        parallel_stepping=_stepping(choices.mode, choices.activation),
    )
    enable_automatic_parallel_stepping()
    return Watched(model=model, client=client, choices=choices, calls=calls)


def gets_key(llm_model: str, api_base: str) -> bool:
    """Whether a key from the environment is sent to an address.

    Keys go to the provider's own address, to an address from the environment, and to the address with which the app was
    started.

    Args:
        llm_model: the LLM, as `provider/model`.
        api_base: the base URL on the page; empty for the provider's own.
    """
    known = {at_start().api_base, endpoint_of(llm_model) or ""}
    return api_base.strip().rstrip("/") in {"", *(address.rstrip("/") for address in known)}


def _client_of(llm_model: str, api_base: str | None) -> LLMClient:
    """A client that asks an LLM, and sends keys from the environment only as `gets_key` says."""
    provider, _, name = llm_model.partition("/")
    if not llm_model:
        raise ConfigurationError(
            "Name the LLM, as provider/name, for example openai/gpt-4o-mini; or let the rule decide."
        )
    if "://" in llm_model:  # litellm sends the key of some providers there
        raise ConfigurationError(f"An LLM's name has no address in it, got {llm_model!r}. Give the address by itself.")
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
    # Not through litellm, which finds further credentials, and some of whose providers follow redirects.
    return connect(api_base=api_base, api_key=None if has_password else _NO_KEY, transport="direct")


def _stepping(mode: str, activation: str) -> ParallelStepping | bool:
    return mode != "off" and ParallelStepping(
        mode=cast(Literal["asyncio", "threading"], mode),
        activation=cast(Literal["simultaneous", "sequential", "eager"], activation),
    )


_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture on the page.

    Attributes:
        svg: an SVG element; its ink is the colour of the page's text.
        alt: what it shows, in words.
        spots: where agents are, by id, in shares of width and height from the top left.
    """

    svg: str = ""
    alt: str = ""
    spots: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """A model as pictures: its world, and its states over time."""

    world: Picture = field(default_factory=Picture)
    states: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What the page shows at one moment. It is made between two steps, and does not change while the next one runs.

    Attributes:
        watched: the model; `None` if none could be made.
        steps: how many steps have ended.
        busy: whether a step runs, or the next one is about to begin.
        playing: whether another step follows it.
        agents: the agents by id.
        reports: the reports of the last step.
        decided: what the decisions of all steps were worth.
        conflicts: how often in all steps another agent got there first.
        finished: whether the model has come to its end, so that no step follows.
        result: what came of it so far, in one line; empty if the model does not say.
        pictures: the model as pictures.
        error: the last error in one line; `None` without one.
    """

    watched: Watched | None = None
    steps: int = 0
    busy: bool = False
    playing: bool = False
    agents: Mapping[int, AgentRecord] = field(default_factory=dict)
    reports: tuple[Any, ...] = ()
    decided: DecisionCounts = field(default_factory=DecisionCounts)
    conflicts: int = 0
    finished: bool = False
    result: str = ""
    pictures: Pictures = field(default_factory=Pictures)
    error: str | None = None


class Session:
    """A model, and the thread that steps it, once or repeatedly, so that the page does not wait.

    No method waits for a step, and each may be called from any thread.

    Args:
        app: the example.
        draw: draws a model, given the model and the id of the marked agent. Called between two steps.
        is_watched: whether an open page shows the session; if not, play stops after the current step.
        pause: seconds between two steps while the model plays.
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
        # Protects the frame. A step begins only after its frame is busy, and ends before its frame is not: a model that
        # is not busy does not change while the lock is held. The step of a model that was reset sets no frame.
        self._lock = threading.Lock()
        self._hurry = threading.Event()  # ends the pause between two steps
        self._thread: threading.Thread | None = None
        self._closed = False
        self.on_change: Callable[[], object] = lambda: None
        """Called after each new frame, on the thread that made it: the caller's, or the one that steps. It is called
        before a step begins, and between the end of a step and the start of the next one."""
        start = at_start()
        self.choices = Choices(
            parameters=app.defaults(),
            seed=app.seed,
            llm_model=start.llm_model,
            api_base=start.api_base if start.llm_model is not None else "",
        )
        """The choices for the next model."""
        self.chosen: int | None = None
        """The id of the agent in the inspector."""
        self.frame = Frame()
        self.reset()

    def reset(self) -> None:
        """Make a new model as chosen. A step of the old one that still runs ends by itself, and is not shown.

        If the model cannot be made or drawn, the old one stays, and the frame has the error.
        """
        try:
            frame = self._look(Frame(watched=watch(self._app, self.choices)))
        except Exception as error:
            with self._lock:
                self.frame = replace(self.frame, error=_logged(error, "The model cannot be made"))
        else:
            with self._lock:
                self._hurry.set()
                self._hurry = threading.Event()
                self.frame = frame
        self._tell()

    def step(self) -> None:
        """Step once; does nothing while a step runs."""
        self._start(playing=False)

    def play(self) -> None:
        """Step until `pause` is called, a step fails, or no page shows the session."""
        self._start(playing=True)

    def pause(self) -> None:
        """Stop after the current step."""
        with self._lock:
            self.frame = replace(self.frame, playing=False)
            self._hurry.set()
        self._tell()

    def mark(self, agent_id: int | None) -> None:
        """Show an agent in the inspector. The picture marks it at once, or when the current step ends."""
        with self._lock:
            self.chosen = agent_id
            if self.frame.watched is not None and not self.frame.busy:
                try:
                    pictures = self._draw(self.frame.watched.model, agent_id)
                    self.frame = replace(self.frame, pictures=pictures)
                except Exception as error:
                    self.frame = replace(self.frame, error=_logged(error, "The model cannot be drawn"))
        self._tell()

    def close(self) -> None:
        """Stop after the current step, and report no further changes."""
        self._closed = True
        self.pause()

    def join(self, timeout: float | None = None) -> None:
        """Wait until no step runs, at most `timeout` seconds."""
        if (thread := self._thread) is not None:
            thread.join(timeout)

    def _start(self, *, playing: bool) -> None:
        with self._lock:
            watched, hurry = self.frame.watched, self._hurry
            if self._closed or watched is None:
                return
            if self.frame.finished:
                return
            starts = not self.frame.busy
            if starts:
                hurry.clear()
                self.frame = replace(self.frame, busy=True, playing=playing, error=None)
            else:
                self.frame = replace(self.frame, playing=self.frame.playing or playing)
        self._tell()
        if starts:
            self._thread = threading.Thread(target=self._run, args=(watched, hurry), name="model steps", daemon=True)
            self._thread.start()

    def _run(self, watched: Watched, hurry: threading.Event) -> None:
        while True:
            try:
                watched.model.step()
                error = None
            except Exception as failure:
                error = _logged(failure, "A step has failed")
            if not self._goes_on(watched, has_stepped=True, error=error):
                return
            hurry.wait(self._pause)
            if not self._goes_on(watched):  # paused meanwhile
                return

    def _goes_on(self, watched: Watched, *, has_stepped: bool = False, error: str | None = None) -> bool:
        """Decide whether another step follows, and make the frame between the two."""
        is_watched = self._is_watched()
        with self._lock:
            before = self.frame
            if before.watched is not watched:  # the model was reset
                return False
            finished = not getattr(watched.model, "running", True)
            goes_on = before.playing and is_watched and error is None and not finished
            frame = replace(before, busy=goes_on, playing=goes_on, error=error if has_stepped else before.error)
            if has_stepped:
                reports = getattr(watched.model, "parallel_reports", ())
                frame = replace(
                    frame,
                    decided=before.decided + DecisionCounts.of(watched.model),
                    conflicts=before.conflicts + sum(report.conflicts for report in reports),
                    finished=finished,
                )
            if has_stepped and not self._closed:
                frame = replace(frame, steps=before.steps + (error is None))
                try:
                    frame = self._look(frame)
                except Exception as failure:
                    goes_on = False
                    text = _logged(failure, "The model cannot be shown")
                    frame = replace(frame, busy=False, playing=False, error=text)
            self.frame = frame
        if has_stepped or not goes_on:
            self._tell()
        return goes_on

    def _look(self, frame: Frame) -> Frame:
        """The frame with all that is read from its model."""
        assert frame.watched is not None
        model = frame.watched.model
        return replace(
            frame,
            agents=records_of(model, self._app.describe),
            reports=tuple(getattr(model, "parallel_reports", ())),
            result=model.result() if frame.steps and hasattr(model, "result") else "",
            pictures=self._draw(model, self.chosen),
        )

    def _tell(self) -> None:
        if self._closed:
            return
        try:
            self.on_change()
        except Exception:
            # An error of the page, not of the model: the session must not stay busy because of it.
            _log.exception("The page could not be changed.")


def _logged(error: Exception, what: str) -> str:
    """An error in one line for the page; logs it with its traceback."""
    text = in_one_line(error)
    _log.error("%s: %s", what, text, exc_info=error)
    return text
