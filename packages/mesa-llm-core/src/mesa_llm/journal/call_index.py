"""Call keys: what identifies a call in its run, and what a replay finds it by."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from mesa_llm.clients import LLMRequest
from mesa_llm.errors import JournalError
from mesa_llm.journal.serialization import texts_of

OUTSIDE = 0
"""Stands for the agent of a call that no agent makes; agents are counted from 1."""
_STEPS_KEPT = 3
"""For how many of its own steps an agent's requests are counted: the last one, and steps that nest it."""


class CallKey(NamedTuple):
    """What identifies a call in its run: `step`, `agent_id`, `request_key` and `repeat`; the rest is for people.

    Attributes:
        step: which of the agent's own steps it is, see `CallOrigin`; 0 before the first, and without an agent.
        agent_id: the agent's `unique_id`; 0 without an agent.
        request_key: the request's digest, `request_key` in bytes.
        repeat: its number among equal requests of the agent in this step; from 1.
        call: its number among all calls of the agent in this step; from 1. Concurrent calls are numbered as they come,
            so the number does not identify a call.
        model_step: the model's step.
        agent_class: the name of the agent's class.
        texts: the request as it is stored, see `texts_of`.
    """

    step: int
    agent_id: int
    request_key: bytes
    repeat: int
    call: int
    model_step: int
    agent_class: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        nth = f" (equal request number {self.repeat})" if self.repeat > 1 else ""
        return f"Call {call_label(self.step, self.agent_class, self.agent_id, self.call)}{nth}"


def call_label(step: int, agent_class: str, agent_id: int, call: int) -> str:
    """A call as messages name it, after the word."""
    if agent_id == OUTSIDE:
        return f"{call} outside of agents' steps"
    return f"{call} of {agent_class} {agent_id} in step {step}"


class CallIndex:
    """Gives each call of one run its key. Used on the transport loop alone."""

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        self._model: weakref.ref[Any] | None = None
        self._outside: Counter[bytes] = Counter()
        self._by_agent: dict[int, dict[int, Counter[bytes]]] = {}
        """How often an agent has made each request, by agent and step."""

    def next(self, request: LLMRequest) -> CallKey:
        """The key of the call that is being made.

        Raises:
            ConfigurationError: if the request cannot be written as JSON.
            JournalError: if the call comes from a second model.
        """
        request_key, texts = texts_of(request)
        origin = request.call.origin
        if origin is None:
            requests = self._outside
            step, agent_id, call, model_step, agent_class = 0, OUTSIDE, requests.total() + 1, 0, ""
        else:
            self._check_model(origin.model)
            requests = self._requests_in(origin.agent_id, origin.step)
            step, agent_id, call = origin.step, origin.agent_id, origin.call
            model_step, agent_class = origin.model_step, origin.agent_class
        requests[request_key] += 1
        return CallKey(step, agent_id, request_key, requests[request_key], call, model_step, agent_class, texts)

    def _requests_in(self, agent_id: int, step: int) -> Counter[bytes]:
        steps = self._by_agent.setdefault(agent_id, {})
        if step not in steps:
            steps[step] = Counter()
            if len(steps) > _STEPS_KEPT:
                del steps[next(iter(steps))]
        return steps[step]

    def _check_model(self, model: Any) -> None:
        if self._model is None:
            self._model = weakref.ref(model)
        elif self._model() is not model:
            raise JournalError(
                f"Run {self._run!r} of {self._path} belongs to another {type(model).__name__}: two models in one run "
                "cannot be distinguished. Give each model a JournaledClient of its own; they may share the file."
            )
