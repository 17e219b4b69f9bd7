"""The clients that are made when none is given: one for an address and key, for the whole process."""

from __future__ import annotations

from mesa_llm.clients.client import LLMClient
from mesa_llm.clients.litellm_client import LiteLLMClient

_clients: dict[tuple[str | None, str | None], LLMClient] = {}


def shared_client(api_base: str | None = None, api_key: str | None = None) -> LLMClient:
    """The one client for an address and a key, made when it is first asked for. Safe from any thread.

    Args:
        api_base: the base URL, `None` for the provider's own.
        api_key: the key, `None` for the provider's environment variable.
    """
    client = _clients.get((api_base, api_key))
    if client is None:
        # Atomic: of two threads that come at once, both get the same.
        client = _clients.setdefault((api_base, api_key), LiteLLMClient(api_base=api_base, api_key=api_key))
    return client
