"""A record of every model call in one file: replay a run without a network, or resume an interrupted one.

Its modules:

    client         JournaledClient: the client that agents use, and its modes
    recording      gives calls their keys, asks, and records the outcome before it hands it out; timeouts
    replay         answers from the journal; resumes a run; shows the nearest request to one that is not recorded
    journal        Journal: reads what has been recorded
    serialization  requests, responses and errors as the texts that the file holds
    store          runs and calls in the file: call keys; written, found, checked and read
    steps          facts, steps, events and interviews of a run in the file
    schema         the file: opened, checked and upgraded; its errors
    writer         a run's lock, and the thread that writes it
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.journal.client import JournaledClient
from mesa_llm.journal.client import JournalMode as JournalMode
from mesa_llm.journal.client import RunJournal as RunJournal
from mesa_llm.journal.client import journal_of as journal_of
from mesa_llm.journal.journal import Journal
from mesa_llm.journal.journal import RecordedCall as RecordedCall
from mesa_llm.journal.journal import RecordedRun as RecordedRun
from mesa_llm.journal.journal import RecordedStep as RecordedStep
from mesa_llm.journal.serialization import RecordedError as RecordedError

__all__ = ["Journal", "JournaledClient"]
