"""Running an example on a console: headline, progress, summary."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mesa_llm_examples.failures import RunInterruptedError
from mesa_llm_examples.progress import StepProgress
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.summary import print_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from mesa_llm.clients import Answer, LLMClient, LLMRequest


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
        latency: seconds until the rule answers.
    """

    steps: int
    mode: Mode
    max_workers: int | None
    llm_model: str | None
    api_base: str | None
    timeout: float
    latency: float


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
        make_model: makes the Mesa model, given the way to the language model.
        headline: what is run.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
        RunInterruptedError: if Ctrl-C was pressed.
    """
    from mesa_llm.clients import LiteLLMClient, MeteredClient, RuleBasedClient  # noqa: PLC0415 - imports Mesa

    inner: LLMClient = (
        RuleBasedClient(policy, latency=setting.latency)
        if setting.llm_model is None
        else LiteLLMClient(api_base=setting.api_base, timeout=setting.timeout)
    )
    client = MeteredClient(inner)
    model = make_model(client)
    for line, style in ((headline, "bold"), (_who_decides(setting), "")):
        console.print(line, style=style, highlight=False, soft_wrap=not console.is_terminal)
    with _stepping(setting), StepProgress(console, client, setting.steps) as progress:
        try:
            run = simulate(model, client, setting.steps, on_step=progress.ended)
        except KeyboardInterrupt:
            raise RunInterruptedError(f"Interrupted in step {progress.step} of {setting.steps}.") from None
    print_summary(console, run, in_parallel=setting.mode is not Mode.OFF)


def _who_decides(setting: Setting) -> str:
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
