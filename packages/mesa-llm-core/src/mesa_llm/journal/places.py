"""Where in a run a call belongs: what it is found by when the run is replayed."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesa_llm.activation.call import AgentStep
from mesa_llm.clients import LLMRequest
from mesa_llm.errors import JournalError
from mesa_llm.journal.contents import contents_of

OUTSIDE = 0
"""Stands for the agent of a call that no agent makes; agents are counted from 1."""
_STEPS_KEPT = 3
"""Of how many of its own steps an agent's requests are counted: the last, and those within which it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One call's place in a run.

    Attributes:
        step: which of the agent's own steps it is, see `CallOrigin`; 0 before the first, and without an agent.
        agent_id: the agent's `unique_id`; 0 without an agent.
        request_key: digest of the request.
        texts: the request as it is stored, see `Contents`.
        repeat: of equal requests that the agent makes in this step, which one; from 1.
        call: of all calls of the agent in this step, which one; from 1. Of calls made side by side the number depends
            on which comes first, so it is not what a call is found by.
        model_step: the model's step; not part of what a call is found by.
        agent_class: the name of the agent's class.
    """

    step: int
    agent_id: int
    request_key: bytes
    texts: tuple[str, ...]
    repeat: int
    call: int
    model_step: int
    agent_class: str

    @property
    def key(self) -> tuple[int, int, bytes, int]:
        """What the call is found by."""
        return self.agent_id, self.step, self.request_key, self.repeat

    def __str__(self) -> str:
        nth = f" (equal request number {self.repeat})" if self.repeat > 1 else ""
        return f"Call {number_of_call(self.step, self.agent_class, self.agent_id, self.call)}{nth}"


def number_of_call(step: int, agent_class: str, agent_id: int, call: int) -> str:
    """A call as messages name it, after the word."""
    if agent_id == OUTSIDE:
        return f"{call} outside of agents' steps"
    return f"{call} of {agent_class} {agent_id} in step {step}"


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
        self._outside: Counter[bytes] = Counter()
        # How often each agent has made each request, in the last of its own steps.
        self._by_agent: weakref.WeakKeyDictionary[Any, dict[int, Counter[bytes]]] = weakref.WeakKeyDictionary()

    def next(self, request: LLMRequest) -> Place:
        """The place of the call that is being made.

        Raises:
            ConfigurationError: if the request has no form in JSON.
            JournalError: if the call comes from another model than those before.
        """
        contents = contents_of(request)
        key = contents.key
        origin, agent_step = request.call.origin, request.call.agent_step
        if origin is None or agent_step is None:
            self._outside[key] += 1
            return Place(
                step=OUTSIDE,
                agent_id=OUTSIDE,
                request_key=key,
                texts=contents.texts,
                repeat=self._outside[key],
                call=self._outside.total(),
                model_step=OUTSIDE,
                agent_class="",
            )
        self._check_model(origin.model)
        requests = self._requests_of(agent_step)
        requests[key] += 1
        return Place(
            step=origin.step,
            agent_id=origin.agent_id,
            request_key=key,
            texts=contents.texts,
            repeat=requests[key],
            call=origin.call,
            model_step=origin.model_step,
            agent_class=origin.agent_class,
        )

    def _requests_of(self, agent_step: AgentStep) -> Counter[bytes]:
        of_agent = self._by_agent.setdefault(agent_step.agent, {})
        requests = of_agent.get(agent_step.index)
        if requests is None:
            requests = of_agent[agent_step.index] = Counter()
            if len(of_agent) > _STEPS_KEPT:
                del of_agent[min(of_agent)]
        return requests

    def _check_model(self, model: Any) -> None:
        if self._model is None:
            self._model = weakref.ref(model)
        elif self._model() is not model:
            raise JournalError(
                f"Run {self._run!r} of {self._path} belongs to another {type(model).__name__}: two models in one run "
                "could not be told apart. Give each model a JournaledClient of its own; they may share the file."
            )
