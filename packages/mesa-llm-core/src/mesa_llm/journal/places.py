"""Where in a run a call belongs: what it is found by when the run is replayed."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesa_llm.activation import Activation, current_activation, current_origin
from mesa_llm.clients import LLMRequest
from mesa_llm.errors import JournalError
from mesa_llm.journal.contents import contents_of

OUTSIDE = 0
"""Stands for step and agent of a call that no agent makes in its step; those are counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One call's place in a run.

    Attributes:
        step: which step of agents of the model it is, see `CallOrigin`; 0 outside of agents' steps.
        agent_id: the agent's `unique_id`; 0 outside.
        request_key: digest of the request.
        texts: the request as it is stored, see `Contents`.
        repeat: of equal requests that the agent makes in this step, which one; from 1.
        call: of all calls of the agent in this step, which one; from 1. Of calls made side by side the number depends
            on which comes first, so it is not what a call is found by.
        outermost_step: the step within which this one is made; itself, unless an agent steps others while it acts.
        agent_class: the name of the agent's class.
    """

    step: int
    agent_id: int
    request_key: bytes
    texts: tuple[str, ...]
    repeat: int
    call: int
    outermost_step: int
    agent_class: str

    def __str__(self) -> str:
        nth = f" (equal request number {self.repeat})" if self.repeat > 1 else ""
        return f"Call {number_of_call(self.step, self.agent_class, self.agent_id, self.call)}{nth}"


def number_of_call(step: int, agent_class: str, agent_id: int, call: int) -> str:
    """A call as messages name it, after the word."""
    if step == OUTSIDE:
        return f"{call} outside of agents' steps"
    return f"{call} of {agent_class} {agent_id} in step {step}"


class _Requests(Counter[tuple[int, bytes]]):
    """How often each agent has made each request in one step; can be referenced weakly."""


class Places:
    """Gives each call of one run its place. Used on the transport loop alone.

    Args:
        path: the journal, for messages.
        run: the run's name, for messages.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        self._model: weakref.ref[Any] | None = None
        self._outside = _Requests()
        # A step is forgotten when no agent is left that could ask in it: its activations keep its counts.
        self._by_step: weakref.WeakValueDictionary[int, _Requests] = weakref.WeakValueDictionary()
        self._by_activation: weakref.WeakKeyDictionary[Activation, _Requests] = weakref.WeakKeyDictionary()

    def next(self, request: LLMRequest) -> Place:
        """The place of the call that is being made.

        Raises:
            ConfigurationError: if the request has no form in JSON.
            JournalError: if the call comes from another model than those before.
        """
        contents = contents_of(request)
        key = contents.key
        origin = current_origin()
        if origin is None:
            return Place(
                step=OUTSIDE,
                agent_id=OUTSIDE,
                request_key=key,
                texts=contents.texts,
                repeat=_counted(self._outside, OUTSIDE, key),
                call=self._outside.total(),
                outermost_step=OUTSIDE,
                agent_class="",
            )
        self._check_model(origin.model)
        return Place(
            step=origin.step,
            agent_id=origin.agent_id,
            request_key=key,
            texts=contents.texts,
            repeat=_counted(self._requests_in(origin.step), origin.agent_id, key),
            call=origin.call,
            outermost_step=origin.outermost_step,
            agent_class=origin.agent_class,
        )

    def _requests_in(self, step: int) -> _Requests:
        activation = current_activation()
        requests = self._by_step.get(step)
        if requests is None:
            requests = self._by_step[step] = _Requests()
        if activation is not None:
            self._by_activation[activation] = requests
        return requests

    def _check_model(self, model: Any) -> None:
        if self._model is None:
            self._model = weakref.ref(model)
        elif self._model() is not model:
            raise JournalError(
                f"Run {self._run!r} of {self._path} belongs to another {type(model).__name__}: two models in one run "
                "could not be told apart. Give each model a JournaledClient of its own; they may share the file."
            )


def _counted(requests: _Requests, agent_id: int, key: bytes) -> int:
    requests[agent_id, key] += 1
    return requests[agent_id, key]
