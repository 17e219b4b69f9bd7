"""A server that speaks the chat completions API over real HTTP, for tests of what lies between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mesa_llm.clients import LLMResponse
from mesa_llm.clients.chat_completion import Answer, to_message, to_response
from mesa_llm.clients.latency import Latency
from mesa_llm.concurrency.loop_thread import LoopThread
from mesa_llm.testing.fault import Fault
from mesa_llm.testing.scripted_llm import Script, ScriptReader

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

type ServerAnswer = Answer | dict[str, Any] | Fault


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request as the server saw it.

    Attributes:
        body: its JSON.
        headers: its HTTP headers, names in lower case.
    """

    body: dict[str, Any]
    headers: dict[str, str]


class FakeOpenAIServer:
    """Serves `POST /v1/chat/completions` and `GET /v1/models` on the loopback, while its `with` block runs.

    Runs on a thread and an event loop of its own, so that a blocked test does not block it. Entered again, it serves
    at the same address: a server that was down, and is back.

    ```python
    from mesa_llm.clients import DirectClient, LLMRequest, Message
    from mesa_llm.testing import Fault, FakeOpenAIServer

    with FakeOpenAIServer(["Rest.", Fault.reset()]) as server:
        client = DirectClient(api_base=server.url, api_key="none")
        request = LLMRequest(model="openai/fake-model", messages=(Message(role="user", content="What now?"),))
        print(client.generate(request).message.content, len(server.requests))
        #> Rest. 1
    ```

    Args:
        answer: the script: a function of the request's JSON, plain or async; a list of answers, given in order of
            arrival; or one answer, given every time. An answer is one as for `RuleBasedClient`, a dict (a message or a
            whole completion), or a `Fault`. If the script raises, the server answers 500 and names the error.
        latency: seconds until the answer, or a function that gives them for the request's JSON.
        hold_until: holds all answers until this many requests are being served at once; then the next batch.
        patience: seconds after which a held batch that is not complete is answered by a 500 that says so.
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
        answer: Script[dict[str, Any], ServerAnswer] = "ok",
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
        self._script: ScriptReader[dict[str, Any], ServerAnswer] = ScriptReader(answer, latency, hold_until, patience)
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
        self._http.pre_shutdown()  # ends the connections that idle
        await self._http.shutdown(timeout=0.01)  # cancels the rest; zero would mean no limit
        for transport in transports:
            if transport is not None:
                transport.abort()  # else it would wait until the client has read what is left of a large answer

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
        except Exception as error:  # the caller is at the other end of a connection
            return Fault(body=f"{type(error).__name__}: {error}")

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


def _completion_json(answer: Answer | dict[str, Any], body: dict[str, Any], number: int) -> dict[str, Any]:
    """What a server sends for an answer.

    Args:
        answer: an answer as for `RuleBasedClient`; or a dict: a whole completion (with `choices`) or its message.
        body: the request's JSON.
        number: the number of the call; goes into the completion's id.
    """
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


def _words(*texts: object) -> int:
    """The number of words, in place of tokens: the same on every machine."""
    return sum(len(text.split()) for text in texts if isinstance(text, str))
