"""How an example is run: in which mode, with which connection to a language model, with which journal."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import masked_address
from mesa_llm_examples.words import RULE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from mesa_llm.clients import Answer, LLMClient, LLMRequest


class Mode(StrEnum):
    """How the agents of a step decide."""

    ASYNCIO = "asyncio"
    THREADING = "threading"
    OFF = "off"


@contextmanager
def stepping(mode: Mode, max_workers: int | None = None) -> Iterator[None]:
    """Let models that want to step in parallel do so within the `with` block. Imports Mesa.

    Args:
        mode: how; with `off`, nothing is done.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
    """
    from mesa_llm.parallel_stepping import (  # noqa: PLC0415 - imports Mesa
        disable_automatic_parallel_stepping,
        enable_automatic_parallel_stepping,
    )

    if mode is Mode.OFF:
        yield
        return
    enable_automatic_parallel_stepping("threading" if mode is Mode.THREADING else "asyncio", max_workers=max_workers)
    try:
        yield
    finally:
        disable_automatic_parallel_stepping()


ATTEMPTS = 6
LATENCY = 0.05
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConnection:
    """The connection to a language model; without one, a rule decides.

    What is `None` is as usual: see the constants above.

    Attributes:
        llm_model: the language model, as `provider/model`; `None` for the example's rule.
        api_base: the base URL of the model's server; `None` for the provider's own.
        timeout: seconds to wait for an answer of the model.
        max_attempts: how often a request is sent at most.
        latency: seconds until the rule answers.

    Raises:
        ConfigurationError: if one is given that has no meaning beside the others.
    """

    llm_model: str | None = None
    api_base: str | None = field(default=None, repr=False)
    timeout: float | None = None
    max_attempts: int | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.llm_model is not None:
            if self.latency is not None:
                raise ConfigurationError("--latency is for runs without --model: a model takes the time it takes.")
            return
        if self.api_base is not None:
            raise ConfigurationError("--api-base needs --model, for example --model openai/NAME.")
        if self.max_attempts is not None:
            raise ConfigurationError("--max-attempts needs --model: without it nothing is sent.")
        if self.timeout is not None:
            raise ConfigurationError("--timeout needs --model: without it nobody is waited for.")

    def client(self, policy: Callable[[LLMRequest], Answer]) -> LLMClient:
        """The client of the agents. Imports Mesa.

        Args:
            policy: decides if no model is to be asked.
        """
        from mesa_llm.clients import RuleBasedClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.module_llm import connect  # noqa: PLC0415

        if self.llm_model is None:
            return RuleBasedClient(policy, latency=self.simulated_latency_s or 0.0)
        return connect(
            api_base=self.api_base,
            timeout=TIMEOUT if self.timeout is None else self.timeout,
            max_attempts=ATTEMPTS if self.max_attempts is None else self.max_attempts,
        )

    def prepare(self) -> None:
        """Import what the first call would wait for, so that the time of the first run does not have it."""
        from mesa_llm.clients import LiteLLMClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.clients.litellm_module import load_litellm  # noqa: PLC0415
        from mesa_llm.clients.masking import Secrets  # noqa: PLC0415
        from mesa_llm.clients.transport import TransportClient  # noqa: PLC0415
        from mesa_llm.concurrency import transport_loop  # noqa: PLC0415

        if self.llm_model is None:
            return
        if isinstance(TransportClient(api_base=self.api_base).transport_for(self.llm_model), LiteLLMClient):
            transport_loop.submit(load_litellm(Secrets())).result()

    @property
    def simulated_latency_s(self) -> float | None:
        """Seconds that each answer of the rule is said to take; `None` if a model is asked, whose time is its own."""
        if self.llm_model is not None:
            return None
        return LATENCY if self.latency is None else self.latency

    @property
    def simulated(self) -> str:
        """What is said beside the times of simulated answers; empty if a model is asked."""
        seconds = self.simulated_latency_s
        return "" if seconds is None else f"simulated, {seconds:g} s each"

    @property
    def answers(self) -> str:
        """Whose answers they are: those of a model, or simulated ones."""
        seconds = self.simulated_latency_s
        return f"answers of {self.decides}" if seconds is None else f"simulated answers, {seconds:g} s each"

    @property
    def decides(self) -> str:
        """Who decides, in few words; the address without password and keys."""
        if self.llm_model is None:
            return RULE
        return f"{self.llm_model} at {masked_address(self.api_base)}" if self.api_base else self.llm_model

    def __str__(self) -> str:
        """Who decides, in one or two sentences."""
        if self.llm_model is None:
            return f"Decisions: {self.decides}, no model is asked. Its answers are {self.simulated}."
        return f"Decisions: {self.decides}."


# What may differ between the runs: none of it shows in the results.
_FREE = frozenset({"steps", "mode"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSetting:
    """What a run has to do with a journal.

    Attributes:
        path: the journal.
        mode: whether the run is recorded, replayed or resumed.
        run: the name of the run; `None` for a new number, or the newest run.
    """

    path: Path
    mode: Literal["record", "replay", "resume"]
    run: str | None


def journal_setting(path: Path | None, *, replay: bool, resume: bool, run: str | None) -> JournalSetting | None:
    """What the options say; `None` without a journal.

    Raises:
        ConfigurationError: if they contradict each other.
    """
    if replay and resume:
        raise ConfigurationError(
            "--replay and --resume cannot go together: the one asks nobody, the other goes on asking."
        )
    if path is None:
        for name, given in (("--replay", replay), ("--resume", resume), ("--run", run is not None)):
            if given:
                raise ConfigurationError(f"{name} needs --journal, for example --journal run.db.")
        return None
    return JournalSetting(path=path, mode="replay" if replay else "resume" if resume else "record", run=run)


def as_recorded(
    journal: JournalSetting, example: str, options: Mapping[str, Any], given: Collection[str]
) -> dict[str, Any]:
    """The options of a recorded run, so that the same model is made again.

    Args:
        journal: the journal, and which run.
        example: the example that is to run.
        options: the options of the command line, by name.
        given: those that were really given. The others are taken from the recorded run.

    Raises:
        ConfigurationError: if one that was given differs from what was recorded, and that would show in the results.
        JournalError: if there is no such run, or it is damaged.
    """
    from mesa_llm.journal import Journal  # noqa: PLC0415 - only who has a journal waits for the import

    run = Journal(journal.path).run(journal.run)
    where = f"Run {run.name!r} of {journal.path}"
    recorded: Any = run.metadata.get("options")
    if run.metadata.get("example") != example or not isinstance(recorded, dict):
        raise ConfigurationError(f"{where} was not recorded by {example!r} on the command line.")
    different = [name for name in given if name in recorded and _differs(name, recorded[name], options[name])]
    if different:
        was, would_be = (
            " and ".join(_as_option(name, values[name]) for name in different) for values in (recorded, options)
        )
        raise ConfigurationError(
            f"{where} was recorded {was}, not {would_be}. Leave out what is to be as it was recorded."
        )
    return dict(options) | {name: value for name, value in recorded.items() if name in options and name not in given}


def _differs(name: str, recorded: Any, given: Any) -> bool:
    if name == "mode":  # agents that decide one after the other have another order
        return bool((recorded == "off") != (given == "off"))
    return name not in _FREE and bool(recorded != given)


def _as_option(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    return f"without {option}" if value is None else f"with {option} {value}"
