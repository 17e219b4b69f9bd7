"""A client for any server that speaks OpenAI's chat completions API, over aiohttp.

All direct clients of the process share one session of aiohttp, and so its connections. It belongs to the transport
loop, is opened by the first call and closed when the interpreter exits. A forked child opens its own.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import ctypes
import importlib
import ipaddress
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from mesa_llm.clients.chat_completion import read_completion, read_json, write_request
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.failures import FailedCall
from mesa_llm.clients.masking import Secrets
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.clients.optional_fields import OptionalFields
from mesa_llm.clients.providers import DirectSettings, direct_settings, http_parts, price_of
from mesa_llm.concurrency import in_forked_child, transport_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.checks import check_number

if TYPE_CHECKING:
    import aiohttp
    import multidict
    import yarl

type Verify = bool | str | os.PathLike[str] | ssl.SSLContext

_MOST_OF_AN_ERROR = 64 * 1024  # bytes that are read of an answer that is an error
_KEEP_ALIVE = 30.0  # seconds that an idle connection is kept

_opening: asyncio.Task[aiohttp.ClientSession] | None = None  # touched on the transport loop only, so it needs no lock


@dataclass(frozen=True, slots=True, repr=False)
class _Route:
    """What all requests to one address have in common."""

    url: yarl.URL
    headers: multidict.CIMultiDict[str]
    proxy: str | None
    timeout: aiohttp.ClientTimeout


class DirectClient(AsyncClient):
    """Asks any server that speaks OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, LM Studio, OpenAI, OpenRouter.

    Connections are kept and shared by all direct clients of the process, as many as calls are in flight. Nothing is
    retried here: a failure is an error at once. Only a field that the request can do without, and that the server
    refuses, is left out, and the request sent once more. An option `extra_body` of a request, a mapping, goes into its
    JSON beside the other options. It pickles and copies, with a key that was passed in; an `ssl.SSLContext` can only be
    shared with copies, not pickled.

    The price of an answer (`LLMResponse.cost`) is what the server says, as OpenRouter does; else, at a provider's own
    address, its list price (see `price_of`). A server of your own has none.

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
        check_number("timeout", timeout, unit="seconds")
        check_number("connect_timeout", connect_timeout, unit="seconds")
        check_number("max_response_bytes", max_response_bytes)
        self.api_base = api_base
        self.api_key = api_key
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.headers = dict(headers or {})
        self.verify = verify
        self.proxy = None if proxy is None else _checked_proxy(proxy)
        self.trust_env = trust_env
        self.max_response_bytes = max_response_bytes
        _tls(verify)  # fails now if it cannot be loaded
        self._secrets = Secrets(keys=[api_key], addresses=[api_base, proxy], headers=self.headers)
        self._routes: dict[DirectSettings, _Route] = {}
        self._fields = OptionalFields()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop; cancelling it drops the connection.

        Raises:
            ModelCallError: or one of its children, see `mesa_llm.errors`.
            ConfigurationError: if the address, the key or the request's options cannot be used.
        """
        return await self._fields.ask(request, self._ask)

    async def _ask(self, request: LLMRequest) -> LLMResponse:
        settings = direct_settings(request.model, self.api_base, self.api_key)
        try:
            answer, body, latency_s = await self._post(settings, write_request(request, settings.model))
        except ConfigurationError:
            raise
        except Exception as error:
            failure = self._call(request, settings).interrupted(error, self.timeout)
        else:
            return self._read(answer, body, request, settings, latency_s)
        # Raised here and not above: aiohttp's error would be its context, and may show a key.
        raise failure

    async def _post(self, settings: DirectSettings, body: bytes) -> tuple[aiohttp.ClientResponse, bytes, float]:
        """The answer, its body up to one byte too many, and the seconds from writing the request to having read it."""
        session = await shared_session()
        route = self._routes.get(settings) or self._open_route(settings)
        answer: Any = await session.post(
            route.url,
            data=body,
            headers=route.headers,
            proxy=route.proxy,
            timeout=route.timeout,
            ssl=_tls(self.verify),
            allow_redirects=False,
        )
        most = self.max_response_bytes if _succeeded(answer) else min(self.max_response_bytes, _MOST_OF_AN_ERROR)
        read = bytearray()
        try:
            while len(read) <= most and (more := await answer.content.readany()):
                read += more
        finally:
            if not answer.content.is_eof():  # at its end, the connection was given back
                answer.release()  # closes the connection: the rest is still to come
        return answer, bytes(read[: most + 1]), time.perf_counter() - answer.sent

    def _open_route(self, settings: DirectSettings) -> _Route:
        import aiohttp  # noqa: PLC0415 - slow to import; here it has been
        import multidict  # noqa: PLC0415
        import yarl  # noqa: PLC0415

        headers = multidict.CIMultiDict({"Content-Type": "application/json", "Accept": "application/json"})
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        headers.update(self.headers)
        proxy = self.proxy or (_environment_proxy(settings.url) if self.trust_env else None)
        timeout = aiohttp.ClientTimeout(total=self.timeout, connect=min(self.connect_timeout, self.timeout))
        self._routes[settings] = route = _Route(yarl.URL(settings.url), headers, proxy, timeout)
        return route

    def _read(
        self, answer: aiohttp.ClientResponse, body: bytes, request: LLMRequest, settings: DirectSettings, seconds: float
    ) -> LLMResponse:
        if _succeeded(answer) and len(body) > self.max_response_bytes:
            text = f"sent an answer of more than {self.max_response_bytes:,} bytes. max_response_bytes can be raised"
            raise self._call(request, settings).unusable(text)
        completion = read_json(body)
        response = read_completion(completion, settings.model, latency_s=seconds) if _succeeded(answer) else None
        if response is None:
            missing_keys = () if settings.api_key else settings.key_variables
            call, headers = self._call(request, settings), answer.headers
            raise call.refused(answer.status, answer.reason, headers, body, completion, missing_keys)
        if response.cost is not None or not settings.is_at_provider:
            return response
        return replace(response, cost=price_of(request.model, response.usage))

    def _call(self, request: LLMRequest, settings: DirectSettings) -> FailedCall:
        return FailedCall(
            model=request.model,
            endpoint=settings.api_base,
            secrets=self._secrets | Secrets(keys=[settings.api_key], addresses=[settings.api_base]),
            has_api_base=settings.is_own_server,
        )

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_routes": {}}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # nothing in it ever changes


def _succeeded(answer: aiohttp.ClientResponse) -> bool:
    """Whether the status means success: some gateways answer 201 or 202 with a whole completion."""
    return 200 <= answer.status < 300


def _tls(verify: Verify) -> bool | ssl.SSLContext:
    return verify if isinstance(verify, bool | ssl.SSLContext) else _tls_context(os.fspath(verify))


@lru_cache
def _tls_context(path: str) -> ssl.SSLContext:
    """One context for a path: aiohttp shares connections only among requests with the same context."""
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"verify={path!r} holds no certificates that can be read: {error}.") from error


def _environment_proxy(url: str) -> str | None:
    """The proxy that the environment gives for a URL; on macOS and Windows also the system's settings.

    aiohttp's `trust_env` would not do: it ignores `ALL_PROXY`, proxies of https and ports in `NO_PROXY`, sends requests
    to the loopback through a proxy, and sends passwords from ~/.netrc.
    """
    import urllib.request  # noqa: PLC0415 - slow to import

    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):  # most are names
        host = "localhost" if ipaddress.ip_address(host).is_loopback else host
    if host == "localhost" or host.endswith(".localhost"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return None
    return _checked_proxy(proxy if "://" in proxy else f"http://{proxy}")


def _checked_proxy(proxy: str) -> str:
    advice = " For SOCKS, put a bridge such as privoxy before it, or add the address to NO_PROXY."
    http_parts(proxy, "A proxy must be an http or https URL, e.g. 'http://proxy.example:3128'", advice)
    return proxy


async def shared_session() -> aiohttp.ClientSession:
    """The session of all direct clients, opened by the first call. Runs on the transport loop without blocking it."""
    global _opening  # noqa: PLW0603 - one session for the process is the point
    if _opening is None or (_opening.done() and (_opening.cancelled() or _opening.exception() is not None)):
        _opening = asyncio.create_task(_open())
    # Shielded: a call that is cancelled must not cancel the opening for the others.
    return _opening.result() if _opening.done() else await asyncio.shield(_opening)


async def _open() -> aiohttp.ClientSession:
    # In a thread: it takes some tenths of a second the first time.
    http: Any = await asyncio.to_thread(importlib.import_module, "aiohttp")

    class TimedRequest(http.ClientRequest):
        """Notes in its response when it was written. A `TraceConfig` would make a call a sixth slower."""

        async def send(self, conn: Any) -> Any:
            sent = time.perf_counter()
            response = await super().send(conn)
            response.sent = sent
            return response

    atexit.register(_close_at_exit)
    # Other layers limit how many calls run at once, so there is no limit on connections here.
    session: aiohttp.ClientSession = http.ClientSession(
        connector=http.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
        cookie_jar=http.DummyCookieJar(),
        request_class=TimedRequest,
        max_line_size=_MOST_OF_AN_ERROR,
        max_field_size=_MOST_OF_AN_ERROR,  # gateways send headers that are longer than aiohttp's 8 KB
    )
    return session


def _close_at_exit() -> None:
    if _opening is not None:
        with suppress(Exception):
            transport_loop.get().submit(_close(_opening)).result(timeout=2.0)


async def _close(opening: asyncio.Task[aiohttp.ClientSession]) -> None:
    global _opening  # noqa: PLW0603
    _opening = None
    await (await opening).close()


@in_forked_child
def _forget_after_fork() -> None:
    global _opening  # noqa: PLW0603
    if _opening is not None:
        # Never freed here: that would close connections that the parent still uses, down to the goodbye of TLS.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_opening))
    _opening = None
