"""A client that records what another client answers, or answers in its place from the record."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse
from mesa_llm.concurrency import fork_safe_lock
from mesa_llm.errors import ConfigurationError, JournalError
from mesa_llm.errors.checks import check_word
from mesa_llm.journal.recording import Recording
from mesa_llm.journal.replay import Replay, Resumption
from mesa_llm.journal.schema import connect, sqlite_errors
from mesa_llm.journal.store import Run, create_run, find_run, names_of_runs

type JournalMode = Literal["record", "replay", "resume", "off"]
"""What a journal does with calls; see `JournaledClient`."""


class JournaledClient(AsyncClient):
    """Records each call and its outcome in a file, so that the run can be replayed, or resumed if it is interrupted.

    A call is identified by the agent, which of that agent's own steps it is, the request, and its number among equal
    requests of that step. So neither the order of the answers matters, nor who steps the agents: Mesa alone replays
    what was recorded in parallel, and the other way round, wherever the requests are the same.

    Put it around all other clients, so that it records the outcome of retries and limits.

    `record`
        asks the inner client, in a new run. An answer is on disk before the agent has it.
    `replay`
        asks no model. Failures and timeouts are raised again. A request that is not recorded raises a
        `JournalMissError`, which shows the nearest recorded request; a parallel step raises it whatever its `on_error`
        says.
    `resume`
        gives recorded answers, and asks the inner client from where the run was interrupted, in the same run. A call
        that was in flight is asked again. In a step that the model, or the agent, had left behind, a failure is raised
        again, and a request that is not recorded raises a `JournalMissError`, as in `replay`: the model has changed. In
        the last recorded step of the model both are asked.
    `off`
        asks the inner client, and touches no file.

    Outcomes are answers, errors of the model (`ModelCallError`, `DecisionError`) and of the system (`OSError`), and the
    timeout of a decision, at its last call. An exhausted budget, a wrong configuration and programming errors are not
    recorded. A call that its agent cancelled waits in a replay until it is cancelled again.

    A question asked off the record (see `consistency`) goes to the inner client and leaves no entry; a replay, which
    asks no model, raises a `JournalError`.

    A run belongs to one Mesa model. A copied or unpickled client, as a copied model has, and a client in a forked
    process record a run of their own, named after the first one: `1.1`, `1.2`. Replayed or resumed, the same copies
    find the same runs; a copy without a run of its own replays the first one.

    The file holds any number of runs, also from several processes at once; a run has one writer at a time. It is an
    SQLite database in WAL mode: recorded calls survive the end of the process, however it ends. Each row carries a
    digest; a row that does not match it raises a `JournalError`, and so does a file that cannot be read. Journals of
    versions without digests are read and replayed without this check.

    ```python
    from pathlib import Path
    from tempfile import mkdtemp

    from mesa_llm.clients import LLMRequest, Message
    from mesa_llm.journal import JournaledClient
    from mesa_llm.testing import ScriptedLLM

    path = Path(mkdtemp()) / "run.db"
    request = LLMRequest(model="openai/gpt-4o-mini", messages=(Message(role="user", content="What now?"),))
    with JournaledClient(ScriptedLLM("Rest."), path) as client:
        client.generate(request)
    with JournaledClient(None, path, mode="replay") as client:
        print(client.generate(request).message.content)
        #> Rest.
    ```

    Args:
        inner: the client that answers. `None` is enough in mode
            `replay`.
        path: the file; created in mode `record` if it does not exist.
        mode: see above.
        run: its name. By default a new number in mode `record`; otherwise the newest run that no copy has recorded.
        metadata: kept with a new run, as JSON: what is needed to build the model again, such as its seed.

    Raises:
        ConfigurationError: if mode, inner client, run or metadata cannot work.
        JournalError: if the file is not a journal, is damaged or cannot be used, or if the run is not in it, its name
            is taken, or another client writes it.
    """

    def __init__(
        self,
        inner: LLMClient | None,
        path: str | os.PathLike[str],
        *,
        mode: JournalMode = "record",
        run: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        check_word("mode", mode, get_args(JournalMode.__value__))
        if inner is None and mode != "replay":
            raise ConfigurationError(f"mode={mode!r} needs a client to ask, got None. Only mode='replay' needs none.")
        if run is not None and (not isinstance(run, str) or not run.strip()):
            raise ConfigurationError(f"run must be a name, got {run!r}. Use None for a new number, or the newest run.")
        self.inner = inner
        self.path = Path(path)
        self.mode = mode
        self._metadata = dict(metadata or {})
        self._runs: tuple[str, ...] = () if run is None else (run,)
        """The names of the run that was copied, of its copy, and so on to this run."""
        self._is_copy = False
        self._copies = 0
        self._is_closed = False
        self._session: Recording | Replay | None = None
        self._process = os.getpid()
        if mode != "off":
            self._session = self._open()

    @property
    def run(self) -> str | None:
        """The name of the run; `None` in mode `off`, and in a copy before its first call."""
        return self._session.run.name if self._session is not None else None

    @property
    def replayed(self) -> int:
        """How many calls have been answered from the journal. May be read from any thread."""
        return self._session.replayed if self._session is not None else 0

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request as the mode says. Runs on the transport loop.

        Raises:
            JournalMissError: if the request must be recorded, and is not.
            JournalError: if the journal is damaged, cannot be read or written, the call comes from a second model, or
                it is asked off the record in a replay.
            Exception: what the inner client raises.
        """
        return await self._answer(request, self.inner)

    async def _answer(self, request: LLMRequest, inner: LLMClient | None) -> LLMResponse:
        if self.mode == "replay" and request.call.off_record:
            raise JournalError(
                f"The journal {self.path} is replayed, and holds no answers to questions asked off the record "
                "(consistency). Ask with a client in mode 'record', 'resume' or 'off'."
            )
        if self.mode == "off" or request.call.off_record:
            assert inner is not None
            request.call.passed_journal |= self.mode != "off"
            return await inner.complete(request)
        return await self.session().complete(request, inner)

    def session(self) -> Recording | Replay:
        """The run as it is recorded or replayed; that of a copy begins now.

        Raises:
            JournalError: after `close`, or if the run of a copy cannot be used.
        """
        if self._is_closed:
            raise JournalError(f"The journal {self.path} was closed. Make a new client to go on.")
        if os.getpid() != self._process:
            self._become_copy_after_fork()
        if self._session is None:
            with _opening:
                self._session = self._session or self._open()
        return self._session

    def close(self) -> None:
        """Write what is left to write, and close the file. Calls after that are errors.

        Happens by itself when nothing refers to the client any more, and when the process ends.
        """
        self._is_closed = self.mode != "off"
        if self._session is not None:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _open(self) -> Recording | Replay:
        connection = connect(self.path, create=self.mode == "record", read_only=self.mode == "replay")
        with contextlib.closing(connection), sqlite_errors(f"The journal {self.path} cannot be used"):
            run, is_new = self._find_or_create(connection)
        if is_new or not self._is_copy:
            self._runs = (*self._runs[:-1], run.name)
        if self.mode == "replay":
            return Replay(self.path, run)
        return Recording(self.path, run) if is_new else Resumption(self.path, run)

    def _find_or_create(self, connection: sqlite3.Connection) -> tuple[Run, bool]:
        """The run, and whether it is new."""
        name = self._runs[-1] if self._runs else None
        if not self._is_copy:
            if self.mode != "record":
                return find_run(connection, self.path, name), False
            names = None if name is None else [name]
            return create_run(connection, self.path, names=names, metadata=self._metadata), True
        there = names_of_runs(connection)
        if self.mode == "replay":
            name = next((name for name in reversed(self._runs) if name in there), name)
        if self.mode == "replay" or (self.mode == "resume" and name in there):
            return find_run(connection, self.path, name), False
        *_, copied, name = self._runs
        return create_run(
            connection, self.path, names=_numbered_from(name), copy_of=copied, metadata=self._metadata
        ), True

    def _become_copy_after_fork(self) -> None:
        # Kept, not closed: connections and locks belong to the parent, and the writer's thread does not run here.
        _of_the_parent.append(self._session)
        vars(self).update(self._as_copy())

    def _as_copy(self) -> dict[str, object]:
        """The state of a copy."""
        self._copies += 1
        runs = (*self._runs, f"{self._runs[-1]}.{self._copies}") if self._runs else ()
        return vars(self) | {
            "_runs": runs,
            "_is_copy": True,
            "_copies": 0,
            "_is_closed": False,
            "_session": None,
            "_process": os.getpid(),
        }

    def __getstate__(self) -> dict[str, object]:
        return self._as_copy()

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state | {"_process": os.getpid()})


_DEEPEST = 20  # clients within clients
_opening = fork_safe_lock()  # protects that a copy begins one run, whichever thread is first
_of_the_parent: list[object] = []


class RunJournal(JournaledClient):
    """Records the model calls of one run, whichever clients its agents ask: each of them is wrapped, see `around`.

    Args:
        path: the file.
        mode: as of a `JournaledClient`.
        run: the name of the run.
        metadata: kept with a new run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["record", "replay", "resume"] = "record",
        run: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(self, path, mode=mode, run=run, metadata=metadata)
        self.inner = None
        self._around: dict[int, tuple[LLMClient, LLMClient]] = {}

    def around(self, client: LLMClient) -> LLMClient:
        """The client that asks `client` and records the outcome, or answers from the record: the same each time.

        A client whose calls pass this journal already, since one that it asks is wrapped, is returned as it is.
        """
        if id(client) not in self._around:
            # With the client, so that no other object gets its id.
            self._around[id(client)] = client, client if journal_of(client) is self else _Wrapped(self, client)
        return self._around[id(client)][1]

    def _as_copy(self) -> dict[str, object]:
        return super()._as_copy() | {"_around": {}}


class _Wrapped(AsyncClient):
    """A client whose calls a `RunJournal` records."""

    def __init__(self, journal: RunJournal, inner: LLMClient) -> None:
        self.journal = journal
        self.inner = inner

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request as the journal's mode says. Runs on the transport loop."""
        return await self.journal._answer(request, self.inner)


def journal_of(client: Any) -> JournaledClient | None:
    """The journal that a client's calls pass, the outermost one; `None` without one, and for one in mode `off`."""
    for _ in range(_DEEPEST):
        journal = client.journal if isinstance(client, _Wrapped) else client
        if isinstance(journal, JournaledClient) and journal.mode != "off":
            return journal
        client = getattr(client, "inner", None)
    return None


def _numbered_from(name: str) -> Iterator[str]:
    """A copy's name, and those with a higher number."""
    copied, _, number = name.rpartition(".")
    return (f"{copied}.{higher}" for higher in itertools.count(int(number)))
