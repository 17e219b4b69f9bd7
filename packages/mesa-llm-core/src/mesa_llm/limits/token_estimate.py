"""Estimates how many tokens a request will take, before it is sent."""

from __future__ import annotations

import json

from mesa_llm.clients import LLMRequest, Usage

BYTES_PER_TOKEN = 4
"""English has about four characters in a token. Bytes of UTF-8, not characters: other scripts have fewer of these."""

TOKENS_PER_MESSAGE = 4
"""What a message takes beside its text: its role, and the marks that set it off."""

FIRST_GUESS = 250
"""Tokens of an answer, until something is known: no `max_tokens`, and no answer yet."""


def tokens_in(text: str) -> int:
    """The estimated tokens of a text."""
    n_bytes = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return -(-n_bytes // BYTES_PER_TOKEN)


class TokenEstimator:
    """Guesses the tokens of requests, and learns from answers. For use on one thread.

    The prompt is reckoned from its length. The completion is what the request allows (`max_completion_tokens` or
    `max_tokens`), which it can reach but not exceed; else the mean of the model's completions so far.
    """

    def __init__(self) -> None:
        self._completions: dict[str, tuple[int, int]] = {}  # by model: how many, and their tokens

    def estimate(self, request: LLMRequest) -> Usage:
        """The tokens that a request is estimated to take."""
        return Usage(_prompt_tokens(request), self._completion_tokens(request))

    def learn(self, request: LLMRequest, usage: Usage) -> None:
        """Take note of what an answer took."""
        if usage.completion_tokens:
            count, tokens = self._completions.get(request.model, (0, 0))
            self._completions[request.model] = (count + 1, tokens + usage.completion_tokens)

    def _completion_tokens(self, request: LLMRequest) -> int:
        for name in ("max_completion_tokens", "max_tokens"):
            allowed = request.options.get(name)
            if isinstance(allowed, int) and allowed > 0:  # some servers take -1 for no limit
                return allowed
        count, tokens = self._completions.get(request.model, (0, 0))
        return round(tokens / count) if count else FIRST_GUESS


def _prompt_tokens(request: LLMRequest) -> int:
    n_bytes = sum(len(message.content.encode(errors="replace")) for message in request.messages)
    n_bytes += sum(len(call.name) + len(call.arguments) for message in request.messages for call in message.tool_calls)
    n_bytes += sum(len(json.dumps(tool.as_dict(), default=str)) for tool in request.tools)
    if request.response_format is not None:
        n_bytes += len(json.dumps(request.response_format.as_dict(), default=str))
    return -(-n_bytes // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(request.messages)
