"""An endpoint that takes only so many calls at once and refuses the others, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

from mesa_llm.clients import LLMRequest, Message
from mesa_llm.errors import RateLimitedError
from mesa_llm.testing import ScriptedLLM


def request(text="hello", model="a/b", **options):
    return LLMRequest(model=model, messages=(Message("user", text),), options=options)


def refusal(retry_after=None):
    return RateLimitedError(
        "a/b answered with status 429.", model="a/b", status=429, retry_after=retry_after, is_transient=True
    )


class BusyEndpoint:
    """`client` answers with the request's own text; `answered` and `refused` count requests by their text.

    Args:
        capacity: how many calls are served at once.
        latency: seconds that an answer takes.
        round_trip: seconds that a refusal takes.
        retry_after: what a refusal says.
    """

    def __init__(self, capacity, *, latency=1.0, round_trip=0.05, retry_after=None):
        self.capacity = capacity
        self.latency = latency
        self.round_trip = round_trip
        self.retry_after = retry_after
        self.serving = 0
        self.answered = Counter()
        self.refused = Counter()
        self.client = ScriptedLLM(self._serve)

    async def _serve(self, asked):
        text = asked.messages[0].content
        if self.serving >= self.capacity:
            self.refused[text] += 1
            await asyncio.sleep(self.round_trip)
            raise refusal(self.retry_after)
        self.serving += 1
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.serving -= 1
        self.answered[text] += 1
        return text
