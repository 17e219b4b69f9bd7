"""The protocol of clients, and the one place where a request changes threads."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol, cast, runtime_checkable

from mesa_llm.activation.call import ModelCall, model_call
from mesa_llm.activation.context import current_answers, current_call, current_journal, detached
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.concurrency import calling_loop, transport_loop
from mesa_llm.concurrency.loop_thread import AwaitedCall
from mesa_llm.errors import TurnError


@runtime_checkable
class LLMClient(Protocol):
    """Asks language models. All agents that use a client share it."""

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop, and must not block it; cancelling it cancels the call.

        Args:
            request: what is asked, and of whom; `request.call` says by which agent, and how long that may take.

        Returns:
            The model's answer.

        Raises:
            ModelCallError: if the model could not be asked.
        """
        ...


def ask(client: LLMClient, request: LLMRequest) -> LLMResponse:
    """Send a request to a client; blocks the calling thread.

    The client answers on the transport loop, one for the whole process with a thread of its own. Connections belong to
    that loop and live across steps, and nothing that an agent blocks can stop a request. On that loop's own thread,
    which would wait for itself, this raises a `TurnError`.
    """
    if transport_loop.is_running_here():
        raise TurnError(
            f"{type(client).__name__} was asked by blocking code on the thread of the transport loop, which is the one "
            "to answer. Code that runs there (a client, a policy) must `await client.complete(request)` instead."
        )
    client = _recorded(client)
    answers = current_answers()
    if answers is not None:
        return cast("LLMResponse", answers.ask(client, request))
    # Cancelled early, it begins all the same: a journal must know of it, and its call must forget the agent.
    answer, waiting = _send(client, request, functools.partial(transport_loop.get().submit, begins_anyway=True))
    try:
        # Only now: the request is on its way, in the order in which agents start.
        with waiting as call, calling_loop.heeding_cancellation():
            response: LLMResponse = calling_loop.result_of(answer)
            call.response = response
            return response
    except BaseException:
        answer.cancel()
        raise


async def aask(client: LLMClient, request: LLMRequest) -> LLMResponse:
    """Like `ask`, awaited. Cancelling the caller cancels the call. On the transport loop the client answers at once."""
    if transport_loop.is_running_here():
        return await client.complete(_in_current_call(request))
    client = _recorded(client)
    answers = current_answers()
    if answers is not None:
        return cast("LLMResponse", await answers.aask(client, request))
    answer, waiting = _send(client, request, transport_loop.get().send)
    try:
        with waiting as call:
            response: LLMResponse = await answer
            call.response = response
            return response
    except BaseException:
        answer.cancel()
        raise


def _recorded(client: LLMClient) -> LLMClient:
    """The client, within the record of the run that the calling code belongs to."""
    journal = current_journal()
    return client if journal is None else cast("LLMClient", journal.around(client))


def _send[S: Future[LLMResponse] | AwaitedCall[LLMResponse]](
    client: LLMClient, request: LLMRequest, send: Callable[..., S]
) -> tuple[S, model_call]:
    while not request.call.claim():  # the same request is sent again
        request = replace(request, call=ModelCall())
    call = request.call
    call.identify()
    waiting = model_call(call)  # before the call is sent: it forgets its agent when it ends
    answer = send(client.complete(request), context=detached(call), ended=call.detach)
    call.cancel = answer.cancel
    return answer, waiting


def _in_current_call(request: LLMRequest) -> LLMRequest:
    """A client's own request belongs to the call that the client is answering."""
    call = current_call()
    return request if call is None or request.call.origin is not None else replace(request, call=call)


class AsyncClient(ABC):
    """Base of clients: a subclass defines `complete`, and sync and async code can use it.

    A client that wraps another one calls `await self.inner.complete(request)`, with the request unchanged or changed by
    `dataclasses.replace`, which keeps its call.
    """

    @abstractmethod
    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop; must not block it.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.
        """

    def generate(self, request: LLMRequest) -> LLMResponse:
        """Like `complete`, for any thread but the transport loop's own, which would wait for itself; blocks it."""
        return ask(self, request)

    async def agenerate(self, request: LLMRequest) -> LLMResponse:
        """Like `complete`, on any loop. Cancelling the caller cancels the call."""
        return await aask(self, request)
