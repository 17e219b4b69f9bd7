"""`mesa-llm-examples compare NAME`: one run in several modes, what each takes, and whether the results are the same."""

from __future__ import annotations

import gc
import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example
from mesa_llm_examples.display import RunProgress, say
from mesa_llm_examples.options import (
    ApiBase,
    Latency,
    MaxAttempts,
    MaxWorkers,
    Model,
    Seed,
    Steps,
    Timeout,
    of_model,
)
from mesa_llm_examples.run import console_beside
from mesa_llm_examples.setting import Mode, ModelConnection, stepping
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from mesa_llm.clients import CallCounts, LLMClient, LLMRequest, LLMResponse


STEPS = 2
DIFFERENT = 3
"""The exit status if runs differ that should not."""


def compare_command(
    example: Example,
    context: typer.Context,
    *,
    steps: Steps = STEPS,
    seed: Seed = None,
    modes: Annotated[
        list[Mode] | None,
        typer.Option("--mode", help="Which modes; may be given several times.", show_default="all three"),
    ] = None,
    max_workers: MaxWorkers = None,
    model: Model = None,
    api_base: ApiBase = None,
    timeout: Timeout = None,
    max_attempts: MaxAttempts = None,
    latency: Latency = None,
    json_: Annotated[bool, typer.Option("--json", help="Write a JSON object, and nothing else.")] = False,
) -> None:
    """Run an example in several modes; the context has the values of all options, those of the example included."""
    connection = ModelConnection(
        llm_model=model, api_base=api_base, timeout=timeout, max_attempts=max_attempts, latency=latency
    )
    options: dict[str, Any] = of_model(example, context) | {"seed": random.randrange(2**32) if seed is None else seed}
    chosen = list(dict.fromkeys(modes or (Mode.OFF, Mode.THREADING, Mode.ASYNCIO)))
    if max_workers is not None and Mode.THREADING not in chosen:
        raise ConfigurationError("--max-workers needs --mode threading.")
    console = console_beside(json_)
    with console.status("Loading Mesa ..."):
        make_model, policy = example.model_class(), example.policy()
        connection.prepare()
    gc.freeze()
    headline = example.headline_of(options)
    say(console, for_people(f"{headline}, {counted(steps, 'step')}"), style="bold")
    say(console, for_people(str(connection)))

    runs = [
        run_in_mode(
            console,
            mode,
            steps,
            lambda mode, client: make_model(
                **options, llm_model=model, client=client, parallel_stepping=mode is not Mode.OFF
            ),
            connection.client(policy),
            max_workers,
        )
        for mode in chosen
    ]
    different = differing(runs)
    if json_:
        print(  # noqa: T201 - this is a command
            json.dumps(
                {
                    "example": example.name,
                    "headline": headline,
                    "options": options | {"steps": steps, "model": model},
                    "decisions": connection.decides,
                    "simulated_latency_s": connection.simulated_latency_s,
                    "runs": [run.as_dict() for run in runs],
                    "parallel_modes_agree": not different,
                }
            )
        )
    else:
        console.print(table_of(runs))
        said = in_words(runs, same_answers=model is None), measured_on(runs, steps, connection.answers)
        say(console, f"\n{' '.join(filter(None, said))}")
    if different and model is None:
        raise typer.Exit(DIFFERENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRun:
    """A run in one mode.

    Attributes:
        mode: which.
        seconds: the wall time of its steps.
        counts: its model calls.
        digest: the same for two runs if everything that their agents asked, and the states of each step, were the same.
    """

    mode: Mode
    seconds: float
    counts: CallCounts
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON could hold it."""
        counts = asdict(self.counts)
        del counts["in_flight"]
        return {"mode": str(self.mode), "seconds": self.seconds, **counts, "digest": self.digest}


def _noting(inner: LLMClient, asked: list[str]) -> LLMClient:
    """A client that notes the key of each request, in any order."""
    from mesa_llm.clients import AsyncClient  # noqa: PLC0415 - slow to import
    from mesa_llm.clients.messages import request_key  # noqa: PLC0415

    class Noting(AsyncClient):
        async def complete(self, request: LLMRequest) -> LLMResponse:
            asked.append(request_key(request))
            return await inner.complete(request)

    return Noting()


def run_in_mode(
    console: Console,
    mode: Mode,
    steps: int,
    make_model: Callable[[Mode, LLMClient], Any],
    inner: LLMClient,
    max_workers: int | None = None,
) -> ModeRun:
    """Run a model in one mode, and show how far it is.

    Args:
        console: where.
        mode: which.
        steps: how many, at least 1.
        make_model: makes the Mesa model, given the mode and its client.
        inner: the client that answers.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
    """
    from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - slow to import

    asked: list[str] = []
    client = MeteredClient(_noting(inner, asked))
    model = make_model(mode, client)
    with stepping(mode, max_workers), RunProgress(console, model, client, steps, title=mode) as progress:
        run = simulate(model, client, steps, on_step=progress.ended)
    states = [list(record.states.items()) for record in run.records]
    digest = hashlib.sha256(repr((sorted(asked), states)).encode()).hexdigest()
    return ModeRun(mode=mode, seconds=run.seconds, counts=run.calls, digest=digest)


def differing(runs: Iterable[ModeRun]) -> list[Mode]:
    """The parallel modes whose results differ from those of the first one: none, if the answers are the same."""
    parallel = [run for run in runs if run.mode is not Mode.OFF]
    return [run.mode for run in parallel if run.digest != parallel[0].digest]


def table_of(runs: Iterable[ModeRun]) -> Table:
    """The runs side by side, and how many times as fast the others were as the one with one agent at a time.

    Only of what was run: without the mode `off` there is nothing to be faster than.
    """
    runs = list(runs)
    alone = _alone(runs)
    tokens = any(run.counts.prompt_tokens for run in runs)
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("mode")
    faster = ["times as fast"] if alone else []
    for heading in ("seconds", *faster, "model calls", "at once", *(["tokens"] if tokens else [])):
        table.add_column(heading, justify="right")
    table.add_column("results", no_wrap=True)
    first: dict[str, Mode] = {}
    for run in runs:
        same = first.setdefault(run.digest, run.mode)
        counts = run.counts
        table.add_row(
            run.mode,
            f"{run.seconds:.2f}",
            *([f"{alone.seconds / run.seconds:.1f}" if run.seconds else ""] if alone else []),
            f"{counts.calls:,}",
            f"{counts.peak_in_flight:,}",
            *([f"{counts.prompt_tokens + counts.completion_tokens:,}"] if tokens else []),
            "its own" if same is run.mode else f"as {same}",
        )
    return table


def _alone(runs: Sequence[ModeRun]) -> ModeRun | None:
    """The run with one agent at a time, if there is one beside it to compare."""
    return next((run for run in runs if run.mode is Mode.OFF), None) if len(runs) > 1 else None


def measured_on(runs: Iterable[ModeRun], steps: int, answers: str) -> str:
    """What "times as fast" was measured on; empty if nothing of the kind is said.

    Args:
        runs: the runs.
        steps: how many steps each of them had.
        answers: whose answers they had.
    """
    if _alone(list(runs)) is None:
        return ""
    return f'"Times as fast" compares the wall time of {counted(steps, "step")} with that of off, on {answers}.'


def in_words(runs: Iterable[ModeRun], *, same_answers: bool) -> str:
    """What the results of the modes say.

    Args:
        runs: the runs.
        same_answers: whether the same question always gets the same answer.
    """
    runs = list(runs)
    parallel = [str(run.mode) for run in runs if run.mode is not Mode.OFF]
    sentences = []
    if len(parallel) > 1 and not differing(runs):
        sentences.append(f"{' and '.join(parallel)} gave the same run, request for request.")
    elif len(parallel) > 1 and same_answers:
        sentences.append(f"{' and '.join(parallel)} should have given the same run, and did not.")
    elif len(parallel) > 1:
        sentences.append("The runs differ: this model does not always give the same answer to the same question.")
    if parallel and any(run.mode is Mode.OFF for run in runs):
        sentences.append(
            "With off, agents see what those before them have done in the same step, so that is another run."
        )
    return " ".join(sentences)
