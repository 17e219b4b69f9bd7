"""Answers from the journal."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import weakref
from collections import Counter
from pathlib import Path

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import JournalMissError
from mesa_llm.journal import calls
from mesa_llm.journal.calls import Key, Outcome
from mesa_llm.journal.damage import decoded, reading
from mesa_llm.journal.nearest import told_as_missing
from mesa_llm.journal.outcomes import RecordedError
from mesa_llm.journal.places import Place, Places
from mesa_llm.journal.runs import RunId
from mesa_llm.journal.schema import connect

AHEAD = 1_000
"""How many calls are read ahead at once: they are replayed in about the order in which they were recorded."""
_MOST_AHEAD = 20 * AHEAD
"""The most calls that are kept in memory."""
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
        self._ahead: dict[Key, Outcome] = {}
        self._read_up_to: int | None = 0
        """The id of the last call that was read ahead; `None` when all have been."""
        self._equal: Counter[tuple[int, bytes]] = Counter()
        """How often each agent has made each request, in a run of an earlier version."""
        self._is_sound = False
        """Whether all calls of the run have been read, and none is damaged."""
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
            JournalError: if it is damaged, or is not found and another call of the run is damaged.
        """
        with self._using, reading(f"{place} in {self.run}"):
            if self.run.is_old:
                self._equal[place.agent_id, place.request_key] += 1
                nth = self._equal[place.agent_id, place.request_key]
                found = calls.find_nth(self._connection, self.run, place, nth)
            else:
                found = self._ahead.pop(place.key, None) or self._read_on(place)
            if found is None and not self._is_sound:  # it may be what a damaged row was before
                calls.check_all(self._connection, self.run)
                self._is_sound = True
        return found

    def _read_on(self, place: Place) -> Outcome | None:
        """All agents of a step ask at once: one look into the file for many of them, not one each."""
        if self._read_up_to is not None:
            read, self._read_up_to = calls.read_on(self._connection, self.run, self._read_up_to, at_most=AHEAD)
            self._ahead.update(read)
            while len(self._ahead) > _MOST_AHEAD:
                del self._ahead[next(iter(self._ahead))]
        return self._ahead.pop(place.key, None) or calls.find(self._connection, self.run, place)

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

    def last_steps(self) -> tuple[int, dict[int, int]]:
        """The last step of the model that is recorded, and by the agents' ids the last of each one's own steps."""
        with self._using, reading(f"The {self.run}"):
            last = calls.last_model_step(self._connection, self.run)
            return last, calls.last_steps(self._connection, self.run)

    def went_on_after(self, outcome: Outcome) -> bool:
        """Whether agents have made calls since a call."""
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
