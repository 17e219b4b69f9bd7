"""A server that speaks the chat completions API over real HTTP, and the faults that it can show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse, Message, ResponseFormat, ToolCall, ToolChoice, ToolSpec
from mesa_llm.clients.chat_completion import Answer, to_message, to_response
from mesa_llm.clients.rule_based import Latency
from mesa_llm.concurrency.loop_thread import LoopThread
from mesa_llm.testing.scripted_llm import Script, ScriptReader

if TYPE_CHECKING:
    import ssl

    from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure in the place of an answer of `FakeOpenAIServer`: by default an HTTP error status.

    Attributes:
        status: the HTTP status.
        retry_after: seconds, sent as `Retry-After`.
        headers: other HTTP headers, such as the `Location` of a redirection, or a `Retry-After` that is a date.
        body: the body: a text becomes an error in OpenAI's form; a dict, or bytes that need not be JSON, are sent
            unchanged.
        interval: the seconds between the pieces of an endless body.
        kind: `status`, or one of the faults below.
    """

    status: int = 500
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | dict[str, Any] = "scripted fault"
    interval: float = 0.0
    kind: Literal["status", "reset", "hang", "half", "malformed", "endless", "wrong_content_type"] = "status"

    @classmethod
    def reset(cls) -> Self:
        """The connection is dropped without an answer."""
        return cls(kind="reset")

    @classmethod
    def hang(cls) -> Self:
        """A request that is never answered."""
        return cls(kind="hang")

    @classmethod
    def half(cls) -> Self:
        """Status 200 and half of a body: then the connection is dropped."""
        return cls(kind="half", status=200)

    @classmethod
    def endless(cls) -> Self:
        """Status 200 and a body that never ends, as fast as it is read."""
        return cls(kind="endless", status=200)

    @classmethod
    def slow_loris(cls, interval: float = 0.01) -> Self:
        """Status 200 and a body that never ends, one byte every `interval` seconds.

        Args:
            interval: seconds from one byte to the next.
        """
        return cls(kind="endless", status=200, interval=interval)

    @classmethod
    def malformed(cls) -> Self:
        """Status 200 and a body that breaks off in the middle of its JSON."""
        return cls(kind="malformed", status=200)

    @classmethod
    def wrong_content_type(cls) -> Self:
        """Status 200 and a page in HTML, as from a proxy's login."""
        return cls(kind="wrong_content_type", status=200)

    def error_body(self) -> bytes:
        """The body of an error status: bytes as they are, JSON of a dict, OpenAI's form of a text."""
        if isinstance(self.body, bytes):
            return self.body
        error = {"message": self.body, "type": "scripted_fault", "param": None, "code": None}
        return json.dumps(self.body if isinstance(self.body, dict) else {"error": error}).encode()


type ServerAnswer = Answer | dict[str, Any] | Fault


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request as the server saw it: its JSON, and its HTTP headers with names in lower case."""

    body: dict[str, Any]
    headers: dict[str, str]


class FakeOpenAIServer:
    """Serves `POST /v1/chat/completions` and `GET /v1/models` on the loopback, while its `with` block runs.

    Runs on a thread and an event loop of its own, so that a blocked test does not block it. Entered again, it serves
    at the same address, like a server that was down.

    Args:
        answer: the script: a function of the request's JSON, plain or async; a list of answers, given in order of
            arrival; or one answer for all requests. An answer is one as for `RuleBasedClient`, a dict (a message or a
            whole completion), or a `Fault`. Or a client, such as a `RuleBasedClient`, which is asked what the server is
            asked. If the script or the client raises, the server answers 500 with the error.
        latency: seconds until the answer, or a function that gives them for the request's JSON.
        hold_until: holds all answers until this many requests are being served at once; then the next batch.
        patience: seconds after which an incomplete batch is answered with a 500 that says so.
        models: the names that `GET /v1/models` lists.
        tls: a context with the server's certificate; makes it serve HTTPS.

    Attributes:
        requests: the requests for completions, in order of arrival, each with its JSON as `body` and its HTTP `headers`
            (names in lower case).
        connections_opened: how many connections were accepted.
        concurrency: requests being served now.
        peak_concurrency: the most requests that were being served at once.

    Raises:
        ConfigurationError: if `latency` is below zero or `hold_until` below one.
    """

    def __init__(
        self,
        answer: Script[dict[str, Any], ServerAnswer] | LLMClient = "ok",
        *,
        latency: Latency[dict[str, Any]] = 0.0,
        hold_until: int | None = None,
        patience: float = 10.0,
        models: tuple[str, ...] = ("fake-model",),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[ServedRequest] = []
        self.connections_opened = 0
        self.concurrency = 0
        self.peak_concurrency = 0
        self._script: ScriptReader[dict[str, Any], ServerAnswer] = ScriptReader(
            _asking(answer) if isinstance(answer, LLMClient) else answer, latency, hold_until, patience
        )
        self._models = models
        self._tls = tls
        self._port = 0
        self._thread: LoopThread | None = None

    @property
    def url(self) -> str:
        """The base URL, as for `api_base`."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread = LoopThread("fake-openai-server")
        self._thread.submit(self._start()).result()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._thread is not None
        self._thread.submit(self._stop()).result()
        self._thread.close()
        self._thread = None

    async def _start(self) -> None:
        # aiohttp is slow to import, and only a server that is started needs it.
        from aiohttp import web  # noqa: PLC0415

        self._http = web.Server(self._serve, access_log=None, handler_cancellation=True)
        self._listener = await asyncio.get_running_loop().create_server(
            self._connection_made, "127.0.0.1", self._port, ssl=self._tls
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._listener.close()
        transports = [connection.transport for connection in self._http.connections]
        self._http.pre_shutdown()  # ends idle connections
        await self._http.shutdown(timeout=0.01)  # cancels the rest; zero means no limit
        for transport in transports:
            if transport is not None:
                transport.abort()  # otherwise it waits until the client has read the rest of a large answer

    def _connection_made(self) -> asyncio.Protocol:
        self.connections_opened += 1
        return self._http()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        if (request.method, request.path) == ("POST", "/v1/chat/completions"):
            return await self._serve_completion(request)
        if (request.method, request.path) == ("GET", "/v1/models"):
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "nobody"} for name in self._models]
            return web.json_response({"object": "list", "data": listed})
        return await self._fail(
            request, Fault(status=404, body=f"Nothing is served at {request.method} {request.path}.")
        )

    async def _serve_completion(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        self.concurrency += 1
        self.peak_concurrency = max(self.peak_concurrency, self.concurrency)
        try:
            body = await request.json()
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.requests.append(ServedRequest(body, headers))
            number = self._script.take_place()
            answer = await self._answer(body, number)
            if isinstance(answer, Fault):
                return await self._fail(request, answer)
            return web.json_response(_completion_json(answer, body, number))
        finally:
            self.concurrency -= 1

    async def _answer(self, body: dict[str, Any], number: int) -> ServerAnswer:
        try:
            answer, _seconds = await self._script.answer(body, number)
            return answer
        except Exception as error:  # the caller is at the other end of the connection
            return Fault(body=" ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]))

    async def _fail(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        match fault.kind:
            case "reset":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()  # goes nowhere
            case "hang":
                await asyncio.Event().wait()
            case "half":
                cut = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
                await cut.prepare(request)
                await cut.write(b'{"choices": [{"mess')
                if request.transport is not None:
                    request.transport.close()
                return cut
            case "endless":
                endless = web.StreamResponse(headers={"Content-Type": "application/json"})
                await endless.prepare(request)
                while True:
                    await endless.write(b" " if fault.interval else b" " * 65_536)
                    await asyncio.sleep(fault.interval)
            case "malformed":
                return web.Response(text='{"choices": [{"mess', content_type="application/json")
            case "wrong_content_type":
                return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        headers = {"Content-Type": "application/json"} | headers | dict(fault.headers)
        return web.Response(body=fault.error_body(), status=fault.status, headers=headers)


def _asking(client: LLMClient) -> Callable[[dict[str, Any]], Awaitable[Answer]]:
    """A script by which a client answers what the server is asked."""

    async def answer(body: dict[str, Any]) -> Answer:
        return await client.complete(read_request(body))

    return answer


def _completion_json(answer: Answer | dict[str, Any], body: dict[str, Any], number: int) -> dict[str, Any]:
    """What a server sends for an answer; a dict is a whole completion (with `choices`) or its message."""
    model = str(body.get("model", ""))
    if isinstance(answer, dict):
        if "choices" in answer:
            return answer
        message = {"role": "assistant", "content": None} | answer
        finish_reason = "tool_calls" if message.get("tool_calls") else "stop"
        usage = None
    else:
        response = to_response(answer, model=model)
        sent = answer.message if isinstance(answer, LLMResponse) else to_message(answer)  # thoughts and all
        message, finish_reason = sent.as_dict(), response.finish_reason
        if isinstance(answer, LLMResponse) and answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        usage = response.usage if response.usage.total_tokens else None
    prompt_tokens = usage.prompt_tokens if usage else _words(*(part.get("content") for part in body["messages"]))
    completion_tokens = usage.completion_tokens if usage else _words(message["content"])
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _words(*texts: object) -> int:  # in place of tokens: the same on every machine
    return sum(len(text.split()) for text in texts if isinstance(text, str))


def read_request(body: Mapping[str, Any]) -> LLMRequest:
    """The request in a body: `LLMRequest.as_dict` the other way round. What it has no field for becomes an option."""
    options = dict(body)
    fields: dict[str, Any] = {
        "model": str(options.pop("model", "")),
        "messages": tuple(map(_read_message, options.pop("messages", ()))),
        "tools": tuple([_read_tool(tool["function"]) for tool in options.pop("tools", None) or ()]),
    }
    if options.get("tool_choice") in get_args(ToolChoice.__value__):
        fields["tool_choice"] = options.pop("tool_choice")
    match options.get("response_format"):
        case {"type": "json_schema", "json_schema": {"name": str(name), "schema": dict(schema)}}:
            del options["response_format"]
            fields["response_format"] = ResponseFormat(name, schema)
    return LLMRequest(**fields, options=options)


def _read_message(message: Mapping[str, Any]) -> Message:
    content = message.get("content") or ""
    if not isinstance(content, str):  # a list of parts
        content = "".join(part.get("text", "") for part in content)
    calls = [
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    role = message["role"]
    return Message("system" if role == "developer" else role, content, tuple(calls), message.get("tool_call_id"))


def _read_tool(function: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec(function["name"], function.get("description", ""), function.get("parameters") or {})
