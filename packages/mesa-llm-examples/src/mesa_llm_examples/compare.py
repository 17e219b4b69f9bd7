"""`mesa-llm-examples compare NAME`: the same run in several modes, what each takes, and whether the results agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example, options_of
from mesa_llm_examples.setting import Activation, Activations, Mode, Seed, Setting, Steps, stepping
from mesa_llm_examples.simulation import DecisionCounts, RunProgress, console_beside, say, simulate
from mesa_llm_examples.words import counted, decisions_in_words

if TYPE_CHECKING:
    from mesa_llm.clients import CallCounts, LLMClient, LLMRequest, LLMResponse
    from mesa_llm_examples.simulation import StepRecord

STEPS = 2
DIFFERENT = 3  # the exit status if the results of modes differ that should not


def compare_command(
    example: Example,
    context: typer.Context,
    *,
    steps: Steps,
    seed: Seed = None,
    modes: Annotated[
        list[Mode] | None,
        typer.Option("--mode", help="Which modes; may be given several times.", show_default="all that there are"),
    ] = None,
    activation: Activations = Activation.SIMULTANEOUS,
    json_: Annotated[
        bool, typer.Option("--json", help="Write a JSON object, and nothing else.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Run an example in several modes.

    Raises:
        MesaLLMError: if the model cannot be made, or agents could not decide.
    """
    is_sequential = activation is Activation.SEQUENTIAL
    all_modes = (Mode.OFF, Mode.ASYNCIO) if is_sequential else (Mode.OFF, Mode.THREADING, Mode.ASYNCIO)
    chosen = list(dict.fromkeys(modes or all_modes))
    options = options_of(example, context, "seed", "steps", "activation", "model")
    setting = Setting.of(example, context, options, chosen)
    connection = setting.connection
    console = console_beside(json_)
    with console.status("Loading Mesa ..."):
        connection.check()
        connection.prepare()
        policy = setting.load()
    say(console, for_people(f"{setting.headline}, {counted(steps, 'step')}"), style="bold")
    say(console, for_people(str(connection)))

    from mesa_llm.clients import MeteredClient  # noqa: PLC0415 - imports Mesa
    from mesa_llm.recording import state_hash  # noqa: PLC0415

    runs = []
    for mode in chosen:
        asked: list[str] = []
        hashes: list[str] = []
        client = MeteredClient(_noting(connection.client(policy), asked))
        model = setting.model(client, mode)
        with (
            stepping(mode, setting.max_workers, activation),
            RunProgress(console, model, client, steps, title=mode) as progress,
        ):

            def ended(record: StepRecord, model: Any = model, hashes: list[str] = hashes) -> None:
                if is_sequential:
                    hashes.append(state_hash(model))
                progress.ended(record)

            run = simulate(model, client, steps, on_step=ended)
        states = [list(record.states.items()) for record in run.records]
        # Some of the requests asked ahead are not used: what agents have made of the answers is in the model's state.
        digest = hashlib.sha256(repr((hashes if is_sequential else sorted(asked), states)).encode()).hexdigest()
        runs.append(ModeRun(mode=mode, seconds=run.seconds, counts=run.calls, decided=run.decided, digest=digest))

    different = differing(runs, activation)
    if json_:
        summary = {
            "example": example.name,
            "headline": setting.headline,
            "options": setting.options,
            "decisions": connection.decides,
            "simulated_latency_s": connection.simulated_latency_s,
            "runs": [run.as_dict() for run in runs],
            "parallel_modes_agree": not different,
        }
        print(json.dumps(summary))  # noqa: T201 - this is a command
    else:
        console.print(table_of(runs))
        if lines := decided_in_words(runs):
            say(console, f"\n{lines}")
        same_answers = connection.model is None
        agree = in_words(runs, same_answers=same_answers, activation=activation)
        measured = measured_on(runs, steps, connection.answers)
        say(console, f"\n{' '.join(filter(None, (agree, measured)))}")
    if different and connection.model is None and activation is not Activation.EAGER:
        raise typer.Exit(DIFFERENT)


def _noting(inner: LLMClient, asked: list[str]) -> LLMClient:
    """A client that adds the key of each request to a list, in any order."""
    from mesa_llm.clients import AsyncClient  # noqa: PLC0415 - slow to import
    from mesa_llm.clients.messages import request_key  # noqa: PLC0415

    class Noting(AsyncClient):
        async def complete(self, request: LLMRequest) -> LLMResponse:
            asked.append(request_key(request))
            return await inner.complete(request)

    return Noting()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRun:
    """A run in one mode.

    Attributes:
        mode: how its agents decided.
        seconds: the wall time of its steps.
        counts: its model calls.
        digest: equal for two runs if all their requests, and the states of each step, are equal.
        decided: what its decisions were worth.
    """

    mode: Mode
    seconds: float
    counts: CallCounts
    digest: str
    decided: DecisionCounts = field(default_factory=DecisionCounts)

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON."""
        counts = asdict(self.counts)
        del counts["in_flight"]
        return {
            "mode": str(self.mode),
            "seconds": self.seconds,
            **counts,
            **asdict(self.decided),
            "digest": self.digest,
        }


def differing(runs: Iterable[ModeRun], activation: Activation = Activation.SIMULTANEOUS) -> list[Mode]:
    """The modes whose results differ from the first one's and should not, if the same request gets the same answer.

    Args:
        runs: the runs. One agent at a time is another run, unless the activation is sequential.
        activation: what the agents decided on.
    """
    alike = _alike(runs, activation)
    return [run.mode for run in alike if run.digest != alike[0].digest]


def _alike(runs: Iterable[ModeRun], activation: Activation) -> list[ModeRun]:
    return [run for run in runs if run.mode is not Mode.OFF or activation is Activation.SEQUENTIAL]


def table_of(runs: Iterable[ModeRun]) -> Table:
    """The runs side by side, with the speed-up over mode `off` if that was run too."""
    runs = list(runs)
    alone = _alone(runs)
    tokens = any(run.counts.prompt_tokens for run in runs)
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("mode")
    faster = ["times as fast"] if alone else []
    for heading in ("seconds", *faster, "calls", "peak", *(["tokens"] if tokens else [])):
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
    """The run in mode `off`, if there are others to compare with it."""
    return next((run for run in runs if run.mode is Mode.OFF), None) if len(runs) > 1 else None


def decided_in_words(runs: Iterable[ModeRun]) -> str:
    """What the decisions of each run were worth, a line for each; modes with the same numbers share one."""
    modes: dict[str, list[str]] = {}
    for run in runs:
        if said := decisions_in_words(run.decided):
            modes.setdefault(said, []).append(run.mode)
    return "\n".join(f"With {' and '.join(names)}, {said}." for said, names in modes.items())


def measured_on(runs: Iterable[ModeRun], steps: int, answers: str) -> str:
    """What "times as fast" was measured on; empty if the table has no such column.

    Args:
        runs: the runs.
        steps: how many steps each of them had.
        answers: what answered: a model, or a rule.
    """
    if _alone(list(runs)) is None:
        return ""
    return f'"Times as fast" compares the wall time of {counted(steps, "step")} with that of off, on {answers}.'


def in_words(runs: Iterable[ModeRun], *, same_answers: bool, activation: Activation = Activation.SIMULTANEOUS) -> str:
    """Whether the results of the modes agree, and why.

    Args:
        runs: the runs.
        same_answers: whether the same request always gets the same answer.
        activation: what the agents decided on.
    """
    runs = list(runs)
    is_sequential = activation is Activation.SEQUENTIAL
    alike = [str(run.mode) for run in _alike(runs, activation)]
    sentences = []
    if len(alike) > 1 and not differing(runs, activation):
        what = "state for state" if is_sequential else "request for request"
        sentences.append(f"{' and '.join(alike)} gave the same run, {what}.")
    elif len(alike) > 1 and activation is Activation.EAGER:
        sentences.append("The runs differ: with eager activation, they depend on how fast answers come.")
    elif len(alike) > 1 and same_answers:
        sentences.append(f"{' and '.join(alike)} should have given the same run, and did not.")
    elif len(alike) > 1:
        sentences.append("The runs differ: this model does not always give the same answer to the same question.")
    if alike and not is_sequential and any(run.mode is Mode.OFF for run in runs):
        sentences.append(
            "With off, agents see what those before them have done in the same step, so that is another run."
        )
    return " ".join(sentences)
