"""`mesa-llm-examples compare NAME`."""

from __future__ import annotations

import gc
import json
import random
from typing import Annotated, Any

import typer

from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import for_people
from mesa_llm_examples.catalogue import Example
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
from mesa_llm_examples.run_command import console_beside
from mesa_llm_examples.stepping import Mode
from mesa_llm_examples.way import WayToModel
from mesa_llm_examples.words import counted

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
    way = WayToModel(llm_model=model, api_base=api_base, timeout=timeout, max_attempts=max_attempts, latency=latency)
    options: dict[str, Any] = of_model(example, context) | {"seed": random.randrange(2**32) if seed is None else seed}
    chosen = list(dict.fromkeys(modes or (Mode.OFF, Mode.THREADING, Mode.ASYNCIO)))
    if max_workers is not None and Mode.THREADING not in chosen:
        raise ConfigurationError("--max-workers needs --mode threading.")
    console = console_beside(json_)
    with console.status("Loading Mesa ..."):
        from mesa_llm_examples import comparing  # noqa: PLC0415 - imports Mesa

        make_model, policy = example.model_class(), example.policy()
        way.prepare()
    gc.freeze()
    headline = example.headline_of(options)
    for line, style in ((f"{headline}, {counted(steps, 'step')}", "bold"), (str(way), "")):
        console.print(for_people(line), style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)

    runs = [
        comparing.run_in_mode(
            console,
            mode,
            steps,
            lambda mode, client: make_model(
                **options, llm_model=model, client=client, parallel_stepping=mode is not Mode.OFF
            ),
            way.client(policy),
            max_workers,
        )
        for mode in chosen
    ]
    differing = comparing.differing(runs)
    if json_:
        print(  # noqa: T201 - this is a command
            json.dumps(
                {
                    "example": example.name,
                    "headline": headline,
                    "options": options | {"steps": steps, "model": model},
                    "decisions": way.decides,
                    "simulated_latency_s": way.simulated_latency_s,
                    "runs": [run.as_dict() for run in runs],
                    "parallel_modes_agree": not differing,
                }
            )
        )
    else:
        console.print(comparing.table_of(runs))
        said = comparing.in_words(runs, same_answers=model is None), comparing.measured_on(runs, steps, way.answers)
        console.print(f"\n{' '.join(filter(None, said))}", highlight=False, soft_wrap=True)
    if differing and model is None:
        raise typer.Exit(DIFFERENT)
