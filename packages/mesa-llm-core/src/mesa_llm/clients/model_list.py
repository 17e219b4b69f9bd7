"""What litellm's list of models says: prices, and which models can call tools."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from mesa_llm.clients.messages import LLMRequest, Usage

_FILE = "model_prices_and_context_window_backup.json"


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


def price_of(request: LLMRequest, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The price of a request that takes so many tokens, in US dollars, at the list price of its model's provider.

    For the argument `price` of `mesa_llm.limits.BudgetClient`, which estimates by it before a call. It goes by the
    model's name alone, so it is meant for models at their provider's own address. All tokens have the same price:
    discounts (for cached prompts, or in batches) and extra charges (for very long prompts, or for searches) are left
    out. The list is as old as the litellm that is installed; without litellm there are no prices.

    Args:
        request: the request.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.

    Returns:
        The price; `None` if the list does not have it, or there are no tokens. A price of zero counts as unknown: the
        list uses it for free models, for self-hosted servers, and for prices that are missing.
    """
    return cost_of(request.model, Usage(prompt_tokens, completion_tokens))


def cost_of(llm_model: str, usage: Usage) -> float | None:
    """The price of a call in US dollars, as `price_of` gives it."""
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
        entries = from_json(Path(package.origin).with_name(_FILE).read_bytes())
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
