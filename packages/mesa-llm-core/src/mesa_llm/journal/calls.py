"""The calls of a run: how they are written, found and read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from mesa_llm.clients import LLMResponse
from mesa_llm.journal.contents import digest_of, request_from
from mesa_llm.journal.damage import damaged, decoded, reading
from mesa_llm.journal.outcomes import RecordedError, response_from_json
from mesa_llm.journal.places import OUTSIDE, Place, number_of_call
from mesa_llm.journal.runs import RunId
from mesa_llm.journal.schema import row_digest
from mesa_llm.journal.writer import Write

type State = Literal["started", "answered", "failed", "cancelled"]

type Key = tuple[int, int, bytes, int]
"""The identity of a call in its run: agent, step, request key, repeat."""

_KNOWN = 10_000
"""The most texts that are remembered as stored."""

_COLUMNS = (
    "run, step, agent_id, request_key, repeat, call, model_step, agent_class, request, "
    "state, started, duration, outcome"
)
_SELECT = f"SELECT id, {_COLUMNS}, digest FROM calls"
_BEGUN = (
    ":run, :step, :agent_id, :request_key, :repeat, :call, :model_step, :agent_class, :request, "
    "'started', :started, NULL, NULL"
)
_AT_PLACE = "run = :run AND step = :step AND agent_id = :agent_id AND request_key = :request_key AND repeat = :repeat"
_NEW = _COLUMNS.replace("state", ":state").replace("duration", ":duration").replace("outcome", ":outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A model call in a journal.

    Attributes:
        run: the name of its run.
        step: which of the agent's own steps it belongs to; `None` for a call that no agent makes. In runs of earlier
            versions, which step of a set of agents.
        model_step: the model's step, as `step_of` counts it.
        agent_id: the agent's `unique_id`; `None` for a call that no agent makes.
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
    model_step: int
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

    def response(self, run: RunId, call: object) -> LLMResponse:
        """The response of a call that was answered.

        Args:
            run: the run, for messages.
            call: names the call.

        Raises:
            JournalError: if it cannot be read.
        """
        return decoded(response_from_json, self.text, lambda: f"The answer to {call} in {run}")

    def error(self, run: RunId, call: object) -> RecordedError:
        """The error of a call that failed; `response` says the rest."""
        return decoded(RecordedError.from_json, self.text, lambda: f"The error of {call} in {run}")


def at(run: RunId, place: Place) -> dict[str, Any]:
    """The values by which a call is found."""
    return {
        "run": run.number,
        "step": place.step,
        "agent_id": place.agent_id,
        "request_key": place.request_key,
        "repeat": place.repeat,
    }


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
            f"INSERT OR REPLACE INTO calls ({_COLUMNS}, digest) VALUES ({_BEGUN}, row_digest({_BEGUN}))",
            at(run, place)
            | {
                "call": place.call,
                "model_step": place.model_step,
                "agent_class": place.agent_class,
                "request": b"".join(digest for digest, _ in texts),
                "started": started,
            },
        )

    return write


def finish(run: RunId, place: Place, state: State, seconds: float, outcome: str | None = None) -> Write:
    """A write that notes what has come of a call."""

    def write(connection: sqlite3.Connection) -> None:
        written = connection.execute(
            f"UPDATE calls SET state = :state, duration = :duration, outcome = :outcome, digest = row_digest({_NEW}) "
            f"WHERE {_AT_PLACE}",
            at(run, place) | {"state": state, "duration": seconds, "outcome": outcome},
        )
        if written.rowcount != 1:
            raise damaged(f"The {run}", f"the row of {place!s} is not there any more")

    return write


def forget(run: RunId, place: Place) -> Write:
    """A write that removes a call that came to nothing."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(f"DELETE FROM calls WHERE {_AT_PLACE}", at(run, place))

    return write


class _Row(NamedTuple):
    """A call as it is stored."""

    id: int
    run: int
    step: int
    agent_id: int
    request_key: bytes
    repeat: int
    call: int
    model_step: int
    agent_class: str
    request: bytes
    state: State
    started: float
    duration: float | None
    outcome: str | None
    digest: bytes | None

    @property
    def key(self) -> Key:
        """What the call is found by."""
        return self.agent_id, self.step, self.request_key, self.repeat

    @property
    def name(self) -> str:
        """The call as messages name it."""
        return f"call {number_of_call(self.step, self.agent_class, self.agent_id, self.call)}"


_TYPES = get_type_hints(_Row) | {"state": str}


def _checked(run: RunId, row: _Row) -> _Row:
    """A row, if it is what was written.

    Raises:
        JournalError: if it is not.
    """
    if (why := _what_is_wrong(row)) is not None:
        raise damaged(f"C{row.name[1:]} in {run}", f"row {row.id} of the table calls {why}")
    return row


def _what_is_wrong(row: _Row) -> str | None:
    """What shows that a row is damaged; of one of version 1, as far as its columns show it without a digest."""
    if row.digest is not None:
        return "does not match its digest" if row.digest != row_digest(*row[1:-1]) else None
    if row.state not in get_args(State.__value__):
        return f"has the state {row.state!r}"
    if row.state in {"answered", "failed"} and row.outcome is None:
        return "has no outcome"
    for name, value in zip(row._fields, row, strict=True):
        if not isinstance(value, _TYPES[name]):
            return f"has the {name} {value!r}"
    return None


def find(connection: sqlite3.Connection, run: RunId, place: Place) -> Outcome | None:
    """What the journal holds at a place.

    Raises:
        JournalError: if it is damaged.
    """
    stored = connection.execute(f"{_SELECT} WHERE {_AT_PLACE}", at(run, place)).fetchone()
    return None if stored is None else _outcome(_checked(run, _Row._make(stored)))


def find_nth(connection: sqlite3.Connection, run: RunId, place: Place, nth: int) -> Outcome | None:
    """The n-th of an agent's calls with the same request, whatever the step: how runs of version 1 are replayed.

    Raises:
        JournalError: if it is damaged.
    """
    query = f"{_SELECT} WHERE run = ? AND agent_id = ? AND request_key = ? ORDER BY step, repeat LIMIT 1 OFFSET ?"
    stored = connection.execute(query, (run.number, place.agent_id, place.request_key, nth - 1)).fetchone()
    return None if stored is None else _outcome(_checked(run, _Row._make(stored)))


def read_on(
    connection: sqlite3.Connection, run: RunId, after: int, *, at_most: int
) -> tuple[dict[Key, Outcome], int | None]:
    """The next calls of a run, in the order in which they began, but for damaged ones.

    Args:
        connection: to the journal.
        run: the run.
        after: the id of the call after which to begin.
        at_most: how many.

    Returns:
        The calls, and the id of the last one; `None` if there are no more.
    """
    query = f"{_SELECT} WHERE +run = ? AND id > ? ORDER BY id LIMIT ?"
    rows = [_Row._make(stored) for stored in connection.execute(query, (run.number, after, at_most))]
    return {row.key: _outcome(row) for row in rows if _what_is_wrong(row) is None}, rows[-1].id if rows else None


def check_all(connection: sqlite3.Connection, run: RunId) -> None:
    """Read all calls of a run.

    Raises:
        JournalError: if one of them is damaged.
    """
    for row in connection.execute(f"{_SELECT} WHERE +run = ? ORDER BY id", (run.number,)):
        _checked(run, _Row._make(row))


def _outcome(row: _Row) -> Outcome:
    return Outcome(row.id, row.state, row.duration, row.outcome)


def last_model_step(connection: sqlite3.Connection, run: RunId) -> int:
    """The last step of the model that has a call; 0 if none has."""
    query = "SELECT coalesce(max(model_step), 0) FROM calls NOT INDEXED WHERE run = ?"
    (last,) = connection.execute(query, (run.number,)).fetchone()
    return int(last)


def last_steps(connection: sqlite3.Connection, run: RunId) -> dict[int, int]:
    """The last of each agent's own steps that has a call, by the agent's id."""
    # Of the rows themselves: what a damaged index hides must not be asked again.
    query = "SELECT agent_id, max(step) FROM calls NOT INDEXED WHERE run = ? GROUP BY agent_id"
    return dict(connection.execute(query, (run.number,)))


def steps_begun_after(connection: sqlite3.Connection, run: RunId, outcome: Outcome) -> bool:
    """Whether agents have made calls since a call."""
    query = "SELECT EXISTS (SELECT 1 FROM calls WHERE run = ? AND id > ? AND agent_id > ?)"
    (after,) = connection.execute(query, (run.number, outcome.number, OUTSIDE)).fetchone()
    return bool(after)


def requests_in(connection: sqlite3.Connection, run: RunId) -> Callable[[bytes, str], dict[str, Any]]:
    """A function that gives a request for its stored digests, and keeps the texts that it has just read.

    It takes the name of the call too, for the `JournalError` that it raises if the request cannot be read.

    Args:
        connection: to the journal.
        run: the run, for messages.
    """

    @lru_cache(maxsize=1000)
    def text(digest: bytes) -> str:
        row = connection.execute("SELECT text FROM texts WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise LookupError("a text of it is missing")
        if not isinstance(row[0], str) or digest_of(row[0]) != digest:
            raise ValueError("a text of it does not match its digest")
        return row[0]

    def request(stored: bytes, call: str) -> dict[str, Any]:
        return decoded(lambda digests: request_from(digests, text), stored, lambda: f"The request of {call} in {run}")

    return request


def read_calls(connection: sqlite3.Connection, run: RunId) -> Iterator[RecordedCall]:
    """All calls of a run, in the order in which they began; one at a time is in memory.

    Raises:
        JournalError: if one of them is damaged.
    """
    with reading(f"The {run}"):
        connection.execute("BEGIN")  # both queries see the same calls
        (indexed,) = connection.execute("SELECT count(*) FROM calls WHERE run = ?", (run.number,)).fetchone()
        n_read = 0
        for call in _read_calls(connection, run):
            n_read += 1
            yield call
        if n_read != indexed:
            raise damaged(f"The {run}", f"{n_read} calls can be read, and its index has {indexed}")
        connection.execute("COMMIT")


def _read_calls(connection: sqlite3.Connection, run: RunId) -> Iterator[RecordedCall]:
    request_of = requests_in(connection, run)
    stored = connection.execute(f"{_SELECT} WHERE +run = ? ORDER BY id", (run.number,))  # the plus: without sorting
    for row in map(_Row._make, stored):
        _checked(run, row)
        outcome = _outcome(row)
        yield RecordedCall(
            run=run.name,
            step=None if row.agent_id == OUTSIDE else row.step,
            model_step=row.model_step,
            agent_id=None if row.agent_id == OUTSIDE else row.agent_id,
            agent_class=row.agent_class,
            call=row.call,
            request_key=row.request_key.hex(),
            request=request_of(row.request, row.name),
            state=row.state,
            response=outcome.response(run, row.name) if row.state == "answered" else None,
            error=outcome.error(run, row.name) if row.state == "failed" else None,
            started=row.started,
            duration=row.duration,
        )
