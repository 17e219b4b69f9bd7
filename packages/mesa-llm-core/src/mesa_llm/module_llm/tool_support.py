"""Which models can call tools."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from pathlib import Path

from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
)

_PRICE_LIST = "model_prices_and_context_window_backup.json"
_ABOUT_TOOLS = re.compile(r"\btools?\b|tool_choice|tool[ -]?(use|call)|function[ -]?call", re.IGNORECASE)
# 500: llama.cpp without its --jinja. None: refused by litellm, which knows the provider, before anything was sent.
_REFUSALS = {None, 400, 404, 422, 500, 501}
_NO_REFUSALS = (EndpointUnreachableError, MissingAPIKeyError, ModelTimeoutError, RateLimitedError)


def calls_no_tools(model: str) -> bool:
    """Whether a model is known to be without tool calling, by the list that litellm brings along.

    Args:
        model: `provider/model`. Of one that the list does not have, nothing is known.
    """
    return model in _models_without_tools()


def refuses_tools(error: ModelCallError) -> bool:
    """Whether a call failed because the server, or the model, takes no tools."""
    return (
        error.status in _REFUSALS
        and not isinstance(error, _NO_REFUSALS)
        and _ABOUT_TOOLS.search(str(error)) is not None
    )


@functools.cache
def _models_without_tools() -> frozenset[str]:
    # The file, not the package: importing litellm takes seconds.
    package = importlib.util.find_spec("litellm")
    if package is None or package.origin is None:
        return frozenset()
    price_list = Path(package.origin).with_name(_PRICE_LIST)
    if not price_list.is_file():
        return frozenset()
    models = json.loads(price_list.read_bytes())
    without = {name: entry for name, entry in models.items() if entry.get("supports_function_calling") is False}
    return frozenset(without) | {f"{entry.get('litellm_provider')}/{name}" for name, entry in without.items()}
