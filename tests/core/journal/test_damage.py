"""A damaged journal gives what was recorded or a `JournalError`, never another answer and never another error."""

import asyncio
import contextlib
import re
import sqlite3
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.journals import REQUEST, Reporting, state_of
from helpers.speakers import digest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesa_llm.errors import JournalError
from mesa_llm.journal import Journal, JournaledClient, recording, schema, store, writer
from mesa_llm.journal import replay as replay_module
from mesa_llm.testing import ScriptedLLM

STEPS = 2
"""Of two agents that nobody runs in parallel: four calls, in the journal's steps 1 to 4."""


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.0)


def simulate(client):
    model = Reporting(2, client, parallel=False)
    for _ in range(STEPS):
        model.step()
    return state_of(model)


def record(path):
    """A new run in the same file, and its replay."""
    with JournaledClient(ScriptedLLM(digest), path) as client:
        simulate(client)
    with JournaledClient(None, path, mode="replay", run=client.run) as client:
        return simulate(client)


def replay(path):
    with JournaledClient(None, path, mode="replay", run="1") as client:
        return simulate(client)


def resume(path):
    with JournaledClient(ScriptedLLM(digest), path, mode="resume", run="1") as client:
        return simulate(client)


def read_calls(path):
    return list(Journal(path).calls("1"))


def read_run(path):
    run = Journal(path).run("1")
    return run.name, run.started, run.metadata, run.copy_of


def read_runs(path):
    return [(run.name, run.started, run.metadata, run.copy_of) for run in Journal(path).runs()]


USES = (record, replay, resume, read_calls, read_run, read_runs)


def the_journal(path):
    """Two runs: one that everything is asked of, and another."""
    with JournaledClient(ScriptedLLM(digest), path, metadata={"seed": 7}) as client:
        simulate(client)
    with JournaledClient(ScriptedLLM("other answers"), path, run="other") as client:
        simulate(client)


class Recorded:
    """A journal as a file, its copies, and what each use of it gives."""

    def __init__(self, folder):
        self.path = folder / "run.db"
        the_journal(self.path)
        self.whole = self.path.read_bytes()
        self.expected = {use: self.used(use, self.whole) for use in USES}

    def used(self, use, contents):
        self.write(contents)
        return use(self.path)

    def write(self, contents):
        for file in self.path.parent.glob("*"):
            file.unlink()
        self.path.write_bytes(contents)

    def is_noticed(self, use):
        """Whether a use of the file raises; otherwise it must give what it gave when the file was whole."""
        try:
            got = use(self.path)
        except JournalError as error:
            return str(error)
        assert got == self.expected[use]
        return None


@pytest.fixture(scope="module")
def recorded():
    """With a clock that stands still: the bytes of the file are the same in each run of the tests."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for module in (store, recording):
            patch.setattr(module, "time", SimpleNamespace(time=lambda: 1.5e9, perf_counter=lambda: 0.0))
        yield Recorded(Path(folder))


def sql(*statements):
    """Damage that is done by SQL, to the file on its own."""

    def damage(path):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")  # so that NOT NULL can be taken from a column
            for statement in statements:
                connection.execute(statement)

    return damage


def nullable(table, column, condition):
    """A column that is NULL where it must not be."""
    return sql(
        f"UPDATE sqlite_master SET sql = replace(sql, '{column} TEXT NOT NULL', '{column} TEXT') WHERE name = '{table}'",
        "PRAGMA schema_version = 1000",
        f"UPDATE {table} SET {column} = NULL WHERE {condition}",
    )


def contents(change):
    def damage(path):
        path.write_bytes(change(path.read_bytes()))

    return damage


def zeros_in(table):
    """The page where a table begins."""

    def damage(path):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        whole = path.read_bytes()
        path.write_bytes(whole[: (page - 1) * size] + bytes(size) + whole[page * size :])

    return damage


ANSWERS = (replay, resume, read_calls)
FILE = USES
SWAPPED = (
    "UPDATE calls SET {column} = (SELECT {column} FROM calls AS other WHERE other.id = 5 - calls.id) WHERE id IN (2, 3)"
)
A_CALL = r"Call 1 of Speaker \d in step \d in run '1' of .*run\.db is damaged: row \d of the table calls does not match"
AWAY = r"Restore the file from a copy, or record the run again\."
DAMAGES = {
    "JSON broken": (sql("UPDATE calls SET outcome = substr(outcome, 1, 20) WHERE id = 3"), ANSWERS, A_CALL),
    "key missing": (sql("UPDATE calls SET outcome = replace(outcome, 'usage', 'u') WHERE id = 3"), ANSWERS, A_CALL),
    "outcome NULL": (sql("UPDATE calls SET outcome = NULL WHERE id = 3"), ANSWERS, A_CALL),
    "one letter of an answer": (
        sql('UPDATE calls SET outcome = replace(outcome, \'"content": "\', \'"content": "x\') WHERE id = 3'),
        ANSWERS,
        A_CALL,
    ),
    "outcome a BLOB": (sql("UPDATE calls SET outcome = CAST(outcome AS BLOB) WHERE id = 3"), ANSWERS, A_CALL),
    "outcome a number": (sql("UPDATE calls SET outcome = CAST(5 AS BLOB) WHERE id = 3"), ANSWERS, A_CALL),
    "outcome not UTF-8": (sql("UPDATE calls SET outcome = CAST(x'22ff22' AS TEXT) WHERE id = 3"), ANSWERS, A_CALL),
    "state": (sql("UPDATE calls SET state = 'started' WHERE id = 3"), ANSWERS, A_CALL),
    "duration": (sql("UPDATE calls SET duration = duration + 1 WHERE id = 3"), ANSWERS, A_CALL),
    "agent": (sql("UPDATE calls SET agent_id = 9 WHERE id = 3"), ANSWERS, "does not match its digest"),
    "step of the model": (sql("UPDATE calls SET model_step = 1 WHERE id = 4"), ANSWERS, "does not match its digest"),
    "outcomes swapped": (sql(SWAPPED.format(column="outcome")), ANSWERS, A_CALL),
    "outcomes swapped, with their digests": (
        sql(SWAPPED.format(column="outcome"), SWAPPED.format(column="digest")),
        ANSWERS,
        A_CALL,
    ),
    "an answer of the other run": (
        sql("UPDATE calls SET (outcome, digest) = (SELECT outcome, digest FROM calls WHERE id = 7) WHERE id = 3"),
        ANSWERS,
        A_CALL,
    ),
    "row of a call deleted": (sql("DELETE FROM calls WHERE id = 1"), (replay, resume), "is not recorded in run '1' of"),
    "row of the run deleted": (
        sql("DELETE FROM runs WHERE id = 1"),
        (replay, resume, read_calls, read_run, read_runs),
        r"run\.db is damaged: the row of run number 1 is missing, and 4 calls of it are there\. Restore",
    ),
    "rows of all runs deleted": (
        sql("DELETE FROM runs"),
        (replay, resume, read_calls, read_run, read_runs),
        "the row of run number 1 is missing",
    ),
    "metadata of the run": (
        sql("UPDATE runs SET metadata = replace(metadata, '7', '8') WHERE id = 1"),
        (replay, resume, read_calls, read_run, read_runs),
        r"The run '1' of .*run\.db is damaged: row 1 of the table runs does not match its digest\. Restore",
    ),
    "text of a request deleted": (
        sql("DELETE FROM texts WHERE id > 1"),
        (read_calls,),
        r"The request of call 1 of Speaker \d in step 1 in run '1' of .*run\.db is damaged: .* a text of it is missing",
    ),
    "text of a request changed": (
        sql("UPDATE texts SET text = replace(text, 'step', 'stop')"),
        (read_calls,),
        "The request of call 1 .* a text of it does not match its digest",
    ),
    "text of a request NULL": (
        nullable("texts", "text", "id > 1"),
        (read_calls,),
        "The request of call 1 .* a text of it does not match its digest",
    ),
    "name of the run NULL": (
        nullable("runs", "name", "id = 1"),
        (replay, resume, read_calls, read_run, read_runs),
        "The run None of .* does not match its digest",
    ),
    "table runs missing": (
        sql("DROP TABLE runs"),
        FILE,
        rf"run\.db is damaged: its table runs has no column copy_of.*\. {AWAY}",
    ),
    "table texts missing": (sql("DROP TABLE texts"), FILE, "its table texts has no column digest"),
    "table calls missing": (sql("DROP TABLE calls"), FILE, "its table calls has no column agent_class"),
    "column missing": (
        sql("ALTER TABLE calls RENAME COLUMN outcome TO income"),
        FILE,
        rf"is damaged: its table calls has no column outcome, or one of another type\. {AWAY}",
    ),
    "key of a table no key": (
        contents(lambda whole: whole.replace(b"id INTEGER PRIMARY KEY", b"id INTEGEX PRIMARY KEY")),
        FILE,
        "its table calls has no column id, or one of another type",
    ),
    "later version": (sql("PRAGMA user_version = 4"), FILE, "was written by a later .* Upgrade mesa-llm-core"),
    "no version": (sql("PRAGMA user_version = 0"), FILE, "is damaged: its tables have version 0"),
    "earlier version than it is": (
        sql("PRAGMA user_version = 1"),
        FILE,
        "no such column: outermost_step|recorded by an earlier version",
    ),
    "page of calls all zeros": (zeros_in("calls"), (record, *ANSWERS), rf"database disk image is malformed\. {AWAY}"),
    "page of runs all zeros": (
        zeros_in("runs"),
        FILE,
        rf"The journal .*run\.db cannot be used: database disk image is malformed\. {AWAY}",
    ),
    "page of the index all zeros": (zeros_in("sqlite_autoindex_calls_1"), (record, read_runs), "malformed"),
    "header all zeros": (
        contents(lambda whole: bytes(100) + whole[100:]),
        FILE,
        "file is not a database. Give another",
    ),
    "first half": (contents(lambda whole: whole[: len(whole) // 2]), FILE, "malformed"),
    "first bytes": (contents(lambda whole: whole[:50]), FILE, rf"malformed\. {AWAY}"),
    "another kind of file": (contents(lambda whole: b"Dear diary, " * 1000), FILE, "file is not a database"),
    "empty": (
        contents(lambda whole: b""),
        (replay, resume, read_calls, read_run, read_runs),
        r"run\.db is empty\. Record a run first, or restore the file from a copy\.",
    ),
}


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed_where_it_matters(recorded, name, use):
    """Elsewhere everything is as before: who deletes a text, for example, has not changed an answer."""
    damage, noticed_by, message = DAMAGES[name]
    recorded.write(recorded.whole)
    damage(recorded.path)
    if name == "row of a call deleted" and use is read_calls:  # what is not there cannot be listed
        assert len(read_calls(recorded.path)) == 3
        return
    said = recorded.is_noticed(use)
    if use in noticed_by or said is not None:
        assert re.search(message, said)
        assert str(recorded.path) in said


def test_a_call_that_is_missing_in_the_last_step_is_asked_again(recorded):
    recorded.write(recorded.whole)
    sql("DELETE FROM calls WHERE id = 4")(recorded.path)
    llm = ScriptedLLM(digest)
    with JournaledClient(llm, recorded.path, mode="resume", run="1") as client:
        assert simulate(client) == recorded.expected[resume]
    assert len(llm.requests) == 1


def test_a_new_run_does_not_take_over_the_calls_of_one_whose_row_is_lost(recorded):
    recorded.write(recorded.whole)
    sql("DELETE FROM runs")(recorded.path)
    with JournaledClient(ScriptedLLM("hello"), recorded.path, run="new") as client:
        client.generate(REQUEST)
    assert [call.response.message.content for call in Journal(recorded.path).calls("new")] == ["hello"]


def test_the_other_runs_of_a_damaged_file_can_still_be_read(recorded):
    recorded.write(recorded.whole)
    DAMAGES["JSON broken"][0](recorded.path)
    DAMAGES["metadata of the run"][0](recorded.path)
    assert Journal(recorded.path).run("other").calls == 4
    assert len(list(Journal(recorded.path).calls("other"))) == 4


def test_one_damaged_call_fails_for_the_agent_that_makes_it(path):
    """Client by client: calls before and beside it are answered."""
    with JournaledClient(ScriptedLLM(["one", "two", "three"]), path) as client:
        for _ in range(3):
            client.generate(REQUEST)
    sql("UPDATE calls SET outcome = replace(outcome, 'two', 'too')")(path)
    for mode in ("replay", "resume"):
        with JournaledClient(ScriptedLLM("asked"), path, mode=mode) as client:
            assert client.generate(REQUEST).message.content == "one"
            with pytest.raises(
                JournalError, match=r"^Call 2 outside of agents' steps in run '1' of .* digest\. Restore"
            ):
                client.generate(REQUEST)
            assert client.generate(REQUEST).message.content == "three"
            assert client.replayed == 2


def test_a_file_that_is_closed_while_a_call_is_looked_up(path):
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        client.generate(REQUEST)
    with JournaledClient(None, path, mode="replay") as client:
        client._session.close()  # as by another thread
        with pytest.raises(
            JournalError, match=r"run\.db cannot be used: .* closed database\. Make a new client to go on"
        ):
            client.generate(REQUEST)


def test_a_run_that_cannot_be_resumed_leaves_no_connection_open(recorded, monkeypatch):
    connections = []

    def connect(*args, **kwargs):
        connections.append(schema.connect(*args, **kwargs))
        return connections[-1]

    for module in (replay_module, writer):
        monkeypatch.setattr(module, "connect", connect)
    recorded.write(recorded.whole)
    zeros_in("calls")(recorded.path)
    with pytest.raises(JournalError, match="malformed"):
        JournaledClient(ScriptedLLM(digest), recorded.path, mode="resume", run="1")
    assert len(connections) == 2
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_call_whose_row_disappears_while_it_is_asked_is_not_handed_out(path):
    async def answer(request):
        if len(llm.requests) == 2:
            while [call.state for call in Journal(path).calls()] != ["answered", "started"]:  # noqa: ASYNC110 - of the file
                await asyncio.sleep(0)
            sql("DELETE FROM calls")(path)
        return "hello"

    llm = ScriptedLLM(answer)

    with JournaledClient(llm, path) as client:
        client.generate(REQUEST)
        with pytest.raises(
            JournalError, match=r"cannot be written any more: The run '1' .* row of Call 2 .* not there"
        ):
            client.generate(REQUEST)


def test_the_newest_run_is_not_another_one_because_its_row_is_lost(recorded):
    recorded.write(recorded.whole)
    sql("DELETE FROM runs WHERE id = 2")(recorded.path)
    for use in (lambda: JournaledClient(None, recorded.path, mode="replay"), lambda: Journal(recorded.path).run()):
        with pytest.raises(JournalError, match="the row of run number 2 is missing, and 4 calls"):
            use()


PLACES = "UNIQUE (run, step, agent_id, request_key, repeat)"


def behind_the_index(path, table, constraint, *statements):
    """Changes a table, and its index does not know of it."""
    index = f"FROM sqlite_master WHERE name = 'sqlite_autoindex_{table}_1'"
    change = f"UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = '{table}'"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute(f"SELECT type, name, tbl_name, rootpage, sql {index}").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(change, (constraint, "CHECK (true)"))
        connection.execute(f"DELETE {index}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(change, ("CHECK (true)", constraint))
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)


def crossed(table, one, other):
    """Two whole rows change places."""
    ids = ((one, 99), (other, one), (99, other))
    return [f"UPDATE {table} SET id = {after} WHERE id = {before}" for before, after in ids]


@pytest.mark.parametrize("use", [replay, resume], ids=lambda use: use.__name__)
@pytest.mark.parametrize(("one", "other"), [(2, 3), (4, 8)])
def test_an_index_that_leads_to_a_row_of_another_place(recorded, use, one, other):
    """Calls 2 and 3 are of two steps, 4 and 8 of two runs. A row that the index leads to is checked; others are right."""
    recorded.write(recorded.whole)
    behind_the_index(recorded.path, "calls", PLACES, *crossed("calls", one, other))
    said = recorded.is_noticed(use)
    assert re.search(rf"run '1' of .*run\.db is damaged: row {one} of the table calls does not match", said)


def test_an_index_that_leads_to_a_row_of_another_place_outside_of_steps(path):
    with JournaledClient(ScriptedLLM(["one", "two"]), path) as client:
        client.generate(REQUEST)
        client.generate(REQUEST)
    behind_the_index(path, "calls", PLACES, *crossed("calls", 1, 2))
    with (
        JournaledClient(None, path, mode="replay") as client,
        pytest.raises(
            JournalError, match=r"outside of agents' steps in run .* is damaged: row \d of the table calls does"
        ),
    ):
        client.generate(REQUEST)


def test_an_index_that_leads_to_another_run(recorded):
    recorded.write(recorded.whole)
    behind_the_index(recorded.path, "runs", "UNIQUE", *crossed("runs", 1, 2))
    with pytest.raises(JournalError, match="is damaged: row 1 of the table runs does not match its digest"):
        replay(recorded.path)


def test_calls_that_the_index_hides_are_not_asked_again(recorded):
    recorded.write(recorded.whole)
    sql("CREATE TABLE kept AS SELECT * FROM calls WHERE run = 1", "DELETE FROM calls WHERE run = 1")(recorded.path)
    behind_the_index(recorded.path, "calls", PLACES, "INSERT INTO calls SELECT * FROM kept")
    llm = ScriptedLLM("asked again")
    with contextlib.suppress(JournalError), JournaledClient(llm, recorded.path, mode="resume", run="1") as client:
        assert simulate(client) == recorded.expected[resume]
    assert llm.requests == []


DISAGREEMENTS = {
    "a row that only the index knows": ("DELETE FROM calls WHERE id = 4", "3 calls can be read, and its index has 4"),
    "a row that the index does not know": (
        "INSERT INTO calls SELECT * FROM kept",
        "4 calls can be read, and its index has 3",
    ),
}


@pytest.mark.parametrize("use", ANSWERS, ids=lambda use: use.__name__)
@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_an_index_that_disagrees_with_its_table(recorded, name, use):
    """About the last call, which a resumed run would ask if it were not recorded. A list is of the table."""
    statement, message = DISAGREEMENTS[name]
    recorded.write(recorded.whole)
    if "kept" in statement:
        sql("CREATE TABLE kept AS SELECT * FROM calls WHERE id = 4", "DELETE FROM calls WHERE id = 4")(recorded.path)
    behind_the_index(recorded.path, "calls", PLACES, statement)
    said = recorded.is_noticed(use)
    assert re.search(rf"'1' of .* is damaged: {message}|malformed", said)


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_a_run_has_as_many_calls_as_its_table(recorded, name):
    statement, _ = DISAGREEMENTS[name]
    recorded.write(recorded.whole)
    if "kept" in statement:
        sql("CREATE TABLE kept AS SELECT * FROM calls WHERE id = 4", "DELETE FROM calls WHERE id = 4")(recorded.path)
    behind_the_index(recorded.path, "calls", PLACES, statement)
    expected = (4, 2) if "kept" in statement else (3, 2)
    run, *_ = Journal(recorded.path).runs()
    assert (run.calls, run.steps) == expected
    assert Journal(recorded.path).run("1") == run


@pytest.mark.slow
@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bytes_change_no_answer(recorded, data):
    """Wherever they are in the file: every use gives what was recorded, or a `JournalError`."""
    size = len(recorded.whole)
    flipped = data.draw(st.dictionaries(st.integers(0, size - 1), st.integers(0, 255), min_size=1, max_size=4))
    damaged = bytearray(recorded.whole)
    for position, byte in flipped.items():
        damaged[position] = byte
    for use in USES:
        recorded.write(bytes(damaged))
        said = recorded.is_noticed(use)
        assert said is None or str(recorded.path) in said
