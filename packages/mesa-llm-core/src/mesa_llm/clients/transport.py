"""Which transport a request takes: over HTTP directly, or through litellm."""

from __future__ import annotations

from typing import Literal, get_args

from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.direct_client import DirectClient
from mesa_llm.clients.litellm_client import LiteLLMClient
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.clients.providers import is_openai_compatible
from mesa_llm.errors import ConfigurationError

type Transport = Literal["auto", "direct", "litellm"]
"""How a model is asked: directly over HTTP, through litellm, or directly where that is possible."""


def check_transport(transport: Transport) -> Transport:
    """Return `transport`, or raise a `ConfigurationError` if it is not one."""
    if transport not in get_args(Transport.__value__):
        raise ConfigurationError(f"transport must be 'auto', 'direct' or 'litellm', got {transport!r}.")
    return transport


class TransportClient(AsyncClient):
    """Asks each model by the transport that fits it.

    `direct` is for servers that speak OpenAI's API (see `DirectClient`), `litellm` for any provider; `auto` goes
    directly where an `api_base` is given and the provider's name stands for such a server.

    Raises:
        ConfigurationError: if a value cannot work.
    """

    def __init__(
        self,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        transport: Transport = "auto",
        timeout: float = 60.0,
    ) -> None:
        self.api_base = api_base
        self.transport = check_transport(transport)
        self._direct = DirectClient(api_base=api_base, api_key=api_key, timeout=timeout)
        self._litellm = LiteLLMClient(api_base=api_base, api_key=api_key, timeout=timeout)

    def transport_for(self, llm_model: str) -> AsyncClient:
        """The client that asks a model."""
        if self.transport == "auto":
            goes_directly = self.api_base is not None and is_openai_compatible(llm_model.partition("/")[0])
        else:
            goes_directly = self.transport == "direct"
        return self._direct if goes_directly else self._litellm

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Have the transport answer. Runs on the transport loop."""
        return await self.transport_for(request.model).complete(request)
