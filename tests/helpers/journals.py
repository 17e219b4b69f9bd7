"""What tests of the journal have in common."""

from __future__ import annotations

import contextlib
import sqlite3

from helpers.speakers import Speaker, SpeakersModel

from mesa_llm.clients import LLMRequest, Message

REQUEST = LLMRequest(model="a/b", messages=(Message("system", "You are brief."), Message("user", "hello")))


def state_of(model):
    """All that a run may leave in a model: who said what, the generator, memories, and what reports say of failures."""
    return {
        "log": model.log,
        "random": model.random.getstate(),
        "memories": {agent.unique_id: [str(entry) for entry in agent.memory.entries] for agent in model.agents},
        "states": {agent.unique_id: agent.internal_state for agent in model.agents},
        "failures": [
            (agent.agent_id, agent.outcome, agent.error) for report in model.reports for agent in report.agents
        ],
    }


class Reporting(SpeakersModel):
    """Keeps the reports of all its steps."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reports = []

    def step(self):
        try:
            super().step()
        finally:
            self.reports += getattr(self, "parallel_reports", ())


class Twice(Speaker):
    """Decides twice in a step, and asks its model once more while it acts."""

    def step(self):
        super().step()
        self.llm.generate("in a tool")
        super().step()

    async def astep(self):
        await super().astep()
        await self.llm.agenerate("in a tool")
        await super().astep()


def run(client, *, steps=3, n=4, agent_class=Speaker, parallel=True, seed=7):
    """Step a model; one that fails is stepped on."""
    model = Reporting(n, client, agent_class, parallel=parallel, seed=seed)
    for _ in range(steps):
        step(model)
    return model


def step(model):
    """One step. A failure is part of the log."""
    try:
        model.step()
    except Exception as error:
        model.log.append(("failed", str(error)))


_VERSION_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, copy_of TEXT, started REAL NOT NULL, metadata TEXT NOT NULL
);
CREATE TABLE texts (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), step INTEGER NOT NULL,
    agent_id INTEGER NOT NULL, request_key BLOB NOT NULL, repeat INTEGER NOT NULL, call INTEGER NOT NULL,
    outermost_step INTEGER NOT NULL, agent_class TEXT NOT NULL, request BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('started', 'answered', 'failed', 'cancelled')),
    started REAL NOT NULL, duration REAL, outcome TEXT,
    UNIQUE (run, step, agent_id, request_key, repeat)
);
PRAGMA application_id = 1296845313;
PRAGMA user_version = 1;
"""


def as_version_1(path):
    """Make a journal one of version 1: the same, without digests, and with steps that are counted by set."""
    old = path.rename(path.with_suffix(".new"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_VERSION_1)
        connection.execute("ATTACH ? AS new", (str(old),))
        for table in ("runs", "texts", "calls"):
            columns = ", ".join(
                name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?, 'main')", (table,))
            )
            there = columns.replace("outermost_step", "model_step")
            connection.execute(f"INSERT INTO main.{table} SELECT {there} FROM new.{table}")
    old.unlink()
