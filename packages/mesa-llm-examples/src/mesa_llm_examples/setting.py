"""How an example is run: the options that `run` and `compare` share, and what they mean."""

from __future__ import annotations

import gc
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import masked_address
from mesa_llm_examples.words import RULE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mesa_llm.clients import Answer, LLMClient, LLMRequest
    from mesa_llm_examples.catalogue import Example


class Mode(StrEnum):
    """How the agents of a step decide."""

    ASYNCIO = "asyncio"
    THREADING = "threading"
    OFF = "off"


class Activation(StrEnum):
    """What the agents of a step decide on."""

    SIMULTANEOUS = "simultaneous"
    SEQUENTIAL = "sequential"
    EAGER = "eager"


@contextmanager
def stepping(
    mode: Mode, max_workers: int | None = None, activation: Activation = Activation.SIMULTANEOUS
) -> Iterator[None]:
    """Let models that want to step in parallel do so within the `with` block. Imports Mesa.

    Args:
        mode: how; `off` does nothing.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
        activation: what they decide on.
    """
    from mesa_llm.parallel_stepping import (  # noqa: PLC0415 - imports Mesa
        disable_automatic_parallel_stepping,
        enable_automatic_parallel_stepping,
    )

    if mode is Mode.OFF:
        yield
        return
    enable_automatic_parallel_stepping(
        "threading" if mode is Mode.THREADING else "asyncio", activation=activation.value, max_workers=max_workers
    )
    try:
        yield
    finally:
        disable_automatic_parallel_stepping()


ATTEMPTS = 6
LATENCY = 0.05
TIMEOUT = 60.0
LLM_PANEL = "LLM"

Steps = Annotated[int, typer.Option(min=1, help="How many steps.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Same seed, same run.", show_default="drawn")]
Activations = Annotated[
    Activation,
    typer.Option(
        help="What agents decide on: simultaneous: the same world for all. sequential: what those before them have "
        "done, as with --mode off, with the LLM asked ahead. eager: what others have done by then."
    ),
]
MaxWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="In mode threading: how many threads may run at once.", show_default="all"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConnection:
    """The connection to an LLM; without `model`, the example's rule decides.

    Each field is an option of the command line. `None` stands for the default that the help shows.

    Raises:
        ConfigurationError: if an option has no meaning beside the others.
    """

    model: Annotated[
        str | None,
        typer.Option(
            "--llm",
            "--model",
            metavar="PROVIDER/NAME",
            help="The LLM that decides, for example openai/gpt-4o-mini. Without it, a Python rule decides.",
            rich_help_panel=LLM_PANEL,
        ),
    ] = None
    api_base: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of the LLM's server, if it is your own.", rich_help_panel=LLM_PANEL),
    ] = field(default=None, repr=False)
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="With --llm: seconds to wait for an answer.",
            show_default=f"{TIMEOUT:g}",
            rich_help_panel=LLM_PANEL,
        ),
    ] = None
    max_attempts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --llm: maximum attempts per request.",
            show_default=str(ATTEMPTS),
            rich_help_panel=LLM_PANEL,
        ),
    ] = None
    latency: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Without --llm: seconds until the rule answers.",
            show_default=f"{LATENCY:g}",
            rich_help_panel=LLM_PANEL,
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.model is not None:
            if self.latency is not None:
                raise ConfigurationError("--latency is for runs without --llm: an LLM takes the time it takes.")
            return
        if self.api_base is not None:
            raise ConfigurationError("--api-base needs --llm, for example --llm openai/NAME.")
        if self.max_attempts is not None:
            raise ConfigurationError("--max-attempts needs --llm: without it nothing is sent.")
        if self.timeout is not None:
            raise ConfigurationError("--timeout needs --llm: the rule needs no timeout.")

    def client(self, policy: Callable[[LLMRequest], Answer]) -> LLMClient:
        """The client of the agents. Imports Mesa.

        Args:
            policy: the rule that decides if no LLM is called.
        """
        from mesa_llm.clients import RuleBasedClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.module_llm import connect  # noqa: PLC0415

        if self.model is None:
            return RuleBasedClient(policy, latency=self.simulated_latency_s or 0.0)
        return connect(
            api_base=self.api_base,
            timeout=TIMEOUT if self.timeout is None else self.timeout,
            max_attempts=ATTEMPTS if self.max_attempts is None else self.max_attempts,
        )

    def check(self) -> None:
        """Find out before the first step whether name, address or key cannot work, as far as this is known.

        It is known of providers that speak OpenAI's API; of others litellm knows it, at the first call. Imports Mesa.

        Raises:
            ConfigurationError: if the address is none.
            MissingAPIKeyError: if the provider needs a key, and the environment has none.
        """
        from mesa_llm.clients.providers import direct_settings, is_openai_compatible  # noqa: PLC0415 - imports Mesa

        if self.model is not None and is_openai_compatible(self.model.partition("/")[0]):
            direct_settings(self.model, self.api_base)

    def prepare(self) -> None:
        """Import what the first call would import, so that the first run does not pay for it."""
        from mesa_llm.clients import LiteLLMClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.clients.litellm_module import load_litellm  # noqa: PLC0415
        from mesa_llm.clients.masking import Secrets  # noqa: PLC0415
        from mesa_llm.concurrency import transport_loop  # noqa: PLC0415
        from mesa_llm.module_llm.connect import TransportClient  # noqa: PLC0415

        if self.model is None:
            return
        if isinstance(TransportClient(api_base=self.api_base).transport_for(self.model), LiteLLMClient):
            transport_loop.get().submit(load_litellm(Secrets())).result()

    @property
    def simulated_latency_s(self) -> float | None:
        """The seconds that each answer of the rule takes; `None` if a model is asked."""
        if self.model is not None:
            return None
        return LATENCY if self.latency is None else self.latency

    @property
    def simulated(self) -> str:
        """The remark beside the times of simulated answers; empty if a model is asked."""
        seconds = self.simulated_latency_s
        return "" if seconds is None else f"simulated, {seconds:g} s each"

    @property
    def answers(self) -> str:
        """What the answers are: those of a model, or simulated ones."""
        seconds = self.simulated_latency_s
        return f"answers of {self.decides}" if seconds is None else f"simulated answers, {seconds:g} s each"

    @property
    def decides(self) -> str:
        """What decides: the rule, or a model with its address, without password and keys."""
        if self.model is None:
            return RULE
        return f"{self.model} at {masked_address(self.api_base)}" if self.api_base else self.model

    def __str__(self) -> str:
        if self.model is None:
            return f"Decisions: a Python rule; no LLM is called. Its answers are {self.simulated}."
        return f"Decisions: {self.decides}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An example with its options, as the command line gives them.

    Attributes:
        example: the example.
        options: all options that show in the results, by name.
        connection: the connection to a language model.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
    """

    example: Example
    options: Mapping[str, Any]
    connection: ModelConnection
    max_workers: int | None

    @classmethod
    def of(
        cls, example: Example, context: typer.Context, options: Mapping[str, Any], modes: Collection[Mode]
    ) -> Setting:
        """The setting of a command.

        Args:
            example: the example.
            context: the values of all options.
            options: the values of those that show in the results. A `seed` that is `None` is drawn.
            modes: the modes in which the example is to run.

        Raises:
            ConfigurationError: if an option has no meaning beside the others.
        """
        max_workers: int | None = context.params["max_workers"]
        if options["activation"] != Activation.SIMULTANEOUS:
            _check_activation(options["activation"], modes)
        if max_workers is not None and Mode.THREADING not in modes:
            raise ConfigurationError("--max-workers needs --mode threading.")
        seed = random.randrange(2**32) if options["seed"] is None else options["seed"]
        connection = {option.name: context.params[option.name] for option in fields(ModelConnection)}
        return cls(
            example=example,
            options={**options, "seed": seed},
            connection=ModelConnection(**connection | {"model": options["model"]}),
            max_workers=max_workers,
        )

    @property
    def activation(self) -> Activation:
        """What the agents of a step decide on."""
        return Activation(self.options["activation"])

    @property
    def headline(self) -> str:
        """The example and its most important options, in words."""
        return self.example.headline_of(self.options)

    def load(self) -> Callable[[LLMRequest], Answer]:
        """Import Mesa and the example, which takes seconds, and return the rule that decides if no LLM is called."""
        policy = self.example.policy()
        # The imports leave half a million objects; looking through them again and again takes a third of a run's time.
        gc.freeze()
        return policy

    def model(self, client: LLMClient, mode: Mode) -> Any:
        """The Mesa model.

        Args:
            client: the client of its agents.
            mode: how they decide.

        Raises:
            ConfigurationError: if an option cannot work.
        """
        return self.example.model_class()(**self.arguments(client, mode))

    def arguments(self, client: LLMClient, mode: Mode) -> dict[str, Any]:
        """The arguments of the model's class, as for `model`."""
        names = [*(option.name for option in self.example.options), "seed"]
        return {
            **{name: self.options[name] for name in names},
            "llm_model": self.connection.model,
            "client": client,
            "parallel_stepping": mode is not Mode.OFF,
        }


def _check_activation(activation: str, modes: Collection[Mode]) -> None:
    if not set(modes) - {Mode.OFF}:
        raise ConfigurationError(
            f"--activation {activation} and --mode off cannot go together: with off, Mesa steps the agents."
        )
    if activation == Activation.SEQUENTIAL and Mode.THREADING in modes:
        raise ConfigurationError(
            "--activation sequential needs --mode asyncio: its agents step in one thread, one after the other."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSetting:
    """What a run does with a journal.

    Attributes:
        path: the journal.
        mode: whether the run is recorded, replayed or resumed.
        run: the name of the run; `None` for a new number, or the newest run.
    """

    path: Path
    mode: Literal["record", "replay", "resume"]
    run: str | None

    @classmethod
    def of(cls, path: Path | None, *, replay: bool, resume: bool, run: str | None) -> JournalSetting | None:
        """The setting that the options describe; `None` without a journal.

        Raises:
            ConfigurationError: if they contradict each other.
        """
        if replay and resume:
            raise ConfigurationError(
                "--replay and --resume cannot go together: --replay asks no model, --resume goes on asking it."
            )
        if path is None:
            for name, given in (("--replay", replay), ("--resume", resume), ("--run", run is not None)):
                if given:
                    raise ConfigurationError(f"{name} needs --record, for example --record run.sqlite.")
            return None
        return cls(path=path, mode="replay" if replay else "resume" if resume else "record", run=run)

    def as_recorded(self, example: str, options: Mapping[str, Any], given: Collection[str]) -> Mapping[str, Any]:
        """The options of the recorded run, so that the same model is made again; those of this run if it is new.

        Args:
            example: the name of the example.
            options: the options of this run, by name.
            given: the names of those that the command line has. The others are taken from the recorded run.

        Raises:
            ConfigurationError: if an option that was given differs from the recorded one, and that would show in the
                results.
            JournalError: if there is no such run, or it is damaged.
        """
        if self.mode == "record":
            return options
        from mesa_llm.journal import Journal  # noqa: PLC0415 - imports Mesa

        run = Journal(self.path).run(self.run)
        where = f"Run {run.name!r} of {self.path}"
        recorded: Any = run.metadata.get("options")
        if run.metadata.get("example") != example or not isinstance(recorded, dict):
            raise ConfigurationError(f"{where} was not recorded by {example!r} on the command line.")
        given = [*given, *_implied(given, options, recorded)]
        different = [name for name in given if name in recorded and _differs(name, recorded, options)]
        if different:
            was, would_be = (
                " and ".join(_as_option(name, values[name]) for name in different) for values in (recorded, options)
            )
            raise ConfigurationError(
                f"{where} was recorded {was}, not {would_be}. Leave out the options that are to stay as recorded."
            )
        return {**options, **{name: recorded[name] for name in options if name in recorded and name not in given}}


def _implied(given: Collection[str], options: Mapping[str, Any], recorded: Mapping[str, Any]) -> Iterator[str]:
    """Options that cannot stay as recorded because of others: an activation and mode `off` exclude each other."""
    if "activation" in given and recorded.get("mode") == Mode.OFF:
        yield "mode"
    if "mode" in given and options["mode"] == Mode.OFF:
        yield "activation"


def _differs(name: str, recorded: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether an option has another value, and one that would show in the results."""
    if name in ("mode", "activation") and _decides_on(recorded) == _decides_on(options):
        return False
    return name != "steps" and bool(recorded[name] != options[name])


def _decides_on(options: Mapping[str, Any]) -> str:
    """What agents decide on: one after the other is sequential, asked ahead or not."""
    return Activation.SEQUENTIAL if options["mode"] == Mode.OFF else options.get("activation", Activation.SIMULTANEOUS)


def _as_option(name: str, value: Any) -> str:
    option = "--llm" if name == "model" else f"--{name.replace('_', '-')}"
    return f"without {option}" if value is None else f"with {option} {value}"
