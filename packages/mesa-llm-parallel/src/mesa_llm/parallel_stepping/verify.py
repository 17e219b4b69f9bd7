"""Whether a model of the user's own runs in sequential activation as it does in plain Mesa."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError, JournalMissError, MesaLLMError
from mesa_llm.parallel_stepping import patch
from mesa_llm.parallel_stepping.config import ParallelStepping
from mesa_llm.parallel_stepping.failures import described
from mesa_llm.recording.state import State, model_state, state_difference

if TYPE_CHECKING:
    from mesa import Model

type _Asked = tuple[str, str]
"""Who made a call, in words, and the request as text."""


class VerificationError(MesaLLMError):
    """A model runs differently in sequential activation than in plain Mesa; the message names the first difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was compared, and found equal.

    Attributes:
        steps: how many steps of the model; fewer than asked for if both runs ended with the same error.
        calls: how many calls of agents.
        asked_ahead: how many of them had been asked ahead and were used; if it is 0, the run has tested little.
        wasted_calls: how many calls were asked ahead and not used.
    """

    steps: int
    calls: int
    asked_ahead: int
    wasted_calls: int


def verify_sequential(
    make_model: Callable[[LLMClient], Model[Any, Any]], steps: int, client: LLMClient, *, max_waste: float | None = 0.5
) -> Verification:
    """Check that a model runs in `activation="sequential"` exactly as plain Mesa runs it.

    The first run asks ahead, and its answers are recorded. The second is plain Mesa's, answered from the record, so it
    asks nobody. After each step the states of both models are compared (see `state_hash`), and at the end the agents'
    requests, in order. What can differ is what steps write outside of the model, such as into a module: see
    `mesa_llm.activation.looking_ahead`.

    Args:
        make_model: makes the model, the same one each time, with agents that ask the client that it gets.
        steps: how many steps are compared, at least 1.
        client: answers the first run. A `RuleBasedClient` costs nothing.
        max_waste: as in `ParallelStepping`; `None` asks ahead for all agents, the hardest test.

    Returns:
        What was compared.

    Raises:
        VerificationError: if the runs differ; it names the step, the agent and the attribute, or the request.
        ConfigurationError: if `steps` is less than 1.
    """
    if steps < 1:
        raise ConfigurationError(f"steps must be at least 1, got {steps!r}.")
    from mesa_llm.journal import JournaledClient  # noqa: PLC0415 - imported when needed, as the step itself is

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "run.db"
        settings = ParallelStepping(activation="sequential", max_waste=max_waste)
        with JournaledClient(client, path) as recording, patch.stepping_by(None):
            first = _Run(make_model, recording, steps, settings)
        with JournaledClient(None, path, mode="replay") as replaying:
            second = _Run(make_model, replaying, steps, False)
    _compare(first, second)
    return Verification(
        steps=len(first.states) - (first.error is not None),
        calls=len(first.asked),
        asked_ahead=first.asked_ahead,
        wasted_calls=first.wasted_calls,
    )


class _Run:
    """A run of the model: its state after each step, its calls, and the error that ended it."""

    def __init__(
        self,
        make_model: Callable[[LLMClient], Model[Any, Any]],
        client: LLMClient,
        steps: int,
        parallel_stepping: ParallelStepping | bool,
    ) -> None:
        self.asked: list[_Asked] = []
        self.states: list[State] = []
        self.error: str | None = None
        self.asked_ahead = self.wasted_calls = 0
        model: Any = make_model(_Listener(client, self.asked))
        model.parallel_stepping = parallel_stepping
        for _ in range(steps):
            try:
                model.step()
            except Exception as error:
                if isinstance(error, JournalMissError):
                    raise VerificationError(f"Plain Mesa asks what the first run has not asked. {error}") from error
                self.error = described(error)
            self.states.append(model_state(model))
            for report in getattr(model, "parallel_reports", ()):
                if report.look_ahead is not None:
                    self.asked_ahead += report.look_ahead.used_ahead
                    self.wasted_calls += report.wasted_calls
            if self.error is not None:
                return


class _Listener(AsyncClient):
    """Notes the calls that agents make at their turns."""

    def __init__(self, inner: LLMClient, asked: list[_Asked]) -> None:
        self.inner = inner
        self._asked = asked

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Pass a call on."""
        origin = request.call.origin
        if not request.call.asked_ahead:
            who = "A call of no agent" if origin is None else f"Call {origin.call} of {origin.agent_class} "
            who += "" if origin is None else f"{origin.agent_id} in step {origin.model_step}"
            self._asked.append((who, "\n".join(message.content for message in request.messages)))
        return await self.inner.complete(request)


def _compare(first: _Run, second: _Run) -> None:
    for step, (one, other) in enumerate(zip(first.states, second.states, strict=False), start=1):
        difference = state_difference(one, other)
        if difference is not None:
            raise VerificationError(
                f"After step {step}, {difference.agent or 'the model'} differs in {difference.attribute}: "
                f"{difference.first} with activation='sequential', {difference.second} in plain Mesa. A step "
                "changes something outside of the model: keep it in the model, or leave it alone where looking_ahead()."
            )
    if first.error != second.error:
        raise VerificationError(
            f"With activation='sequential' the run ends with {first.error or 'no error'}, in plain Mesa with "
            f"{second.error or 'no error'}."
        )
    for here, there in zip_longest(first.asked, second.asked):
        if here != there:
            raise VerificationError(
                f"The requests part: {_in_words(here)} with activation='sequential', {_in_words(there)} in plain Mesa."
            )


def _in_words(asked: _Asked | None) -> str:
    if asked is None:
        return "no further call"
    who, text = asked
    return f"{who} ({text[-200:]!r})"
