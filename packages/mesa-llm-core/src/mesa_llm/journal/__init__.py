"""A record of every model call in one file: replay a run without a network, or resume one that broke off.

Its modules:

    client       JournaledClient: the client that agents use
    recording    asks, and records what comes of it before it is handed out
    replay       answers from the journal
    resumption   goes on with a run that was broken off
    places       where in a run a call belongs: what it is found by
    journal      Journal: reads what has been recorded
    nearest      what a replay misses, beside what was recorded nearest to it
    timeouts     agents whose time was up after their answer had been recorded
    outcomes     responses and errors as JSON
    contents     requests as texts that are stored once
    calls        the calls of a run in the file
    runs         the runs in the file
    schema       the file
    damage       what is said of a file that is damaged
    writer       writes on a thread of its own
    run_lock     one writer for a run
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.journal.calls import RecordedCall
from mesa_llm.journal.client import JournaledClient, JournalMode
from mesa_llm.journal.journal import Journal
from mesa_llm.journal.outcomes import RecordedError
from mesa_llm.journal.runs import RecordedRun

__all__ = ["Journal", "JournalMode", "JournaledClient", "RecordedCall", "RecordedError", "RecordedRun"]
