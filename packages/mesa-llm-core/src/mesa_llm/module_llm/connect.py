"""Puts a transport, limits, retries and a budget together, in the order that works."""

from __future__ import annotations

from typing import Literal, get_args

from mesa_llm.clients import AsyncClient, DirectClient, LiteLLMClient, LLMClient, LLMRequest, LLMResponse, price_of
from mesa_llm.clients.providers import is_openai_compatible
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.checks import check_word
from mesa_llm.limits import AdaptiveConcurrency, Budget, BudgetClient, LimitedClient, RetryingClient, SingleFlightClient

type Transport = Literal["auto", "direct", "litellm"]
"""How a model is asked: directly over HTTP, through litellm, or directly where that is possible."""


def check_transport(transport: Transport) -> Transport:
    """The transport; raises a `ConfigurationError` if it is not one."""
    return check_word("transport", transport, get_args(Transport.__value__))


class TransportClient(AsyncClient):
    """Asks each model by the transport that fits it, see `connect`."""

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


UNTIL_REFUSED = AdaptiveConcurrency(start=1000, ceiling=1000)
"""Practically unlimited until the endpoint answers 429; from then on, as many calls at once as it takes."""


def connect(
    *,
    api_base: str | None = None,
    api_key: str | None = None,
    transport: Transport | LLMClient = "auto",
    timeout: float = 60.0,
    max_concurrency: int | Literal["adaptive"] | AdaptiveConcurrency | None = UNTIL_REFUSED,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    max_attempts: int = 6,
    max_elapsed: float = 120.0,
    budget: Budget | None = None,
    single_flight: bool = False,
) -> LLMClient:
    """A client for one endpoint, with limits, retries and a budget. Give it to all agents that share these limits.

    Agents that are given no client share one with these defaults, for each `api_base`, `api_key` and `transport`.

    ```python
    from mesa_llm.module_llm import ModuleLLM, connect
    from mesa_llm.testing import FakeOpenAIServer

    with FakeOpenAIServer("Rest.") as server:
        client = connect(api_base=server.url, api_key="none", max_concurrency=50, max_attempts=3)
        print(ModuleLLM("openai/fake-model", client=client).generate("What now?").message.content)
        #> Rest.
    ```

    Args:
        api_base: the base URL of the server; `None` for the provider's own.
        api_key: the key; `None` for the provider's environment variable.
        transport: `direct` over HTTP, `litellm`, or `auto`: directly where an `api_base` is given and the provider
            is known to speak OpenAI's API, otherwise through litellm. Or a client of your own, which has its own
            address, key and timeout.
        timeout: seconds after which one attempt fails; through litellm, seconds without a sign of the server.
        max_concurrency: how many calls may be in flight at once: a number; `adaptive`, beginning with 20; settings of
            your own; `None` for no limit. By default calls are unlimited until the endpoint refuses one (429); from
            then on, as many as it takes.
        requests_per_minute: how many requests may be sent in a minute.
        tokens_per_minute: how many tokens they may take in a minute, estimated before a request is sent.
        max_attempts: how often a request is sent at most; 1 for no retries.
        max_elapsed: seconds after which it is not sent again.
        budget: what all calls may take, see `Budget`.
        single_flight: whether identical deterministic requests that are in flight at the same time share one call.

    Raises:
        ConfigurationError: if a value cannot work.
    """
    client: LLMClient
    if not isinstance(transport, LLMClient):
        client = TransportClient(api_base=api_base, api_key=api_key, transport=transport, timeout=timeout)
    elif api_base is None and api_key is None:
        client = transport
    else:
        raise ConfigurationError(
            f"api_base and api_key are not for a transport of your own, {type(transport).__name__}: give them to that."
        )
    limits = (max_concurrency, requests_per_minute, tokens_per_minute)
    if any(limit is not None for limit in limits):
        client = LimitedClient(
            client,
            max_concurrency=max_concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
    if max_attempts != 1:
        client = RetryingClient(client, max_attempts=max_attempts, max_elapsed=max_elapsed)
    if budget is not None:
        client = BudgetClient(client, budget, price=price_of)
    return SingleFlightClient(client) if single_flight else client


_shared: dict[tuple[str | None, str | None, Transport], LLMClient] = {}


def shared_client(api_base: str | None = None, api_key: str | None = None, transport: Transport = "auto") -> LLMClient:
    """The one client for an address, a key and a transport, made when it is first asked for. Safe from any thread."""
    key = api_base, api_key, check_transport(transport)
    client = _shared.get(key)
    if client is None:
        # Atomic: of two threads that come at once, both get the same.
        client = _shared.setdefault(key, connect(api_base=api_base, api_key=api_key, transport=transport))
    return client
