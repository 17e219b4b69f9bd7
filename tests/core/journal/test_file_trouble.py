"""A journal of an earlier version, on a full disk, locked, where nothing can be written, or without its log."""

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from helpers.journals import REQUEST, Reporting, as_version_1, state_of
from helpers.speakers import digest

from mesa_llm.errors import JournalError, JournalMissError, RateLimitedError
from mesa_llm.journal import Journal, JournaledClient, schema, writer
from mesa_llm.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.0)


def simulate(client, steps=2):
    model = Reporting(2, client, parallel=False)
    for _ in range(steps):
        model.step()
    return state_of(model)


def record(path, **kwargs):
    with JournaledClient(ScriptedLLM(digest), path, **kwargs) as client:
        return simulate(client)


def execute(path, statement):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def test_a_journal_of_version_1_is_listed_and_replayed_and_stays_what_it_is(path):
    state = record(path, metadata={"seed": 7})
    listed, runs = list(Journal(path).calls()), Journal(path).runs()
    as_version_1(path)
    before = path.read_bytes()
    assert list(Journal(path).calls()) == listed
    assert Journal(path).runs() == runs
    assert len(Journal(path).to_dataframe()) == 4
    with JournaledClient(None, path, mode="replay") as client:
        assert simulate(client) == state
    assert path.read_bytes() == before


def test_a_run_of_version_1_is_replayed_in_either_regime(path):
    """Its steps are those of sets: what counts is which of an agent's equal requests it is."""
    state = record(path)
    as_version_1(path)
    execute(path, "UPDATE calls SET step = step * 10 + agent_id")
    with JournaledClient(None, path, mode="replay") as client:
        assert simulate(client) == state
        assert client.replayed == 4


@pytest.mark.parametrize("mode", ["record", "resume"])
def test_a_journal_of_version_1_is_not_written(path, mode):
    record(path)
    as_version_1(path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"run\.db was recorded by an earlier version, .* Record into another file"):
        JournaledClient(ScriptedLLM(digest), path, mode=mode)
    assert path.read_bytes() == before


BROKEN = {
    "outcome = substr(outcome, 1, 20)": r"The answer to .* in run '1' of .*run\.db is damaged: JSONDecodeError: .*\. Restore",
    "outcome = replace(outcome, 'usage', 'u')": "is damaged: KeyError: 'usage'",
    "outcome = 'null'": "The answer to .* is damaged: AttributeError",
    "state = 'failed'": "The error of .* is damaged: TypeError",
}


@pytest.mark.parametrize("change", BROKEN)
def test_damage_that_shows_without_a_digest(path, change):
    record(path)
    as_version_1(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE calls SET {change} WHERE id = 3")
    with (
        JournaledClient(None, path, mode="replay") as client,
        pytest.raises(JournalError, match=BROKEN[change]),
    ):
        simulate(client)
    with pytest.raises(JournalError, match=f"(?i){BROKEN[change]}"):
        list(Journal(path).calls())


def test_an_error_that_cannot_be_raised_again(path):
    with JournaledClient(ScriptedLLM(RateLimitedError("slow")), path) as client, pytest.raises(RateLimitedError):
        client.generate(REQUEST)
    as_version_1(path)
    execute(path, "UPDATE calls SET outcome = replace(outcome, 'is_transient', 'is')")
    with JournaledClient(None, path, mode="replay") as client:
        with pytest.raises(JournalError, match=r"The error of call 1 .* is damaged: TypeError"):
            client.generate(REQUEST)
        assert client.replayed == 0


@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        yield


OPENED = {
    "record": lambda path: JournaledClient(ScriptedLLM("hello"), path),
    "replay": lambda path: JournaledClient(None, path, mode="replay"),
    "resume": lambda path: JournaledClient(ScriptedLLM("hello"), path, mode="resume"),
    "calls": lambda path: list(Journal(path).calls()),
    "frame": lambda path: Journal(path).to_dataframe(),
    "runs": lambda path: Journal(path).runs(),
}


@pytest.mark.parametrize("use", OPENED)
def test_a_file_that_another_process_keeps_to_itself(path, use):
    record(path)
    with (
        locked(path),
        pytest.raises(JournalError, match=r"run\.db cannot be used .* locked\. Another process holds it: try"),
    ):
        OPENED[use](path)


def test_a_file_that_another_process_writes_for_too_long(path):
    record(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            JournalError, match=r"run\.db cannot be used: database is locked\. Another process holds it"
        ):
            JournaledClient(ScriptedLLM("hello"), path)


@pytest.fixture
def protected(monkeypatch):
    """A folder in which this process may read, and write only in a `with` of its own."""
    folder = Path(tempfile.mkdtemp())

    @contextlib.contextmanager
    def protect(*paths):
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        user = os.geteuid()
        if user == 0:  # whom no permission stops
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(user)
            for path in paths:
                path.chmod(0o755)

    folder.chmod(0o755)
    yield folder, protect
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
@pytest.mark.parametrize("use", OPENED)
def test_a_folder_that_nobody_may_write_to(protected, use):
    folder, protect = protected
    record(folder / "run.db")
    said = r"run\.db cannot be used .* Give another file, or a folder that can be written to"
    with protect(folder / "run.db", folder), pytest.raises(JournalError, match=said):
        OPENED[use](folder / "run.db")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_folder_that_nobody_may_look_into(protected):
    folder, protect = protected
    record(folder / "run.db")
    folder.chmod(0o000)
    try:
        with protect(), pytest.raises(JournalError, match=r"run\.db cannot be used as a journal: .*Permission denied"):
            Journal(folder / "run.db").runs()
    finally:
        folder.chmod(0o755)


def test_a_disk_that_is_full(path, monkeypatch):
    """What could not be recorded is not handed out, and what is recorded is replayed and resumed."""

    def connect(path, **kwargs):
        connection = schema.connect(path, **kwargs)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(writer, "connect", connect)
        client, answers = JournaledClient(ScriptedLLM(lambda request: "hello " * 300), path), []
        with pytest.raises(JournalError, match=r"run\.db cannot be written any more: .* full\. Free space on the disk"):
            answers.extend(map(client.generate, itertools.repeat(REQUEST)))
        client.close()
    assert answers
    with JournaledClient(ScriptedLLM("more"), path, mode="resume") as client:
        for _ in range(len(answers) + 1):
            last = client.generate(REQUEST)
        assert client.replayed == len(answers)
    assert last.message.content == "more"


def test_a_disk_that_is_full_before_there_is_a_journal(path, monkeypatch):
    monkeypatch.setattr(schema, "_TABLES", ("PRAGMA max_page_count = 2", *schema._TABLES))
    with pytest.raises(JournalError, match=r"run\.db cannot be used as a journal: .* full\. Free space on the disk"):
        record(path)


def cut(log):
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def flip(log):
    whole = bytearray(log.read_bytes())
    whole[len(whole) // 2] ^= 1
    log.write_bytes(whole)


@pytest.mark.parametrize("harm", [Path.unlink, cut, flip], ids=["missing", "cut off", "changed"])
@pytest.mark.parametrize("n_runs", [1, 2])
def test_a_write_ahead_log_that_is_damaged_takes_back_the_last_writes(tmp_path, path, harm, n_runs):
    """As a power failure does: the file is as it was a moment before, or is no journal yet."""
    for _ in range(n_runs - 1):
        record(path)
    copy = tmp_path / "copy" / "run.db"
    copy.parent.mkdir()
    with JournaledClient(ScriptedLLM(digest), path) as client:
        state = simulate(client)
        for name in ("run.db", "run.db-wal"):
            shutil.copy(path.with_name(name), copy.with_name(name))
        whole = list(Journal(path).calls())
    harm(copy.with_name("run.db-wal"))
    run = str(n_runs)
    if run not in [recorded.name for recorded in Journal(copy).runs()]:
        with pytest.raises(JournalError, match=rf"There is no run '{run}'|holds no runs"):
            JournaledClient(None, copy, mode="replay", run=run)
        return
    there = list(Journal(copy).calls(run))
    assert len(there) < len(whole)
    assert [call for call in there if call.state == "answered"] == whole[
        : sum(call.state == "answered" for call in there)
    ]
    with JournaledClient(None, copy, mode="replay", run=run) as client, pytest.raises(JournalMissError):
        simulate(client)
    with JournaledClient(ScriptedLLM(digest), copy, mode="resume", run=run) as client:
        assert simulate(client) == state
