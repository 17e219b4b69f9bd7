"""Gives each call its key, asks the inner client, and records the outcome before it hands it out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesa_llm.activation.call import AgentStep, ModelCall
from mesa_llm.activation.turn import Turn
from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import DecisionTimeoutError, JournalError
from mesa_llm.journal.serialization import RecordedError, response_to_json, texts_of
from mesa_llm.journal.steps import InterviewRow, StepRow
from mesa_llm.journal.store import OUTSIDE, CallKey, Run, Write, begin, finish, forget
from mesa_llm.journal.writer import Writer

_GRACE = 5.0
"""Seconds that calls which are being cancelled get to end before the file is closed."""
_STEPS_KEPT = 3
"""For how many of its own steps an agent's requests are counted: the last one, and steps that nest it."""


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
        """The key of the call that is being made. A `JournalError` if the call comes from a second model."""
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


@dataclass(slots=True)
class _CallsOfStep:
    """An agent's calls in one of its steps: how many are in flight, and the key of the last if it was answered."""

    in_flight: int = 0
    answered: CallKey | None = None


class Recording:
    """A run that is recorded. A `JournalError` if another client writes it."""

    replayed = 0

    def __init__(self, path: Path, run: Run) -> None:
        self.run = run
        self._index = CallIndex(path, run.name)
        self._writer = Writer(path, run)
        self._process = os.getpid()
        # Only begins the end, and waits for nothing: the garbage collector may interrupt any thread.
        self._end = weakref.finalize(self, _end, self._writer, self._process)
        self._known_texts: set[bytes] = set()  # used on the writer's thread alone
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._steps: weakref.WeakKeyDictionary[AgentStep, _CallsOfStep] = weakref.WeakKeyDictionary()

    async def complete(self, request: LLMRequest, inner: LLMClient | None) -> LLMResponse:
        """Have a call answered, and record it. Runs on the transport loop."""
        assert inner is not None
        return await self.ask(self._index.next(request), request, inner)

    async def ask(self, key: CallKey, request: LLMRequest, inner: LLMClient) -> LLMResponse:
        """Have the call with a key answered, and record it.

        The outcome is on disk before this returns or raises. If the timeout of the decision cancels the call, the
        timeout is its outcome; if the whole step is called off, the call has none.
        """
        turn = request.call.turn
        self._writer.put(begin(self.run, key, self._known_texts))
        calls = self._calls_of_step(request.call)
        calls.in_flight += 1
        self._tasks.add(task := asyncio.current_task())
        began = time.perf_counter()
        answered = None
        try:
            await asyncio.sleep(0)  # a call that was cancelled before it began ends here, and is not sent
            response = await self._asked(key, request, inner, began)
            answered = key
            return response
        except asyncio.CancelledError:
            self._cancelled(turn, key, time.perf_counter() - began)
            raise
        finally:
            calls.in_flight -= 1
            calls.answered = answered
            self._tasks.discard(task)

    async def _asked(self, key: CallKey, request: LLMRequest, inner: LLMClient, began: float) -> LLMResponse:
        try:
            known: LLMResponse | None = request.call.known  # asked ahead, and not recorded then
            response = await inner.complete(request) if known is None else known
        except Exception as error:
            seconds = time.perf_counter() - began
            if (recorded := RecordedError.of(error)) is None:
                self._writer.put(forget(self.run, key))
            else:
                await self._writer.write(finish(self.run, key, "failed", seconds, recorded.as_json()), request.call)
            raise
        seconds = time.perf_counter() - began
        await self._writer.write(finish(self.run, key, "answered", seconds, response_to_json(response)), request.call)
        return response

    def _cancelled(self, turn: Turn | None, key: CallKey, seconds: float) -> None:
        if turn is not None and isinstance(turn.error, DecisionTimeoutError):
            self._timed_out(key, turn.error, seconds)
        elif turn is not None and not turn.called_off:
            with contextlib.suppress(JournalError):
                self._writer.put(finish(self.run, key, "cancelled", seconds))

    def _timed_out(self, key: CallKey, error: DecisionTimeoutError, seconds: float = 0.0) -> None:
        recorded = RecordedError.of(error)
        assert recorded is not None
        with contextlib.suppress(JournalError):  # the file is closed, or cannot be written: no call waits for this
            self._writer.put(finish(self.run, key, "failed", seconds, recorded.as_json()))

    def _calls_of_step(self, call: ModelCall) -> _CallsOfStep:
        """The calls of a call's agent in its step, which from now on is watched for a late timeout.

        Most timeouts cancel the call for which the agent waits. One that finds no call in flight comes after an answer
        that is recorded already, and replaces it: otherwise a replay would let the agent decide.
        """
        agent_step = call.agent_step
        if agent_step is None:
            return _CallsOfStep()
        if agent_step not in self._steps:
            calls = self._steps[agent_step] = _CallsOfStep()
            agent_step.on_timeout(lambda error: transport_loop.get().submit(self._late_timeout(calls, error)))
        return self._steps[agent_step]

    async def _late_timeout(self, calls: _CallsOfStep, error: DecisionTimeoutError) -> None:
        if calls.answered is not None and not calls.in_flight:  # a call in flight is cancelled, and records this itself
            self._timed_out(calls.answered, error)

    def put(self, write: Write) -> None:
        """Write something of the run that is no call, after all that was put before. Raises as `Writer.put`."""
        self._writer.put(write)

    def drain(self) -> None:
        """Wait until all that was put is in the file. Raises as `Writer.put`."""
        self._writer.drain()

    def at_end(self, write: Write) -> None:
        """Write something when the run is released, however that happens; the last one given counts."""
        self._writer.last_write = write

    def recorded_step(self, step: int) -> StepRow | None:
        """The step of the model as it was recorded before: of a new run, none is."""
        return None

    def recorded_interview(self, step: int, agent_id: int, question: str) -> InterviewRow | None:
        """The recorded answer of an agent to a question off the record; a new run has no such answer."""
        return None

    def close(self) -> None:
        """Write what is left to write, and release the run. A second time does nothing. Raises as `Writer.close`."""
        if os.getpid() != self._process:  # a fork has neither the thread nor the lock
            return
        if self._end.detach() is not None and not transport_loop.is_running_here():
            transport_loop.get().submit(self._end_cancelled_calls()).result()
        self._writer.close()

    async def _end_cancelled_calls(self) -> None:
        """Let calls that are being cancelled record their outcome."""
        cancelled = [task for task in self._tasks if task is not None and task.cancelling()]
        if cancelled:
            await asyncio.wait(cancelled, timeout=_GRACE)


def _end(writer: Writer, process: int) -> None:
    if os.getpid() == process:
        writer.end()
