"""Any server that speaks OpenAI's chat completions API, asked without a library in between."""

from __future__ import annotations

import copy
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from mesa_llm.clients import direct_errors
from mesa_llm.clients.chat_completion import NoCompletionError, read_completion, read_json, told_error, write_request
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.failures import FailedCall
from mesa_llm.clients.http_post import HTTPAnswer, post
from mesa_llm.clients.http_session import shared_session
from mesa_llm.clients.masking import Secrets
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.clients.prices import cost_of
from mesa_llm.clients.providers import DirectSettings, direct_settings
from mesa_llm.clients.proxies import checked_proxy, proxy_from_environment
from mesa_llm.errors import ConfigurationError, ModelCallError

if TYPE_CHECKING:
    import aiohttp
    import multidict
    import yarl

type Verify = bool | str | os.PathLike[str] | ssl.SSLContext


@dataclass(frozen=True, slots=True)
class _Route:
    """What is the same in all requests to one address."""

    url: yarl.URL = field(repr=False)
    headers: multidict.CIMultiDict[str] = field(repr=False)
    proxy: str | None = field(repr=False)


class DirectClient(AsyncClient):
    """Asks any server that speaks OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, LM Studio, OpenAI, OpenRouter.

    Connections are kept and shared by all direct clients of the process, as many as calls are in flight. Nothing is
    retried here: a failure is an error at once. An option `extra_body` of a request, a mapping, goes into its JSON
    beside the other options. It pickles and copies, a key that was passed in included; an `ssl.SSLContext` can only be
    shared with copies, not pickled.

    The price of an answer (`LLMResponse.cost`) is what the server says, as OpenRouter does; else, at a provider's own
    address, its list price (see `cost_of`). A server of your own has none.

    Args:
        api_base: the base URL of the server, e.g. `http://localhost:8000/v1`; `None` for the provider's own.
        api_key: the key; `None` leaves it to the provider's environment variable, e.g. `OPENAI_API_KEY`. A server of
            your own needs none.
        timeout: seconds that a call may take as a whole, from its start to the last byte of the answer.
        connect_timeout: seconds of these that it may take until there is a connection, with TLS.
        headers: HTTP headers to send as well; they replace those that the client would send.
        verify: how the server's TLS certificate is checked: `True` against the system's authorities (and those in the
            file that `SSL_CERT_FILE` names), a path against those in that file alone, an `ssl.SSLContext` as that
            says, `False` not at all.
        proxy: the URL of an HTTP proxy, used for every address.
        trust_env: whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count where no `proxy` is given. They
            are read once for each address, and never for one on this machine.
        max_response_bytes: how large the body of an answer may be. A larger one is an error and is not read.

    Raises:
        ConfigurationError: if one of these cannot work.
    """

    def __init__(
        self,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 15.0,
        headers: Mapping[str, str] | None = None,
        verify: Verify = True,
        proxy: str | None = None,
        trust_env: bool = True,
        max_response_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        for name, value in {"timeout": timeout, "connect_timeout": connect_timeout}.items():
            if not value > 0:
                raise ConfigurationError(f"{name} must be > 0 seconds, got {value!r}.")
        if not max_response_bytes > 0:
            raise ConfigurationError(f"max_response_bytes must be > 0, got {max_response_bytes!r}.")
        self.api_base = api_base
        self.api_key = api_key
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.headers = dict(headers or {})
        self.verify = verify
        self.proxy = None if proxy is None else checked_proxy(proxy)
        self.trust_env = trust_env
        self.max_response_bytes = max_response_bytes
        _tls(verify)  # fails now if it cannot be loaded
        self._secrets = Secrets(keys=[api_key], addresses=[api_base, proxy], headers=self.headers)
        self._routes: dict[DirectSettings, _Route] = {}
        self._timeouts: aiohttp.ClientTimeout | None = None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop; cancelling it drops the connection.

        Raises:
            ModelCallError: or one of its children, see `mesa_llm.errors`.
            ConfigurationError: if the address, the key or the request's options cannot be used.
        """
        settings = direct_settings(request.model, self.api_base, self.api_key)
        try:
            answer = await self._post(settings, write_request(request, settings.model))
        except ConfigurationError:
            raise
        except Exception as error:
            failure = direct_errors.not_answered(error, self._call(request, settings), self.timeout)
        else:
            outcome = self._read(answer, request, settings)
            if isinstance(outcome, LLMResponse):
                return outcome
            failure = outcome
        # Raised out here, so that aiohttp's error is not its context: it may show a key.
        raise failure

    async def _post(self, settings: DirectSettings, body: bytes) -> HTTPAnswer:
        session = await shared_session()
        route = self._routes.get(settings) or self._open_route(settings)
        return await post(
            session,
            route.url,
            self.max_response_bytes,
            data=body,
            headers=route.headers,
            proxy=route.proxy,
            ssl=_tls(self.verify),
            timeout=self._timeouts,
        )

    def _open_route(self, settings: DirectSettings) -> _Route:
        import aiohttp  # noqa: PLC0415 - slow to import; here it has been
        import multidict  # noqa: PLC0415
        import yarl  # noqa: PLC0415

        headers = multidict.CIMultiDict({"Content-Type": "application/json", "Accept": "application/json"})
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        headers.update(self.headers)
        proxy = self.proxy or (proxy_from_environment(settings.url) if self.trust_env else None)
        self._timeouts = aiohttp.ClientTimeout(total=self.timeout, connect=min(self.connect_timeout, self.timeout))
        self._routes[settings] = route = _Route(yarl.URL(settings.url), headers, proxy)
        return route

    def _read(self, answer: HTTPAnswer, request: LLMRequest, settings: DirectSettings) -> LLMResponse | ModelCallError:
        try:
            body = read_json(answer.body)
        except ValueError:
            body = None
        if answer.status != 200:
            missing_keys = () if settings.api_key else settings.key_variables
            return direct_errors.refused(answer, body, self._call(request, settings), missing_keys)
        if body is None:
            return direct_errors.not_json(answer, self._call(request, settings))
        if (told := told_error(body)) is not None:
            return direct_errors.told(told, self._call(request, settings))
        try:
            response = read_completion(body, settings.model)
        except NoCompletionError as error:
            return direct_errors.no_completion(error, answer, self._call(request, settings))
        cost = response.cost
        if cost is None and settings.is_at_provider:
            cost = cost_of(request.model, response.usage)
        return replace(response, cost=cost, latency_s=answer.seconds)

    def _call(self, request: LLMRequest, settings: DirectSettings) -> FailedCall:
        return FailedCall(
            model=request.model,
            endpoint=settings.api_base,
            secrets=self._secrets | Secrets(keys=[settings.api_key], addresses=[settings.api_base]),
            has_api_base=settings.is_own_server,
        )

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_routes": {}, "_timeouts": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # nothing in it ever changes


def _tls(verify: Verify) -> bool | ssl.SSLContext:
    return verify if isinstance(verify, bool | ssl.SSLContext) else _context(os.fspath(verify))


@lru_cache
def _context(path: str) -> ssl.SSLContext:
    """One context for a path, since connections are shared among those who check in the same way."""
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"verify={path!r} holds no certificates that can be read: {error}.") from error
