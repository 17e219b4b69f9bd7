"""What is known of providers and models: addresses, variables that hold keys, prices, which models call tools.

The providers here speak OpenAI's chat completions API; prices and tool calling come from litellm's list of models.

The names are litellm's, so that the same `provider/model` works with either transport; `llama_cpp` and `sglang`, for
which litellm has no name, work with the direct one alone.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic_core import from_json

from mesa_llm.clients.failures import set_key
from mesa_llm.clients.messages import Usage
from mesa_llm.errors import ConfigurationError, MissingAPIKeyError, UnknownModelError
from mesa_llm.errors.shown_text import masked_address


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider, or a kind of server. The variables are those of the environment, the usual one first."""

    api_base: str | None
    """The base URL; for a self-hosted server the usual one, if there is one."""
    key_variables: tuple[str, ...]
    base_variables: tuple[str, ...] = ()
    needs_key: bool = True
    """Whether its own address needs a key. An address that is given may work without."""


def _server(api_base: str | None, *names: str) -> Provider:
    keys, bases = (tuple(f"{name}_API_{kind}" for name in names) for kind in ("KEY", "BASE"))
    return Provider(api_base, keys, bases, needs_key=False)


PROVIDERS = {
    "cerebras": Provider("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "deepinfra": Provider("https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY",)),
    "deepseek": Provider("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), ("DEEPSEEK_API_BASE",)),
    "fireworks_ai": Provider(
        "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"), ("FIREWORKS_API_BASE",)
    ),
    "groq": Provider("https://api.groq.com/openai/v1", ("GROQ_API_KEY",), ("GROQ_API_BASE",)),
    "hyperbolic": Provider("https://api.hyperbolic.xyz/v1", ("HYPERBOLIC_API_KEY",)),
    "mistral": Provider("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), ("MISTRAL_API_BASE",)),
    "moonshot": Provider("https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), ("MOONSHOT_API_BASE",)),
    "nebius": Provider("https://api.studio.nebius.ai/v1", ("NEBIUS_API_KEY",), ("NEBIUS_API_BASE",)),
    "novita": Provider("https://api.novita.ai/v3/openai", ("NOVITA_API_KEY",), ("NOVITA_API_BASE",)),
    "nvidia_nim": Provider("https://integrate.api.nvidia.com/v1", ("NVIDIA_NIM_API_KEY",), ("NVIDIA_NIM_API_BASE",)),
    "openai": Provider("https://api.openai.com/v1", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "openrouter": Provider("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), ("OPENROUTER_API_BASE",)),
    "perplexity": Provider("https://api.perplexity.ai", ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY")),
    "sambanova": Provider("https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",), ("SAMBANOVA_API_BASE",)),
    "together_ai": Provider(
        "https://api.together.ai/v1",
        ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
        ("TOGETHER_AI_API_BASE",),
    ),
    "xai": Provider("https://api.x.ai/v1", ("XAI_API_KEY",), ("XAI_API_BASE",)),
    # Self-hosted servers.
    "custom_openai": _server(None, "CUSTOM_OPENAI"),
    "hosted_vllm": _server("http://localhost:8000/v1", "HOSTED_VLLM"),
    "litellm_proxy": _server(None, "LITELLM_PROXY"),
    "llama_cpp": _server("http://localhost:8080/v1", "LLAMA_CPP"),
    "llamafile": _server("http://localhost:8080/v1", "LLAMAFILE"),
    "lm_studio": _server("http://localhost:1234/v1", "LM_STUDIO"),
    "ollama": _server("http://localhost:11434/v1", "OLLAMA"),
    "ollama_chat": _server("http://localhost:11434/v1", "OLLAMA"),
    "openai_like": _server(None, "OPENAI_LIKE"),
    "sglang": _server("http://localhost:30000/v1", "SGLANG"),
    "vllm": _server("http://localhost:8000/v1", "VLLM", "HOSTED_VLLM"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSettings:
    """Where and as whom the direct transport asks a model."""

    model: str
    """The model's name there, without the provider."""
    api_base: str = field(repr=False)
    api_key: str | None = field(repr=False)
    key_variables: tuple[str, ...]
    is_own_server: bool
    """Whether the user chose the address, and so may have it wrong."""
    is_at_provider: bool
    """Whether it is the provider's own address, where its prices hold."""

    @property
    def url(self) -> str:
        """The URL of requests. A query in the base URL stays at the end."""
        parts = urlsplit(self.api_base)
        return parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions").geturl()


def is_openai_compatible(provider: str) -> bool:
    """Whether the direct transport knows how to ask a provider, named as litellm names it: `hosted_vllm`, say."""
    return provider in PROVIDERS


def endpoint_of(llm_model: str, api_base: str | None = None) -> str | None:
    """The base URL at which a model is asked, given or not; `None` if only litellm knows it."""
    provider = PROVIDERS.get(llm_model.partition("/")[0])
    if api_base or provider is None:
        return api_base
    return _first_of(provider.base_variables) or provider.api_base


def direct_settings(llm_model: str, api_base: str | None = None, api_key: str | None = None) -> DirectSettings:
    """Where and as whom the direct transport asks a model.

    By default, address and key are those in the provider's usual variables, or else its own address. A provider's own
    address needs a key; a self-hosted server and an address that is given do not.
    """
    name, _, model = llm_model.partition("/")
    provider = PROVIDERS.get(name)
    if provider is None or not model:
        raise UnknownModelError(
            f"{llm_model}: {name!r} is not a provider that speaks OpenAI's API. Write 'provider/model' with one of "
            f"{', '.join(PROVIDERS)}; or ask it through litellm.",
            model=llm_model,
            endpoint=api_base,
        )
    given = api_base or _first_of(provider.base_variables)
    if (base := given or provider.api_base) is None:
        raise ConfigurationError(f"{llm_model} has no address of its own: give api_base.")
    base, parts = checked_base(base)
    if name in {"ollama", "ollama_chat"} and parts.path in {"", "/"}:
        base = f"{base}/v1"  # Ollama's address is often given without the /v1 of its second API
    has_password = "@" in parts.netloc  # goes where the key would go
    if has_password and api_key:
        raise ConfigurationError(
            "A password in api_base and an api_key cannot both be sent: there is one header for both."
        )
    key = None if has_password else api_key or _first_of(provider.key_variables)
    key = key and key.strip()  # of a newline at its end, from a file
    if key and not (key.isascii() and key.isprintable()):
        raise ConfigurationError("api_key must be printable ASCII: it goes into an HTTP header. It is not shown here.")
    is_own_server = given is not None or not provider.needs_key
    if key is None and not is_own_server:
        text = f"{llm_model} needs an API key, and none is set. {set_key(provider.key_variables)}"
        raise MissingAPIKeyError(text, model=llm_model)
    return DirectSettings(
        model=model,
        api_base=base,
        api_key=key,
        key_variables=provider.key_variables,
        is_own_server=is_own_server,
        is_at_provider=provider.needs_key and base == provider.api_base,
    )


@functools.lru_cache
def checked_base(api_base: str) -> tuple[str, SplitResult]:
    """A base URL as requests need it, without space around it and without the path of one request; and its parts."""
    given = api_base.strip()
    advice = " In a password, write / as %2F, ? as %3F, # as %23 and @ as %40." * ("@" in given)
    base = given.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return base, http_parts(given, "api_base must be an http or https URL, e.g. 'http://localhost:8000/v1'", advice)


def http_parts(address: str, requirement: str, advice: str = "") -> SplitResult:
    """The parts of an http or https URL; else a `ConfigurationError` with requirement and advice, and no password."""
    with suppress(ValueError):
        parts = urlsplit(address)
        _ = parts.port  # raises if it is not a number
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts
    raise ConfigurationError(f"{requirement}, got {masked_address(address)!r}.{advice}")


def _first_of(variables: tuple[str, ...]) -> str | None:
    return next((value for name in variables if (value := os.environ.get(name))), None)


_LIST = "model_prices_and_context_window_backup.json"  # beside litellm's code


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model's entry in the list: `None` where the list does not say. Prices are US dollars for a token."""

    provider: str
    prompt_price: float | None
    completion_price: float | None
    calls_tools: bool | None


def listed_model(llm_model: str) -> ListedModel | None:
    """Look a model up; `None` if the list does not have it, or there is no list.

    The list names most models `provider/model`, and some providers' without the provider. The full name counts first:
    `perplexity/sonar` is Perplexity's own, and `openrouter/openai/gpt-4o` is not `openai/gpt-4o`. A short name counts
    only for the provider that the list gives with it: `openai/gpt-4o`, but not `my-gateway/gpt-4o`, is `gpt-4o`.
    """
    models = _models()
    if llm_model in models:
        return models[llm_model]
    provider, _, name = llm_model.partition("/")
    listed = models.get(name)
    if listed is None:
        return None
    # litellm divides some providers: vertex_ai-language-models, bedrock_converse, cohere_chat.
    parts = (f"{provider}-", f"{provider}_")
    return listed if listed.provider == provider or listed.provider.startswith(parts) else None


def price_of(llm_model: str, usage: Usage) -> float | None:
    """The price of a call that takes so many tokens, in US dollars, at the list price of the model's provider.

    It goes by the model's name alone, so it is meant for models at their provider's own address. All tokens have the
    same price: discounts (for cached prompts, or in batches) and extra charges (for very long prompts, or for searches)
    are left out. The list is as old as the litellm that is installed; without litellm there are no prices.

    `None` if the list does not have it, or there are no tokens. A price of zero counts as unknown: the list uses it for
    free models, for self-hosted servers, and for prices that are missing.
    """
    listed = listed_model(llm_model)
    if listed is None or listed.prompt_price is None or listed.completion_price is None:
        return None
    return usage.prompt_tokens * listed.prompt_price + usage.completion_tokens * listed.completion_price or None


@functools.cache
def _models() -> Mapping[str, ListedModel]:
    """The list, read on first use; that takes about 20 ms."""
    # The file, not the package: importing litellm takes seconds.
    package = importlib.util.find_spec("litellm")
    if package is None or package.origin is None:
        return {}
    try:
        entries = from_json(Path(package.origin).with_name(_LIST).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: _read(entry) for name, entry in entries.items()} if isinstance(entries, dict) else {}


def _read(entry: Any) -> ListedModel:
    fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    calls_tools = fields.get("supports_function_calling")
    return ListedModel(
        provider=str(fields.get("litellm_provider")),
        prompt_price=_price(fields.get("input_cost_per_token")),
        completion_price=_price(fields.get("output_cost_per_token")),
        calls_tools=calls_tools if isinstance(calls_tools, bool) else None,
    )


def _price(value: Any) -> float | None:
    """A price. Zero has several meanings in the list: free, unknown, a self-hosted server."""
    return float(value) if isinstance(value, int | float) and value > 0 else None
