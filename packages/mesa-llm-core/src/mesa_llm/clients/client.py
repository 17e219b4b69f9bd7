"""The protocol that every way to a model follows, and the base class for those written on asyncio."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from mesa_llm.activation import ModelCall, model_call
from mesa_llm.activation.origin import lend
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.concurrency import calling_loop, transport_loop
from mesa_llm.concurrency.hand_over import Errand
from mesa_llm.errors import TurnError


@runtime_checkable
class LLMClient(Protocol):
    """A way to a model. Shared by all agents that use it; safe to use from any thread and any event loop."""

    def generate(self, request: LLMRequest) -> LLMResponse:
        """Answer a request; blocks the calling thread.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.

        Raises:
            ModelCallError: if the model could not be asked.
        """
        ...

    async def agenerate(self, request: LLMRequest) -> LLMResponse:
        """Answer a request.

        Cancelling the caller cancels the call.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.

        Raises:
            ModelCallError: if the model could not be asked.
        """
        ...


class AsyncClient(ABC):
    """Base of clients written on asyncio: give it `complete`, it gives `generate` and `agenerate`.

    `complete` always runs on the transport loop, one for the whole process with a thread of its own. Connections
    belong to that loop and live across steps, and nothing that an agent blocks can stop a request.
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
        """Answer a request; blocks the calling thread.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.

        Raises:
            TurnError: on the transport loop's own thread, where it would wait for itself for ever.
        """
        if transport_loop.is_running_here():
            raise TurnError(
                f"{type(self).__name__}.generate() was called on the thread of the transport loop, which is the one "
                "to answer it. Code that runs there (a client, a policy) must `await agenerate(request)` instead."
            )
        # Cancelled early, it begins all the same: a journal must know of it, and what is lent must come back.
        call, marked = self._sent(request, functools.partial(transport_loop.submit, begins_anyway=True))
        try:
            # Only now: the request is on its way, in the order in which agents start.
            with model_call(marked), calling_loop.heeding_cancellation():
                response: LLMResponse = call.result()
                marked.response = response
                return response
        except BaseException:
            call.cancel()
            raise

    async def agenerate(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Cancelling the caller cancels the call.

        Args:
            request: what is asked, and of whom.

        Returns:
            The model's answer.
        """
        if transport_loop.is_running_here():
            return await self.complete(request)
        call, marked = self._sent(request, transport_loop.send)
        try:
            with model_call(marked):
                response: LLMResponse = await call
                marked.response = response
                return response
        except BaseException:
            call.cancel()
            raise

    def _sent[S: Future[LLMResponse] | Errand[LLMResponse]](
        self, request: LLMRequest, send: Callable[..., S]
    ) -> tuple[S, ModelCall]:
        marked = ModelCall()
        lent, context = lend()
        call = send(self.complete(request), context=context, ended=lent.give_back)
        marked.cancel = call.cancel
        return call, marked
