"""The same run in several modes: what each takes, and whether the results are the same. Imports Mesa."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mesa_llm.clients import AsyncClient, LLMClient, LLMRequest, LLMResponse, MeteredClient
from mesa_llm.clients.request_key import request_key
from mesa_llm_examples.progress import RunProgress
from mesa_llm_examples.simulation import Run, simulate
from mesa_llm_examples.stepping import Mode, stepping
from mesa_llm_examples.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from mesa_llm.clients import CallCounts


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


class _Noting(AsyncClient):
    """Takes down what is asked, in whatever order."""

    def __init__(self, inner: LLMClient) -> None:
        self._inner = inner
        self._asked: list[str] = []

    async def complete(self, request: LLMRequest) -> LLMResponse:
        self._asked.append(request_key(request))
        return await self._inner.agenerate(request)

    def digest(self, run: Run) -> str:
        states = [list(record.states.items()) for record in run.records]
        return hashlib.sha256(repr((sorted(self._asked), states)).encode()).hexdigest()


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
        make_model: makes the Mesa model, given the mode and the way to the language model.
        inner: the way to the language model.
        max_workers: in mode `threading`, how many threads may run at once; `None` for no limit.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
    """
    noting = _Noting(inner)
    client = MeteredClient(noting)
    model = make_model(mode, client)
    with stepping(mode, max_workers), RunProgress(console, model, client, steps, title=mode) as progress:
        run = simulate(model, client, steps, on_step=progress.ended)
    return ModeRun(mode=mode, seconds=run.seconds, counts=run.calls, digest=noting.digest(run))


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
        same_answers: whether whoever answers gives the same answer to the same question.
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
