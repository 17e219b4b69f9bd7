"""Which models can call tools."""

from __future__ import annotations

import re

from mesa_llm.clients.model_list import listed_model
from mesa_llm.errors import (
    EndpointUnreachableError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
)

_ABOUT_TOOLS = re.compile(r"\btools?\b|tool_choice|tool[ -]?(use|call)|function[ -]?call", re.IGNORECASE)
# 500: llama.cpp without its --jinja. None: refused by litellm, which knows the provider, before anything was sent.
_REFUSALS = {None, 400, 404, 422, 500, 501}
_NO_REFUSALS = (EndpointUnreachableError, MissingAPIKeyError, ModelTimeoutError, RateLimitedError)


def calls_no_tools(model: str) -> bool:
    """Whether a model is known to be without tool calling, by the list that litellm brings along.

    Args:
        model: `provider/model`. Of one that the list does not have, nothing is known.
    """
    listed = listed_model(model)
    return listed is not None and listed.calls_tools is False


def refuses_tools(error: ModelCallError) -> bool:
    """Whether a call failed because the server, or the model, takes no tools."""
    return (
        error.status in _REFUSALS
        and not isinstance(error, _NO_REFUSALS)
        and _ABOUT_TOOLS.search(str(error)) is not None
    )
