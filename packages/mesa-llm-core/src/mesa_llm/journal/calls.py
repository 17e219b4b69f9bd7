"""The calls of a run: how they are written, found and read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from mesa_llm.clients import LLMResponse
from mesa_llm.journal.contents import digest_of, request_from
from mesa_llm.journal.outcomes import RecordedError, response_from_json
from mesa_llm.journal.places import OUTSIDE, Place
from mesa_llm.journal.runs import RunId
from mesa_llm.journal.writer import Write

type State = Literal["started", "answered", "failed", "cancelled"]

_KNOWN = 10_000
"""The most texts that are remembered as stored."""

_AT_PLACE = "run = ? AND step = ? AND agent_id = ? AND request_key = ? AND repeat = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A model call in a journal.

    Attributes:
        run: the name of its run.
        step: which step of agents of its model it belongs to; `None` outside of agents' steps.
        agent_id: the agent's `unique_id`; `None` outside of agents' steps.
        agent_class: the name of the agent's class.
        call: which call of the agent in this step it is, from 1.
        request_key: the request's digest, see `request_key`.
        request: the request, as JSON of the chat completions API.
        state: `answered`; `failed`; `cancelled` by the agent itself; or `started`: in flight when the run was broken
            off.
        response: the answer, if there is one.
        error: how it failed, if it did.
        started: when it was sent, in seconds since the epoch.
        duration: seconds until its outcome; `None` if there is none.
    """

    run: str
    step: int | None
    agent_id: int | None
    agent_class: str
    call: int
    request_key: str
    request: dict[str, Any]
    state: State
    response: LLMResponse | None
    error: RecordedError | None
    started: float
    duration: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the journal holds at a place.

    Attributes:
        number: the call's id in the database.
        state: see `RecordedCall`.
        duration: seconds until it came; `None` if there is none.
        text: the response or error, as JSON.
    """

    number: int
    state: State
    duration: float | None
    text: str | None


def at(run: RunId, place: Place) -> tuple[int, int, int, bytes, int]:
    """The values by which a call is found."""
    return run.number, place.step, place.agent_id, place.request_key, place.repeat


def begin(run: RunId, place: Place, known: set[bytes]) -> Write:
    """A write that notes that a call begins. What a broken run has left at its place is replaced.

    Args:
        run: the run.
        place: the call's place.
        known: digests of texts that are stored; added to.
    """
    started = time.time()

    def write(connection: sqlite3.Connection) -> None:
        texts = [(digest_of(text), text) for text in place.texts]
        new = [(digest, text) for digest, text in texts if digest not in known]
        if new:
            connection.executemany("INSERT INTO texts (digest, text) VALUES (?, ?) ON CONFLICT DO NOTHING", new)
            if len(known) > _KNOWN:
                known.clear()
            known.update(digest for digest, _ in new)
        connection.execute(
            "INSERT OR REPLACE INTO calls (run, step, agent_id, request_key, repeat, call, outermost_step, "
            "agent_class, request, state, started) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'started', ?)",
            (
                *at(run, place),
                place.call,
                place.outermost_step,
                place.agent_class,
                b"".join(digest for digest, _ in texts),
                started,
            ),
        )

    return write


def finish(run: RunId, place: Place, state: State, seconds: float, outcome: str | None = None) -> Write:
    """A write that notes what has come of a call."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            f"UPDATE calls SET state = ?, duration = ?, outcome = ? WHERE {_AT_PLACE}",
            (state, seconds, outcome, *at(run, place)),
        )

    return write


def forget(run: RunId, place: Place) -> Write:
    """A write that removes a call that came to nothing."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(f"DELETE FROM calls WHERE {_AT_PLACE}", at(run, place))

    return write


def find(connection: sqlite3.Connection, run: RunId, place: Place) -> Outcome | None:
    """What the journal holds at a place."""
    row = connection.execute(
        f"SELECT id, state, duration, outcome FROM calls WHERE {_AT_PLACE}", at(run, place)
    ).fetchone()
    return None if row is None else Outcome(*row)


def find_all(
    connection: sqlite3.Connection, run: RunId, step: int, *, at_most: int
) -> dict[tuple[int, bytes, int], Outcome]:
    """What the journal holds of a step of agents, by agent, request key and repeat; the first calls of it."""
    rows = connection.execute(
        "SELECT agent_id, request_key, repeat, id, state, duration, outcome FROM calls WHERE run = ? AND step = ? "
        "LIMIT ?",
        (run.number, step, at_most),
    ).fetchall()
    return {(agent_id, key, repeat): Outcome(*rest) for agent_id, key, repeat, *rest in rows}


def last_outermost_step(connection: sqlite3.Connection, run: RunId) -> int:
    """The last step of agents, not counting those within others, that has a call; 0 if none has."""
    # All calls of a step are within the same step, and a later step is never within an earlier one than this.
    query = "SELECT outermost_step FROM calls WHERE run = ? ORDER BY step DESC LIMIT 1"
    row = connection.execute(query, (run.number,)).fetchone()
    return 0 if row is None else int(row[0])


def steps_begun_after(connection: sqlite3.Connection, run: RunId, outcome: Outcome) -> bool:
    """Whether agents' steps have made calls since a call."""
    query = "SELECT EXISTS (SELECT 1 FROM calls WHERE run = ? AND id > ? AND step > ?)"
    (after,) = connection.execute(query, (run.number, outcome.number, OUTSIDE)).fetchone()
    return bool(after)


def texts_in(connection: sqlite3.Connection) -> Callable[[bytes], str]:
    """A function that gives a text for its digest, and keeps those that it has just given."""

    @lru_cache(maxsize=1000)
    def text(digest: bytes) -> str:
        (found,) = connection.execute("SELECT text FROM texts WHERE digest = ?", (digest,)).fetchone()
        return str(found)

    return text


def read_calls(connection: sqlite3.Connection, run: RunId) -> Iterator[RecordedCall]:
    """All calls of a run, in the order in which they began; one at a time is in memory."""
    look_up = texts_in(connection)
    rows = connection.execute(
        "SELECT step, agent_id, agent_class, call, request_key, request, state, outcome, started, duration "
        "FROM calls WHERE +run = ? ORDER BY id",  # the plus: by id, without sorting
        (run.number,),
    )
    for step, agent_id, agent_class, call, key, request, state, outcome, started, duration in rows:
        yield RecordedCall(
            run=run.name,
            step=None if step == OUTSIDE else step,
            agent_id=None if step == OUTSIDE else agent_id,
            agent_class=agent_class,
            call=call,
            request_key=key.hex(),
            request=request_from(request, look_up),
            state=state,
            response=response_from_json(outcome) if state == "answered" else None,
            error=RecordedError.from_json(outcome) if state == "failed" else None,
            started=started,
            duration=duration,
        )
