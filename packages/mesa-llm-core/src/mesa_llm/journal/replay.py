"""Answers from the journal."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import weakref
from pathlib import Path

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import JournalError, JournalMissError
from mesa_llm.journal import calls
from mesa_llm.journal.calls import Outcome
from mesa_llm.journal.damage import decoded, reading
from mesa_llm.journal.nearest import told_as_missing
from mesa_llm.journal.outcomes import RecordedError
from mesa_llm.journal.places import OUTSIDE, Place, Places
from mesa_llm.journal.runs import RunId
from mesa_llm.journal.schema import connect

AHEAD = 5_000
"""The most calls of a step that are read ahead."""
STEPS_AHEAD = 4
"""How many steps are kept in memory: one, and those that agents make within it."""
GRACE = 5.0
"""Seconds by which a call that its agent has cancelled waits longer to be cancelled again."""


class Replay:
    """A run that is replayed: every call is answered from the journal, or is an error.

    Args:
        path: the journal.
        run: which run.
    """

    def __init__(self, path: Path, run: RunId) -> None:
        self.run = run
        self.places = Places(path, run.name)
        self.replayed = 0
        """How many calls have been answered from the journal, by an error if that was their outcome."""
        self._ahead: dict[int, dict[tuple[int, bytes, int], Outcome | JournalError]] = {}
        self._connection = connect(path, read_only=True)
        self._using = threading.Lock()  # protects _connection: it is closed on another thread than it is used on
        self._close = weakref.finalize(self, _close, self._connection, self._using, os.getpid())

    async def complete(self, request: LLMRequest, inner: LLMClient | None) -> LLMResponse:
        """Answer a call as it was answered. Runs on the transport loop; nobody is asked.

        Raises:
            JournalMissError: if it is not recorded, or has no outcome.
            JournalError: if what is recorded is damaged.
            Exception: the outcome, if it is an error.
        """
        place = self.places.next(request)
        outcome = self.find(place)
        if outcome is None:
            raise self.missed(place, request, None)
        return await self.again(place, request, outcome)

    def find(self, place: Place) -> Outcome | None:
        """What the journal holds at a place. Each place is looked up once.

        Raises:
            JournalError: if it is damaged, or is not found and another call of the step is damaged.
        """
        if place.step == OUTSIDE:
            return self._look_up(place)
        ahead = self._ahead.get(place.step)
        if ahead is None:
            ahead = self._read_ahead(place.step)
        key = place.agent_id, place.request_key, place.repeat
        found = ahead.get(key)
        if found is None and len(ahead) < AHEAD:  # it may be what a damaged row was before
            found = next((error for error in ahead.values() if isinstance(error, JournalError)), None)
        if isinstance(found, JournalError):
            raise JournalError(str(found))
        if found is not None or len(ahead) < AHEAD:
            return found
        return self._look_up(place)  # of a step with more calls than were read

    def _look_up(self, place: Place) -> Outcome | None:
        with self._using, reading(f"{place} in {self.run}"):
            return calls.find(self._connection, self.run, place)

    def _read_ahead(self, step: int) -> dict[tuple[int, bytes, int], Outcome | JournalError]:
        """All agents of a step ask at once: one look into the file for all of them, not one each."""
        with self._using, reading(f"Step {step} in {self.run}"):
            ahead = calls.find_all(self._connection, self.run, step, at_most=AHEAD)
        while len(self._ahead) >= STEPS_AHEAD:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[step] = ahead
        return ahead

    async def again(self, place: Place, request: LLMRequest, outcome: Outcome) -> LLMResponse:
        """What is recorded, once more.

        Raises:
            JournalMissError: if nothing has come of the call.
            JournalError: if what is recorded is damaged.
            Exception: the outcome, if it is an error.
        """
        if outcome.state == "answered":
            response = outcome.response(self.run, place)
            self.replayed += 1
            return response
        if outcome.state == "failed":
            recorded = outcome.error(self.run, place)
            error = decoded(RecordedError.exception, recorded, lambda: f"The error of {place} in {self.run}")
            self.replayed += 1
            raise error
        if outcome.state == "cancelled":  # the agent had a deadline of its own, or took another answer
            await asyncio.sleep((outcome.duration or 0) + GRACE)
        raise self.missed(place, request, outcome)

    def missed(self, place: Place, request: LLMRequest, outcome: Outcome | None) -> JournalMissError:
        """The error of a call that cannot be replayed."""
        state = outcome.state if outcome is not None else None
        with self._using, reading(f"{place} in {self.run}"):
            return JournalMissError(told_as_missing(self._connection, self.run, place, request, state))

    def last_step(self) -> int:
        """The last step that is recorded, not counting those within others."""
        with self._using, reading(f"The {self.run}"):
            return calls.last_outermost_step(self._connection, self.run)

    def went_on_after(self, outcome: Outcome) -> bool:
        """Whether agents' steps have made calls since a call."""
        with self._using, reading(f"The {self.run}"):
            return calls.steps_begun_after(self._connection, self.run, outcome)

    def close(self) -> None:
        """Close the file. A second time does nothing.

        Happens by itself when nobody refers to the replay any more, and when the process ends.
        """
        self._close()


def _close(connection: sqlite3.Connection, using: threading.Lock, process: int) -> None:
    if os.getpid() == process:  # a fork must not touch the connection
        with using:
            connection.close()
