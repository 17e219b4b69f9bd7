"""A model that is made as chosen on the page, with its calls counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from mesa_llm.clients import MeteredClient, RuleBasedClient
from mesa_llm.clients.providers import endpoint_of, is_openai_compatible
from mesa_llm.errors import ConfigurationError
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm_examples.apps.starting import API_BASE, at_start

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
