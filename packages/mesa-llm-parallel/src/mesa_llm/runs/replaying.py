"""A recorded run made again, without a network, with the state of the model compared after each step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse
from mesa_llm.errors import ConfigurationError, JournalError, ReplayDifferenceError
from mesa_llm.journal import RecordedRun
from mesa_llm.parallel_stepping import ParallelStepping, patch
from mesa_llm.parallel_stepping.config import Mode
from mesa_llm.recording import record_run
from mesa_llm.runs.runs_in import run_of

if TYPE_CHECKING:
    from mesa import Model

_SETTINGS = frozenset({"mode", "max_failures", "decide_timeout", "max_workers", "plain_steps", "step_members"})
"""What is taken over from a recorded run beside the activation; functions cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run that was made again, and came to the same states.

    Attributes:
        model: the model as it is at the end.
        steps: how many steps it has made.
        compared: after how many of them the state was compared, and equal; one more for the state before the first.
        calls: how many calls of agents were answered from the record.
    """

    model: Any
    steps: int
    compared: int
    calls: int


def replay(
    path: str | os.PathLike[str],
    model_class: type[Model[Any, Any]],
    parameters: Mapping[str, Any] | None = None,
    *,
    run: str | None = None,
    mode: Mode | None = None,
) -> Replayed:
    """Make a recorded run again: no model is asked, and the state of the model is compared after each step.

    The parameters are the recorded ones. Clients among them are not needed, and replaced by one that asks nobody. The
    agents step as they did, in the recorded activation. For the time of the replay Mesa's agent sets are patched, if
    the run was a parallel one.

    Args:
        path: the journal.
        model_class: the class of the model.
        parameters: arguments in the place of recorded ones, and those that a record cannot hold.
        run: the name of the run; by default the newest that is not a copy of another.
        mode: `asyncio` or `threading`, if not the recorded one.

    Returns:
        What was compared, with the model.

    Raises:
        ReplayDifferenceError: if a step ends in another state; it names the step, the agent and the attribute.
        JournalMissError: if an agent asks what is not recorded; it shows the nearest recorded request.
        JournalError: if there is no such run, it was not recorded by `record_run`, or the file is damaged.
        ConfigurationError: if an argument is missing that a record cannot hold.
        Exception: what a step raises that did not raise it when it was recorded.
    """
    journal, recorded = run_of(path, run)
    if not recorded.identity:
        raise JournalError(
            f"Run {recorded.name!r} of {journal.path} holds model calls alone. Record it with record_run to replay it "
            "with its states, or replay it by JournaledClient(None, path, mode='replay')."
        )
    arguments = _arguments_of(recorded, parameters or {})
    failed = {step.step for step in journal.steps(recorded.name) if step.error is not None}
    with (
        _stepping_as(recorded.identity["activation"], mode),
        record_run(model_class, arguments, path=journal.path, mode="replay", run=recorded.name) as model,
    ):
        for step in range(1, recorded.steps + 1):
            try:
                model.step()
            except (JournalError, ReplayDifferenceError):
                raise
            except Exception:
                if step not in failed:
                    raise
        recorder: Any = model.recorder
        return Replayed(model=model, steps=recorded.steps, compared=recorder.compared, calls=recorder.journal.replayed)


class NobodyAsked(AsyncClient):
    """Stands for the clients of a recorded run: a replay answers all calls itself."""

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Refuse.

        Raises:
            JournalError: always.
        """
        raise JournalError("A replay asks no model. This call does not belong to the recorded run.")


def _arguments_of(recorded: RecordedRun, given: Mapping[str, Any]) -> dict[str, Any]:
    model = recorded.identity["model"]
    arguments = {**model["parameters"], **given}
    clients = {name for llm in recorded.identity["llms"] for name in llm["clients"]}
    for name, shown in model["objects"].items():
        if name in arguments:
            continue
        if shown.partition(" > ")[0] not in clients:
            raise ConfigurationError(
                f"The record holds no value of {name} ({shown}). Give it: parameters={{{name!r}: …}}."
            )
        arguments[name] = NobodyAsked()
    return arguments


@contextmanager
def _stepping_as(recorded: Mapping[str, Any], mode: Mode | None) -> Iterator[None]:
    """Have models that want to step in parallel do so as in a recorded run."""
    if recorded["activation"] == "mesa":
        yield
        return
    settings: dict[str, Any] = {name: recorded[name] for name in _SETTINGS if name in recorded}
    if recorded.get("on_error") in {"raise", "skip"}:
        settings["on_error"] = recorded["on_error"]
    if mode is not None:
        settings["mode"] = mode
    if settings.get("mode") == "asyncio":
        settings.pop("max_workers", None)
    config = ParallelStepping(
        activation=recorded["activation"],
        methods=tuple(recorded["methods"]),
        max_waste=recorded["max_waste"],
        **settings,
    )
    with patch.stepping_by(config):
        yield
