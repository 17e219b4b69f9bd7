"""A model that is made as chosen on the page, with its calls counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from mesa_llm.clients import MeteredClient, RuleBasedClient
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping

if TYPE_CHECKING:
    from mesa_llm.clients import LLMClient
    from mesa_llm_examples.apps.example import ExampleApp

MODES = ("asyncio", "threading", "off")
LATENCY = 0.2


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is chosen on the page.

    Attributes:
        parameters: the model's own, by name.
        seed: the same seed and the same answers give the same run.
        mode: how the agents of a step decide; `off` for one after the other.
        llm_model: the language model, as `provider/model`; empty for the example's rule.
        api_base: the base URL of the model's server; empty for the provider's own.
        latency: seconds until the rule answers.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42
    mode: str = "asyncio"
    llm_model: str = ""
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
    llm_model, api_base = choices.llm_model.strip() or None, choices.api_base.strip() or None
    if api_base is not None and llm_model is None:
        raise ConfigurationError("An address needs a model too, for example openai/NAME: the rule answers by itself.")
    inner: LLMClient = (
        RuleBasedClient(app.policy, latency=choices.latency) if llm_model is None else connect(api_base=api_base)
    )
    client = MeteredClient(inner)
    model = app.make_model(
        **choices.parameters,
        seed=choices.seed,
        llm_model=llm_model,
        client=client,
        parallel_stepping=_stepping(choices.mode),
    )
    enable_automatic_parallel_stepping()
    return Watched(model=model, client=client, choices=choices)


def _stepping(mode: str) -> ParallelStepping | bool:
    return mode != "off" and ParallelStepping(mode=cast(Literal["asyncio", "threading"], mode))
