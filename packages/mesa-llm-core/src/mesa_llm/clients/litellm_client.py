"""A client for any provider that litellm knows; it finds out what litellm's errors really mean."""

from __future__ import annotations

import json
import os
import re
import socket
import zlib
from dataclasses import replace
from typing import Any

from mesa_llm.clients.cache_marks import takes_marks, with_marks
from mesa_llm.clients.chat_completion import read_completion, read_json
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.failures import FailedCall, is_half_json, sentence, set_key
from mesa_llm.clients.litellm_module import WatchedExchange, load_litellm
from mesa_llm.clients.masking import Secrets, is_secret_variable, secrets_in_options
from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, Usage
from mesa_llm.clients.optional_fields import OptionalFields
from mesa_llm.clients.providers import checked_base, price_of
from mesa_llm.clients.server_errors import error_in, only_object
from mesa_llm.errors import MissingAPIKeyError, ModelCallError, UnknownModelError
from mesa_llm.errors.checks import check_number
from mesa_llm.errors.tracebacks import causes_of

# Providers that mean "any server that speaks OpenAI's API", which may need no key.
_OPENAI_LIKE = frozenset({"openai", "text-completion-openai", "custom_openai", "openai_like"})
_NO_KEY = "not-needed"
_LITELLM_PREFIX = re.compile(r"^(litellm\.)?(\w*(Error|Timeout|Timeout Error): )|^\w*(Exception|Error)( \w+)? - ")
_ADVICE = re.compile(r"[,.]? To drop (these|unsupported)\b")  # how to set litellm up
_FORM_TOOL = "json_tool_call"  # litellm's `RESPONSE_FORMAT_TOOL_NAME`


class LiteLLMClient(AsyncClient):
    """Asks through litellm, which knows some hundred providers.

    The first call imports litellm and therefore takes some seconds longer. Nothing is retried here: a failure is an
    error at once. Only a field that the request can do without, and that is refused, is left out, and the request sent
    once more.

    Args:
        api_base: the base URL of the server; `None` for the provider's own.
        api_key: the key; `None` leaves it to the provider's environment variable, e.g. `OPENAI_API_KEY`. A server of
            your own that speaks OpenAI's API (an `api_base`) needs none.
        timeout: seconds without a sign of the server after which a call fails.

    Raises:
        ConfigurationError: if `timeout` is not above zero.
    """

    def __init__(self, *, api_base: str | None = None, api_key: str | None = None, timeout: float = 60.0) -> None:
        check_number("timeout", timeout, unit="seconds")
        self.api_base = api_base
        self.api_key = api_key
        self.timeout = timeout
        self._secrets = Secrets(keys=[api_key], addresses=[api_base])
        self._fields = OptionalFields()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop; cancelling it drops the connection.

        Raises:
            ModelCallError: or one of its children, see `mesa_llm.errors`.
            ConfigurationError: if the address cannot be used.
        """
        return await self._fields.ask(request, self._complete)

    async def _complete(self, request: LLMRequest) -> LLMResponse:
        if self.api_base:
            checked_base(self.api_base)  # litellm's error would not say what is wrong with it
        litellm = await load_litellm(self._secrets)
        answer, exchange = None, WatchedExchange()
        try:
            key = self._key(litellm, request.model)
            with exchange:
                answer = await self._ask(litellm, request, key)
        except Exception as error:
            result = self._read_body(exchange, request, litellm) or self._failure(error, litellm, self._call(request))
        else:
            result = self._read_body(exchange, request, litellm, answer) or self._read(answer, request)
        if isinstance(result, LLMResponse):
            return replace(result, cost=_cost(result, answer, request), latency_s=exchange.seconds)
        # Raised here and not above: litellm's error would be its context, which is four errors long and holds the key
        # if the server echoed it.
        raise result

    async def _ask(self, litellm: Any, request: LLMRequest, key: str | None) -> Any:
        # The last two turn off litellm's own retries, and those of the OpenAI client below it.
        api_base = checked_base(self.api_base)[0] if self.api_base else None
        fixed = {"api_base": api_base, "api_key": key, "num_retries": 0, "max_retries": 0}
        body = request.as_dict()
        if takes_marks(request.model):
            body["messages"] = with_marks(body["messages"])
        return await litellm.acompletion(**{"timeout": self.timeout} | body | fixed)

    def _read_body(
        self, exchange: WatchedExchange, request: LLMRequest, litellm: Any, answer: Any = None
    ) -> LLMResponse | ModelCallError | None:
        """What the server itself has answered, read as the direct client reads it.

        `None` if that is in the form of another API, which litellm has put into OpenAI's; or not known.
        """
        body = exchange.body()
        if body is None:
            return None
        status, read = exchange.response.status_code, read_json(body)
        is_success = 200 <= status < 300
        completion = only_object(read)
        is_completion = isinstance(completion, dict) and "choices" in completion
        if is_success and not is_completion and (answer is not None or (read is not None and error_in(read) is None)):
            return None
        if is_success and is_completion and (response := read_completion(read, request.model)) is not None:
            return _with_form(response, request)
        missing = () if self.api_key else _missing_keys(litellm, request.model)
        headers, reason = exchange.response.headers, exchange.response.reason_phrase
        return self._call(request).refused(status, reason, headers, body, read, missing)

    def _read(self, answer: Any, request: LLMRequest) -> LLMResponse | ModelCallError:
        response = read_completion(answer.model_dump(warnings=False), request.model)
        return response or self._call(request).unusable("sent a completion without choices", is_transient=True)

    def _key(self, litellm: Any, model: str) -> str | None:
        if self.api_key is not None or self.api_base is None:
            return self.api_key
        provider = litellm.get_llm_provider(model)[1]
        if provider in _OPENAI_LIKE:
            names = ("OPENAI_API_KEY", f"{provider.upper()}_API_KEY")
            found = any(os.environ.get(name) for name in names) or bool(litellm.api_key or litellm.openai_key)
        elif provider in litellm.openai_compatible_providers:
            found = not litellm.validate_environment(model)["missing_keys"]
        else:
            return None
        return None if found else _NO_KEY

    def _call(self, request: LLMRequest) -> FailedCall:
        return FailedCall(
            model=request.model,
            endpoint=self.api_base,
            secrets=self._secrets | secrets_in_options(request.options),
            has_api_base=self.api_base is not None,
        )

    def _failure(self, error: Exception, litellm: Any, call: FailedCall) -> ModelCallError:
        """The error of ours for one of litellm's.

        litellm's classes cannot be trusted: a refused connection comes as `InternalServerError` with status 500, a
        `TypeError` as `APIConnectionError`. What happened stands at the end of the chain of causes.
        """
        import aiohttp  # noqa: PLC0415 - slow to import; here it has been
        import httpx  # noqa: PLC0415 - comes with litellm, and only with it

        causes = list(causes_of(error))
        provider = call.model.partition("/")[0]
        answered = next((cause.response for cause in causes if isinstance(cause, httpx.HTTPStatusError)), None)
        if answered is not None:  # by way of a client that is not watched
            missing = (
                _missing_keys(litellm, call.model) if answered.status_code in {401, 403} and not self.api_key else ()
            )
            return call.answered(answered.status_code, _stripped(error), answered.headers, missing)
        if isinstance(error, litellm.BadRequestError) and "LLM Provider NOT provided" in str(error):
            text = f"litellm has no provider {provider!r}. Write 'provider/model', e.g. 'openai/gpt-4o-mini'."
            return call.error(UnknownModelError, f"{call.model}: {text}")
        if not self.api_key and (
            isinstance(error, litellm.AuthenticationError)
            or re.search(r"missing (credentials|\w* ?api[ _]key)", str(error), re.IGNORECASE)
        ):
            missing = _missing_keys(litellm, call.model) or [f"{provider.upper()}_API_KEY"]
            text = f"{call.where} needs an API key, and none is set. {set_key(missing)}"
            return call.error(MissingAPIKeyError, text)
        timeouts = (httpx.TimeoutException, TimeoutError, litellm.Timeout)
        has_connected = not any(isinstance(cause, httpx.ConnectTimeout) for cause in causes)
        if has_connected and any(isinstance(cause, timeouts) for cause in causes):
            return call.timed_out(self.timeout)
        for cause in causes:
            if isinstance(cause, httpx.TransportError | ConnectionError | socket.gaierror):
                return call.unreachable(cause)
        for cause in causes:
            if isinstance(cause, json.JSONDecodeError):
                text = f"sent an answer that is not JSON ({_stripped(error)})"
                return call.unusable(text, is_transient=is_half_json(cause.doc))
            if isinstance(
                cause, httpx.DecodingError | zlib.error | aiohttp.ClientResponseError | aiohttp.http.HttpProcessingError
            ):
                return call.unusable(f"sent what is not HTTP: {cause}", is_transient=True)
        root = causes[-1]
        if type(root).__module__.partition(".")[0] in {"litellm", "openai"}:
            return call.error(ModelCallError, f"{call.where}: {sentence(call.secrets.clean(_stripped(error)))}")
        return call.unexpected(root)


def _with_form(response: LLMResponse, request: LLMRequest) -> LLMResponse:
    """The answer in words, where litellm has asked for a form by the only tool that must be called."""
    calls = response.message.tool_calls
    if len(calls) != 1 or calls[0].name != _FORM_TOOL or any(tool.name == _FORM_TOOL for tool in request.tools):
        return response
    finish_reason = "stop" if response.finish_reason == "tool_calls" else response.finish_reason
    return replace(response, message=Message("assistant", calls[0].arguments), finish_reason=finish_reason)


def _cost(response: LLMResponse, answer: Any, request: LLMRequest) -> float | None:
    """The price: by the server, by litellm, or by the list if litellm has counted other tokens."""
    if response.cost is not None:
        return response.cost
    usage = getattr(answer, "usage", None)
    counted = Usage(getattr(usage, "prompt_tokens", None) or 0, getattr(usage, "completion_tokens", None) or 0)
    if answer is not None and counted == response.usage:
        return getattr(answer, "_hidden_params", {}).get("response_cost")
    return price_of(request.model, response.usage)


def _stripped(error: Exception) -> str:
    """The text of litellm's error without the classes that it passed through, and without a traceback."""
    text = _ADVICE.split(str(error).partition("\nTraceback")[0], maxsplit=1)[0]
    while (shorter := _LITELLM_PREFIX.sub("", text, count=1)) != text:
        text = shorter
    return text


def _missing_keys(litellm: Any, model: str) -> list[str]:
    missing: list[str] = litellm.validate_environment(model)["missing_keys"]
    return [name for name in missing if is_secret_variable(name)]
