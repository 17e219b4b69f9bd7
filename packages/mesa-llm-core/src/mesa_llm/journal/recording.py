"""Asks, and records what comes of it before it is handed out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import weakref
from pathlib import Path
from typing import Any

from mesa_llm.activation.turn import Turn
from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import DecisionTimeoutError, JournalError
from mesa_llm.journal.calls import begin, finish, forget
from mesa_llm.journal.outcomes import RecordedError, response_to_json
from mesa_llm.journal.places import Place, Places
from mesa_llm.journal.run_lock import RunLock
from mesa_llm.journal.runs import RunId, remove_if_empty
from mesa_llm.journal.schema import connect
from mesa_llm.journal.timeouts import LateTimeouts
from mesa_llm.journal.writer import Writer

_GRACE = 5.0
"""Seconds that calls which are being cancelled get to end before the file is closed."""


class Recording:
    """A run that is recorded.

    Args:
        path: the journal.
        run: which run.

    Raises:
        JournalError: if somebody else writes the run.
    """

    replayed = 0

    def __init__(self, path: Path, run: RunId) -> None:
        self.run = run
        self.places = Places(path, run.name)
        lock = RunLock(path, run.number, run.name)
        try:
            connection = connect(path)
        except BaseException:
            lock.release()
            raise
        self._writer = Writer(
            path,
            connection,
            last=lambda connection: remove_if_empty(connection, run),
            on_end=lock.release,
        )
        self._process = os.getpid()
        # Only begins the end, and waits for nothing: the garbage collector interrupts whoever it finds at work.
        self._end = weakref.finalize(self, _end, self._writer, self._process)
        self._known_texts: set[bytes] = set()  # used on the writer's thread alone
        self._timeouts = LateTimeouts(self._timed_out)
        self._tasks: set[asyncio.Task[Any] | None] = set()

    async def complete(self, request: LLMRequest, inner: LLMClient) -> LLMResponse:
        """Have a call answered, and record it. Runs on the transport loop."""
        return await self.ask(self.places.next(request), request, inner)

    async def ask(self, place: Place, request: LLMRequest, inner: LLMClient) -> LLMResponse:
        """Have the call at a place answered, and record it.

        That it begins is recorded too, without waiting for it. Its outcome is on disk before anybody has it.
        Cancelled by a decision's timeout, that is its outcome; when the whole step is called off, it has none.

        Raises:
            Exception: what the inner client raises.
            JournalError: if the journal cannot be written.
        """
        turn = request.call.turn
        self._writer.put(begin(self.run, place, self._known_texts))
        self._timeouts.begins(request.call)
        self._tasks.add(task := asyncio.current_task())
        began = time.perf_counter()
        answered = None
        try:
            await asyncio.sleep(0)  # a call that was cancelled before it began ends here, and nobody is asked
            response = await self._asked(place, request, inner, began)
            answered = place
            return response
        except asyncio.CancelledError:
            self._cancelled(turn, place, time.perf_counter() - began)
            raise
        finally:
            self._timeouts.ends(request.call, answered)
            self._tasks.discard(task)

    async def _asked(self, place: Place, request: LLMRequest, inner: LLMClient, began: float) -> LLMResponse:
        try:
            response = await inner.complete(request)
        except Exception as error:
            seconds = time.perf_counter() - began
            recorded = RecordedError.of(error)
            if recorded is None:
                self._writer.put(forget(self.run, place))
            else:
                await self._writer.write(finish(self.run, place, "failed", seconds, recorded.as_json()), request.call)
            raise
        seconds = time.perf_counter() - began
        await self._writer.write(finish(self.run, place, "answered", seconds, response_to_json(response)), request.call)
        return response

    def _cancelled(self, turn: Turn | None, place: Place, seconds: float) -> None:
        if turn is not None and isinstance(turn.error, DecisionTimeoutError):
            self._timed_out(place, turn.error, seconds)
        elif turn is not None and not turn.called_off:
            with contextlib.suppress(JournalError):
                self._writer.put(finish(self.run, place, "cancelled", seconds))

    def _timed_out(self, place: Place, error: DecisionTimeoutError, seconds: float = 0.0) -> None:
        recorded = RecordedError.of(error)
        assert recorded is not None
        with contextlib.suppress(JournalError):  # the file is closed, or broken: nobody waits for this
            self._writer.put(finish(self.run, place, "failed", seconds, recorded.as_json()))

    def close(self) -> None:
        """Write what is left to write, and let others write the run. A second time does nothing.

        Happens by itself when nobody refers to the recording any more, and when the process ends.

        Raises:
            JournalError: if something could not be written, and no call has said so.
        """
        if os.getpid() != self._process:  # a fork has neither the thread nor the lock
            return
        if self._end.detach() is not None and not transport_loop.is_running_here():
            transport_loop.submit(self._end_cancelled_calls()).result()
        self._writer.close()

    async def _end_cancelled_calls(self) -> None:
        """Let calls that are being cancelled note what has become of them."""
        cancelled = [task for task in self._tasks if task is not None and task.cancelling()]
        if cancelled:
            await asyncio.wait(cancelled, timeout=_GRACE)


def _end(writer: Writer, process: int) -> None:
    if os.getpid() == process:
        writer.end()
