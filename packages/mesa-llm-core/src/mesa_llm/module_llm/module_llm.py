"""One agent's handle on a language model."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self

from mesa_llm.activation.call import last_agent_step
from mesa_llm.activation.context import current_agent_step, within
from mesa_llm.activation.mesa_model import stepping_on
from mesa_llm.activation.turn import is_off_record
from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse, Message
from mesa_llm.clients.client import aask, ask
from mesa_llm.errors import ConfigurationError, EndpointUnreachableError, ModelTimeoutError, RateLimitedError
from mesa_llm.module_llm.connect import Transport, check_transport, shared_client
from mesa_llm.module_llm.dialogue import aconverse, converse
from mesa_llm.module_llm.request_fields import (
    AnyFormat,
    AnyTool,
    SamplingOptions,
    check_tool_choice,
    response_format_fields,
    sampling_options,
    tool_specs,
)
from mesa_llm.module_llm.tool_modes import ToolMode, ask_in_mode, check_tool_mode

RETRYABLE_EXCEPTIONS = (EndpointUnreachableError, ModelTimeoutError, RateLimitedError)
"""Errors that can pass, as in mesa-llm 0.3. The shared client has retried them already when they are raised."""

_OLLAMA = "http://localhost:11434"


class ModuleLLM:
    """Asks one model, with one system prompt, through a client that all agents share.

    Constructing it reads nothing and connects to nothing: a missing key or an unknown model shows at the first call.
    It pickles and copies. The shared client is looked up again; your own client goes along, or is shared with
    the copy where it cannot be copied. A key that was passed in is part of the pickle.

    Args:
        llm_model: the model, as `provider/model`. With your own client any name will do.
        api_base: the base URL of the server; `None` for the provider's own, which for Ollama is this machine.
        system_prompt: goes before every prompt.
        client: the client that answers, see `connect`. By default one for each `api_base`, `api_key` and `transport`,
            shared by all agents: it retries, and limits how many calls are in flight once the endpoint has refused one.
        api_key: the key; `None` leaves it to the provider's environment variable.
        transport: how the shared client reaches the model: `direct`, for servers that speak OpenAI's API; `litellm`,
            for any provider; `auto` goes directly where an `api_base` is given and the provider is known to.
        tool_mode: how tools are called: `native`, as the API has it; `json_schema`, for models that have no tool
            calling; `auto`, natively where the model and the server have it, and otherwise with a schema.
        temperature: the randomness of the answers, at least 0; `None`, here and below: not sent.
        top_p: the share of the probability that tokens are drawn from, above 0, up to 1.
        max_tokens: the length of an answer, at least 1 token.
        max_completion_tokens: the same by its newer name.
        seed: the same seed gives the same answer, where the provider holds to it.
        stop: texts at which an answer ends.
        extra_body: what else goes into the body of each request, for servers that know more than the API.
        **options: any other argument of the API, sent with every request.

    Raises:
        ConfigurationError: if `llm_model` is not a text, or names no provider and no client is given, or a value cannot
            work.
    """

    def __init__(
        self,
        llm_model: str,
        api_base: str | None = None,
        system_prompt: str | None = None,
        *,
        client: LLMClient | None = None,
        api_key: str | None = None,
        transport: Transport = "auto",
        tool_mode: ToolMode = "auto",
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        provider, slash, name = llm_model.partition("/") if isinstance(llm_model, str) else ("", "", "")
        if not isinstance(llm_model, str) or (client is None and not (provider and slash and name)):
            raise ConfigurationError(
                f"llm_model must be 'provider/model', e.g. 'openai/gpt-4o-mini' or 'ollama/llama3.1', "
                f"got {llm_model!r}."
            )
        if api_base is None and provider in {"ollama", "ollama_chat"}:
            api_base = _OLLAMA
        self.llm_model = llm_model
        self.api_base = api_base
        self.system_prompt = system_prompt
        self.api_key = api_key
        self.transport = check_transport(transport)
        self.tool_mode = check_tool_mode(tool_mode)
        sampling = SamplingOptions(
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            max_completion_tokens=max_completion_tokens,
            seed=seed,
            stop=stop,
            extra_body=extra_body,
        )
        self.options = sampling_options({**sampling, **options})
        self._client = client
        self.agent: Any = None
        """The agent whose handle this is, if it is one's: calls between its steps count with the last of them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, instead in {"generate": "complete", "agenerate": "acomplete"}.items():
            if name in vars(cls) and getattr(cls, instead) is getattr(ModuleLLM, instead):
                warnings.warn(
                    f"{cls.__name__}.{name} is not called for decisions: agents send ready requests by "
                    f"{instead}(request). Override {instead}; or, for sampling arguments, give temperature=… and the "
                    "like to LLMAgent or ModuleLLM.",
                    stacklevel=2,
                )

    @property
    def client(self) -> LLMClient:
        """The client that was given, or the shared one for this address, key and transport."""
        return self._client if self._client is not None else shared_client(self.api_base, self.api_key, self.transport)

    def for_model(self, llm_model: str, api_base: str | None = None) -> ModuleLLM:
        """A handle on a model, perhaps another one, with the same client: the same limits and journal count its calls.

        Of the same model it has the same settings, but no system prompt. To another it sends no sampling arguments,
        and to another address or provider not the key of this one.

        Args:
            llm_model: the model, as `provider/model`.
            api_base: the base URL of its server. By default that of this handle for the same model, and the provider's
                own for another. It has no effect if a client was given, which has its own address.

        Raises:
            ConfigurationError: if `llm_model` names no provider and no client is given.
        """
        if llm_model == self.llm_model and api_base in {None, self.api_base}:
            twin = copy.copy(self)
            twin.options, twin.system_prompt = dict(self.options), None
            return twin
        is_same_place = api_base == self.api_base and llm_model.partition("/")[0] == self.llm_model.partition("/")[0]
        other = ModuleLLM(
            llm_model,
            api_base,
            client=self._client,
            api_key=self.api_key if is_same_place else None,
            transport=self.transport,
        )
        other.agent = self.agent
        return other

    def _own_system_prompt(self) -> str | None:
        """That of the agent if this is its handle: its class may define one."""
        agent = self.agent
        own: str | None = agent.system_prompt if getattr(agent, "llm", None) is self else self.system_prompt
        return own

    def request(
        self,
        prompt: str | list[str] | None = None,
        tool_schema: Iterable[AnyTool] | None = None,
        tool_choice: str | None = "auto",
        response_format: AnyFormat | None = None,
        system_prompt: str | None = None,
        **options: Any,
    ) -> LLMRequest:
        """The request that `generate` would send.

        Args:
            prompt: the text of one user message, or those of several.
            tool_schema: the tools on offer: specs, or dicts in the form of the chat completions API.
            tool_choice: `auto`, `none` or `required`: whether tools may, must not or must be called; `None` for the
                provider's own choice.
            response_format: what the answer must look like: a pydantic model, a JSON schema, or a `ResponseFormat`.
            system_prompt: replaces the own system prompt in this request.
            **options: sampling arguments (`temperature`, `max_tokens`, `seed`, …) for this request, in the place of
                the own ones; `None` leaves one out.

        Raises:
            ConfigurationError: if tools, tool choice or response format cannot be understood, or an option cannot work.
            TypeError: if the prompt is not a text.
        """
        choice = check_tool_choice(tool_choice)
        tools = tool_specs(tool_schema)
        fields = response_format_fields(response_format)
        system = system_prompt if system_prompt is not None else self._own_system_prompt()
        return LLMRequest(
            model=self.llm_model,
            # Always one system message, even an empty one: without it some servers insert their own default.
            messages=(Message("system", system or ""), *_user_messages(prompt)),
            tools=tools,
            tool_choice=choice if tools else None,
            response_format=fields.get("response_format"),
            options=sampling_options(self.options | options) | fields.get("options", {}),
        )

    def generate(
        self,
        prompt: str | list[str] | None = None,
        tool_schema: Iterable[AnyTool] | None = None,
        tool_choice: str | None = "auto",
        response_format: AnyFormat | None = None,
        system_prompt: str | None = None,
        **options: Any,
    ) -> LLMResponse:
        """Ask the model; blocks the calling thread. The arguments are those of `request`.

        Returns:
            The model's answer.

        Raises:
            ModelCallError: if the model could not be asked.
        """
        request = self.request(prompt, tool_schema, tool_choice, response_format, system_prompt, **options)
        return self.complete(request)

    async def agenerate(
        self,
        prompt: str | list[str] | None = None,
        tool_schema: Iterable[AnyTool] | None = None,
        tool_choice: str | None = "auto",
        response_format: AnyFormat | None = None,
        system_prompt: str | None = None,
        **options: Any,
    ) -> LLMResponse:
        """Ask the model. The arguments are those of `request`. Cancelling the caller cancels the call.

        Raises:
            ModelCallError: if the model could not be asked.
        """
        request = self.request(prompt, tool_schema, tool_choice, response_format, system_prompt, **options)
        return await self.acomplete(request)

    def complete(self, request: LLMRequest) -> LLMResponse:
        """Send a ready request; blocks the calling thread.

        It goes out as it is, unless it has tools and they are called by means of a schema: see `tool_mode`.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.

        Raises:
            ModelCallError: if the model could not be asked.
            DecisionError: if tool calls as JSON could not be read, asked again once.
        """
        with self._known():
            return converse(ask_in_mode(request, self.tool_mode, asker=self.agent), functools.partial(ask, self.client))

    async def acomplete(self, request: LLMRequest) -> LLMResponse:
        """Like `complete`. Cancelling the caller cancels the call."""
        with self._known():
            return await aconverse(
                ask_in_mode(request, self.tool_mode, asker=self.agent), functools.partial(aask, self.client)
            )

    def _known(self) -> AbstractContextManager[None]:
        """Makes calls that the agent makes outside of its steps known as its own; its model survives their failure."""
        if self.agent is None or current_agent_step() is not None or is_off_record():
            return nullcontext()
        return _between_steps(self.agent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for name, value in vars(self).items():
            setattr(twin, name, _copied_if_it_can(value, memo) if name == "_client" else copy.deepcopy(value, memo))
        return twin


@contextmanager
def _between_steps(agent: Any) -> Iterator[None]:
    with within(agent_step=last_agent_step(agent)), stepping_on((agent,)):
        yield


def _copied_if_it_can[T](client: T, memo: dict[int, Any]) -> T:
    try:
        return copy.deepcopy(client, memo)
    except TypeError:  # it holds a lock, a connection, …
        return client


def _user_messages(prompt: str | list[str] | None) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    texts = [] if prompt is None else prompt
    if not isinstance(texts, list | tuple):
        raise TypeError(f"prompt must be a str, a list of str or None, got {prompt!r} ({type(prompt).__name__}).")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"prompt[{position}] must be a str, got {text!r} ({type(text).__name__}).")
    return tuple([Message("user", text) for text in texts])
