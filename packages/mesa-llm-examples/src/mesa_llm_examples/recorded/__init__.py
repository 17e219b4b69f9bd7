"""Answers of a real LLM, recorded once: tutorials show them without a key, a network or a download.

The LLM is SmolLM2 135M Instruct (Apache-2.0), which is small enough for any laptop, and answers accordingly. In the
repository, `docs/recorded/record.py` records answers again when the prompts of a page have changed.
"""

from __future__ import annotations

from pathlib import Path

from mesa_llm.errors import ConfigurationError
from mesa_llm.journal import JournaledClient

__all__ = ["recorded_llm"]

ANSWERS = Path(__file__).parent


def recorded_llm(name: str) -> JournaledClient:
    """A client that gives the recorded answers of one tutorial, for one Mesa model.

    A request that differs from the recorded one raises a `JournalMissError`.

    Args:
        name: which answers: `ada` or `civil-violence`.

    Returns:
        A client for `LLMAgent(…, client=…)`.

    Raises:
        ConfigurationError: if no answers have this name.
    """
    path = ANSWERS / f"{name}.db"
    if not path.exists():
        names = ", ".join(sorted(repr(journal.stem) for journal in ANSWERS.glob("*.db")))
        raise ConfigurationError(f"There are no recorded answers {name!r}. There are {names}.")
    return JournaledClient(None, path, mode="replay")
