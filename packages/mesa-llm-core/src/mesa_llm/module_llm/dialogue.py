"""Questions to a model that depend on its answers, written once for sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator

from mesa_llm.clients import LLMRequest, LLMResponse
from mesa_llm.concurrency import calling_loop

type Dialogue[T] = Generator[LLMRequest, LLMResponse, T]
"""Yields each request to the model, is sent its response or thrown the error, and returns what came of it."""


async def aconverse[T](dialogue: Dialogue[T], ask: Callable[[LLMRequest], Awaitable[LLMResponse]]) -> T:
    """Have a dialogue with a model.

    Args:
        dialogue: the questions.
        ask: asks the model.

    Returns:
        What the dialogue returns.

    Raises:
        Exception: what `ask` raises and the dialogue does not catch, and what the dialogue raises.
    """
    try:
        request = next(dialogue)
        while True:
            try:
                response = await ask(request)
            except Exception as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(response)
    except StopIteration as end:
        result: T = end.value
        return result


def converse[T](dialogue: Dialogue[T], ask: Callable[[LLMRequest], LLMResponse]) -> T:
    """Like `aconverse`, with an `ask` that blocks."""

    async def ask_and_block(request: LLMRequest) -> LLMResponse:
        return ask(request)

    return calling_loop.run_unsuspended(aconverse(dialogue, ask_and_block))
