"""A client for tests: answers by a script, remembers what it was asked, and can prove that calls overlap."""

from __future__ import annotations

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse
from mesa_llm.clients.answers import Answer, to_response
from mesa_llm.clients.latency import Latency, check_latency, pause
from mesa_llm.testing.gate import Gate
from mesa_llm.testing.script import Script, ScriptReader


class ScriptedLLM(AsyncClient):
    """Answers by a script.

    ```python
    from mesa_llm.clients import LLMRequest, Message
    from mesa_llm.testing import ScriptedLLM

    llm = ScriptedLLM(["Rest.", "Work."])
    request = LLMRequest(model="any/model", messages=(Message(role="user", content="What now?"),))
    print([llm.generate(request).message.content for _ in range(2)], len(llm.requests))
    #> ['Rest.', 'Work.'] 2
    ```

    Args:
        script: a function of the request, plain or async; a list or tuple of answers, given in order of arrival (so
            several tool calls in one answer are a list in that list); or one answer, given for ever. Answers are those
            of `RuleBasedClient`, or an exception, which is raised.
        latency: seconds until the answer, or a function that gives them for a request.
        hold_until: holds all answers until this many calls are in flight at once, then gives them; then the next
            batch. Passes only if the calls really overlap, however fast or slow the machine is.
        patience: seconds after which a held batch that is not complete fails with an `AssertionError`.

    Attributes:
        requests: what was asked, in order of arrival.
        in_flight: calls that have arrived and not been answered.
        peak_in_flight: the most calls that were in flight at once.

    Raises:
        ConfigurationError: if `latency` is below zero or `hold_until` below one.
    """

    def __init__(
        self,
        script: Script[LLMRequest, Answer],
        *,
        latency: Latency[LLMRequest] = 0.0,
        hold_until: int | None = None,
        patience: float = 10.0,
    ) -> None:
        self.requests: list[LLMRequest] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self._script: ScriptReader[LLMRequest, Answer] = ScriptReader(script)
        self._latency = check_latency(latency)
        self._gate = Gate(hold_until, patience)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop."""
        self.requests.append(request)
        place = self._script.take_place()
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            await self._gate.wait()
            seconds = await pause(self._latency, request)
            return to_response(await self._script.answer(request, place), model=request.model, latency_s=seconds)
        finally:
            self.in_flight -= 1
