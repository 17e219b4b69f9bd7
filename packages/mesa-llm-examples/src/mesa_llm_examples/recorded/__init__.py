"""Answers of a real LLM, recorded once: tutorials show them without a key, a network or a download.

The LLM is SmolLM2 135M Instruct (Apache-2.0), which is small enough for any laptop, and answers accordingly. The
repository's `docs/recorded/record.py` records them again when the prompt of a page has changed.
"""

from __future__ import annotations

from pathlib import Path

from mesa_llm.journal import JournaledClient

__all__ = ["recorded_llm"]

ANSWERS = Path(__file__).with_name("answers.db")


def recorded_llm(run: str) -> JournaledClient:
    """A client that gives the recorded answers of one tutorial, for one model.

    Args:
        run: the name of the recorded run, as the tutorial gives it.

    Returns:
        A client for `LLMAgent(…, client=…)`. A request that differs from the recorded one raises a `JournalMissError`.

    Raises:
        JournalError: if there is no such run.
    """
    return JournaledClient(None, ANSWERS, mode="replay", run=run)
