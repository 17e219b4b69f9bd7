"""A run that is recorded, and one that is replayed or resumed with the options it was recorded with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# What may differ between the runs: none of it shows in the results.
_FREE = frozenset({"steps", "mode"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSetting:
    """What a run has to do with a journal.

    Attributes:
        path: the journal.
        mode: whether the run is recorded, replayed or resumed.
        run: the name of the run; `None` for a new number, or the newest run.
    """

    path: Path
    mode: Literal["record", "replay", "resume"]
    run: str | None


def journal_setting(path: Path | None, *, replay: bool, resume: bool, run: str | None) -> JournalSetting | None:
    """What the options say; `None` without a journal.

    Raises:
        ConfigurationError: if they contradict each other.
    """
    if replay and resume:
        raise ConfigurationError(
            "--replay and --resume cannot go together: the one asks nobody, the other goes on asking."
        )
    if path is None:
        for name, given in (("--replay", replay), ("--resume", resume), ("--run", run is not None)):
            if given:
                raise ConfigurationError(f"{name} needs --journal, for example --journal run.db.")
        return None
    return JournalSetting(path=path, mode="replay" if replay else "resume" if resume else "record", run=run)


def as_recorded(
    journal: JournalSetting, example: str, options: Mapping[str, Any], given: Collection[str]
) -> dict[str, Any]:
    """The options of a recorded run, so that the same model is made again.

    Args:
        journal: the journal, and which run.
        example: the example that is to run.
        options: the options of the command line, by name.
        given: those that were really given. The others are taken from the recorded run.

    Raises:
        ConfigurationError: if one that was given differs from what was recorded, and that would show in the results.
        JournalError: if there is no such run, or it is damaged.
    """
    from mesa_llm.journal import Journal  # noqa: PLC0415 - only who has a journal waits for the import

    run = Journal(journal.path).run(journal.run)
    where = f"Run {run.name!r} of {journal.path}"
    recorded: Any = run.metadata.get("options")
    if run.metadata.get("example") != example or not isinstance(recorded, dict):
        raise ConfigurationError(f"{where} was not recorded by {example!r} on the command line.")
    different = [name for name in given if name in recorded and _differs(name, recorded[name], options[name])]
    if different:
        was, would_be = (
            " and ".join(_told(name, values[name]) for name in different) for values in (recorded, options)
        )
        raise ConfigurationError(
            f"{where} was recorded {was}, not {would_be}. Leave out what is to be as it was recorded."
        )
    return dict(options) | {name: value for name, value in recorded.items() if name in options and name not in given}


def _differs(name: str, recorded: Any, given: Any) -> bool:
    if name == "mode":  # agents that decide one after the other have another order
        return bool((recorded == "off") != (given == "off"))
    return name not in _FREE and bool(recorded != given)


def _told(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    return f"without {option}" if value is None else f"with {option} {value}"
