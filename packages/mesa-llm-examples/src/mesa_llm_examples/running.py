"""Running an example on a console: headline, progress, summary."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mesa_llm_examples.failures import RunInterruptedError
from mesa_llm_examples.progress import StepProgress
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.summary import print_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console

    from mesa_llm.clients import Answer, LLMClient, LLMRequest
    from mesa_llm.journal import JournaledClient
    from mesa_llm_examples.journals import JournalSetting


class Mode(StrEnum):
    """How the agents of a step decide."""

    ASYNCIO = "asyncio"
    THREADING = "threading"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How an example is run, whichever it is.

    Attributes:
        steps: how many steps, at least 1.
        mode: how the agents of a step decide.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.
        llm_model: the language model, as `provider/model`; `None` for the example's rule.
        api_base: the base URL of the model's server; `None` for the provider's own.
        timeout: seconds to wait for an answer of the model.
        max_attempts: how often a request is sent at most.
        latency: seconds until the rule answers.
        journal: where the calls are recorded, or come from; `None` for nowhere.
        metadata: kept in the journal with a new run.
    """

    steps: int
    mode: Mode
    max_workers: int | None
    llm_model: str | None
    api_base: str | None
    timeout: float
    max_attempts: int
    latency: float
    journal: JournalSetting | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def run(
    console: Console,
    setting: Setting,
    policy: Callable[[LLMRequest], Answer],
    make_model: Callable[[LLMClient], Any],
    headline: str,
) -> None:
    """Run an example and show it.

    Args:
        console: where.
        setting: how.
        policy: decides if no model is to be asked.
        make_model: makes the Mesa model, given the way to the language model; its `result()` says what came of it.
        headline: what is run.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    from mesa_llm.clients import MeteredClient, RuleBasedClient  # noqa: PLC0415 - imports Mesa
    from mesa_llm.module_llm import connect  # noqa: PLC0415

    inner: LLMClient = (
        RuleBasedClient(policy, latency=setting.latency)
        if setting.llm_model is None
        else connect(api_base=setting.api_base, timeout=setting.timeout, max_attempts=setting.max_attempts)
    )
    with _journaled(inner, setting) as journaled:
        client = MeteredClient(inner if journaled is None else journaled)
        model = make_model(client)
        for line, style in ((headline, "bold"), (_who_decides(setting), "")):
            console.print(line, style=style, highlight=False, soft_wrap=not console.is_terminal)
        with _stepping(setting), StepProgress(console, client, setting.steps) as progress:
            try:
                run = simulate(model, client, setting.steps, on_step=progress.ended)
            except KeyboardInterrupt:
                raise RunInterruptedError(_interrupted(setting, progress.step)) from None
    print_summary(
        console,
        run,
        in_parallel=setting.mode is not Mode.OFF,
        replayed=journaled.replayed if journaled else 0,
        result=model.result(),
    )
    if journaled is not None and setting.journal is not None and setting.journal.mode != "replay":
        line = f"Recorded as run {journaled.run!r} in {setting.journal.path}. Repeat it with --replay."
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


@contextmanager
def _journaled(inner: LLMClient, setting: Setting) -> Iterator[JournaledClient | None]:
    if setting.journal is None:
        yield None
        return
    from mesa_llm.journal import JournaledClient  # noqa: PLC0415 - imports Mesa

    journal = setting.journal
    with JournaledClient(
        None if journal.mode == "replay" else inner,
        journal.path,
        mode=journal.mode,
        run=journal.run,
        metadata=setting.metadata,
    ) as client:
        yield client


def _interrupted(setting: Setting, step: int) -> str:
    resume = setting.journal is not None and setting.journal.mode != "replay"
    return f"Interrupted in step {step} of {setting.steps}." + (" Go on with --resume." if resume else "")


def _who_decides(setting: Setting) -> str:
    if setting.journal is not None and setting.journal.mode == "replay":
        return f"Decisions: those recorded in {setting.journal.path}. Nobody is asked."
    if setting.llm_model is None:
        return f"Decisions: rule-based policy, no model is asked. It answers each request after {setting.latency:g} s."
    return f"Decisions: {setting.llm_model}{f' at {setting.api_base}' if setting.api_base else ''}."


@contextmanager
def _stepping(setting: Setting) -> Iterator[None]:
    from mesa_llm.parallel_stepping import (  # noqa: PLC0415 - imports Mesa
        disable_automatic_parallel_stepping,
        enable_automatic_parallel_stepping,
    )

    if setting.mode is Mode.OFF:
        yield
        return
    enable_automatic_parallel_stepping(
        "threading" if setting.mode is Mode.THREADING else "asyncio", max_workers=setting.max_workers
    )
    try:
        yield
    finally:
        disable_automatic_parallel_stepping()
