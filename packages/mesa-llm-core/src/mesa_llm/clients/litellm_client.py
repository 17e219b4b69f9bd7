"""Any provider that litellm knows."""

from __future__ import annotations

import os
from typing import Any

from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.failures import FailedCall
from mesa_llm.clients.litellm_errors import translate
from mesa_llm.clients.litellm_module import load_litellm, timed_exchange
from mesa_llm.clients.masking import Secrets, secrets_in_options
from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from mesa_llm.errors import ConfigurationError

# Providers that stand for "a server that speaks OpenAI's API", which may well want no key.
_OPENAI_LIKE = frozenset({"openai", "text-completion-openai", "custom_openai", "openai_like"})
_NO_KEY = "not-needed"


class LiteLLMClient(AsyncClient):
    """Asks through litellm, which knows some hundred providers.

    litellm is imported by the first call, which therefore takes some seconds longer. Nothing is retried here: a
    failure is an error at once.

    Args:
        api_base: the base URL of the server; `None` for the provider's own.
        api_key: the key; `None` leaves it to the provider's environment variable, e.g. `OPENAI_API_KEY`. A server of
            your own that speaks OpenAI's API (an `api_base`) needs none.
        timeout: seconds without a sign of the server after which a call fails.

    Raises:
        ConfigurationError: if `timeout` is not above zero.
    """

    def __init__(self, *, api_base: str | None = None, api_key: str | None = None, timeout: float = 60.0) -> None:
        if not timeout > 0:
            raise ConfigurationError(f"timeout must be > 0 seconds, got {timeout!r}.")
        self.api_base = api_base
        self.api_key = api_key
        self.timeout = timeout
        self._secrets = Secrets(keys=[api_key], addresses=[api_base])

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop; cancelling it drops the connection.

        Raises:
            ModelCallError: or one of its children, see `mesa_llm.errors`.
        """
        litellm = await load_litellm(self._secrets)
        try:
            arguments = self._arguments(litellm, request)
            with timed_exchange() as exchange:
                answer = await litellm.acompletion(**arguments)
        except Exception as error:
            failure = translate(
                error, litellm=litellm, call=self._call(request), has_key=bool(self.api_key), timeout=self.timeout
            )
        else:
            return self._read(answer, request, exchange.seconds)
        # Raised out here, so that litellm's error is not its context: four errors long, and with the key in it if the
        # server echoed that.
        raise failure

    def _arguments(self, litellm: Any, request: LLMRequest) -> dict[str, Any]:
        return (
            {"timeout": self.timeout}
            | request.as_dict()
            | {"api_base": self.api_base, "api_key": self._key(litellm, request.model)}
            # litellm's own retries, and those of the OpenAI client below it.
            | {"num_retries": 0, "max_retries": 0}
        )

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

    def _read(self, answer: Any, request: LLMRequest, seconds: float | None) -> LLMResponse:
        if not answer.choices:
            raise self._call(request).unusable("sent a completion without choices", is_transient=True)
        choice = answer.choices[0]
        calls = tuple(
            ToolCall(id=call.id or f"call_{number}", name=call.function.name or "", arguments=call.function.arguments)
            for number, call in enumerate(choice.message.tool_calls or ())
        )
        usage = getattr(answer, "usage", None)
        return LLMResponse(
            message=Message("assistant", choice.message.content or "", tool_calls=calls),
            model=answer.model or request.model,
            usage=Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else Usage(),
            finish_reason=choice.finish_reason or "stop",
            cost=getattr(answer, "_hidden_params", {}).get("response_cost"),
            reasoning=getattr(choice.message, "reasoning_content", None) or "",
            latency_s=seconds,
        )
