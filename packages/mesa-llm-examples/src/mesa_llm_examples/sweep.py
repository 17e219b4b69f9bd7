"""`mesa-llm-examples sweep NAME`: many runs of an example, under one set of limits, in a folder that keeps them."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console

from mesa_llm.errors import ConfigurationError
from mesa_llm_examples.catalogue import EXAMPLES, Example
from mesa_llm_examples.setting import Activation

if TYPE_CHECKING:
    import pandas as pd

    from mesa_llm.experiments import SweepResult

_ANSWER_TOKENS = 60
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def sweep_command(
    name: Annotated[str, typer.Argument(help=f"The example: {', '.join(EXAMPLES)}.", metavar="NAME")],
    *,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="A parameter of the model with its values: citizens=60,120. May be given several times."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps.", show_default="the example's")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the study is kept; one that broke off goes on.", show_default="sweep-NAME"),
    ] = None,
    llm: Annotated[
        list[str] | None,
        typer.Option(
            "--llm",
            "--model",
            help="LLM, as provider/name; several to compare them.",
            show_default="the example's rule",
        ),
    ] = None,
    activation: Annotated[
        list[Activation] | None,
        typer.Option(help="How agents step; several to compare them.", show_default="simultaneous"),
    ] = None,
    api_base: Annotated[str | None, typer.Option(help="Base URL of the LLM's server.")] = None,
    budget: Annotated[float | None, typer.Option(min=0.01, help="What all runs may cost, in US dollars.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(min=1, help="How many calls may be in flight.")] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(min=1, help="How many calls may be sent a minute.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what the runs will take.")] = False,
    keep_on: Annotated[
        bool, typer.Option("--continue", help="Make the other runs if one fails, and say in the end which did.")
    ] = False,
) -> None:
    """Make many runs of an example: parameters, seeds, LLMs and activations.

    For example: mesa-llm-examples sweep civil-violence --grid citizens=60,120 --seeds 10 --activation sequential
    """
    example = EXAMPLES.get(name)
    if example is None:
        raise ConfigurationError(f"There is no example {name!r}. There are: {', '.join(EXAMPLES)}.")
    points = _grid_of(example, grid or [])
    if budget is not None and not llm:
        raise ConfigurationError("--budget needs --llm: the example's rule costs nothing.")
    console = Console(highlight=False, stderr=True)
    with console.status("Loading Mesa ..."):
        from mesa_llm.clients import RuleBasedClient  # noqa: PLC0415 - imports Mesa
        from mesa_llm.experiments import Limits, Sweep  # noqa: PLC0415
        from mesa_llm.limits import Budget  # noqa: PLC0415

        limits: dict[str, Any] = {"requests_per_minute": requests_per_minute}
        if max_concurrency is not None:
            limits["max_concurrency"] = max_concurrency
        if budget is not None:
            limits["budget"] = Budget(cost=budget)
        rule = RuleBasedClient(example.policy())
        model_class: Any = example.model_class()
        sweep = Sweep(
            model_class,
            points,
            rng=range(seeds),
            steps=example.steps if steps is None else steps,
            folder=Path(f"sweep-{name}") if folder is None else folder,
            llm_models=llm or [None],
            activations=[each.value for each in activation] if activation else ["simultaneous"],
            client=None if llm else rule,
            api_base=api_base,
            limits=Limits(**limits),
            on_error="continue" if keep_on else "raise",
        )
    if estimate or budget is not None:
        typer.echo(sweep.estimate(rule, answer_tokens=_ANSWER_TOKENS))
    if estimate:
        return
    try:
        result = sweep.run()
    except KeyboardInterrupt:
        raise ConfigurationError(f"Interrupted. The same command goes on, in {sweep.folder}.") from None
    _show(result, sweep.folder, [*points, *(["llm_model"] if llm else []), "activation"])


def _grid_of(example: Example, given: Sequence[str]) -> dict[str, list[Any]]:
    known = {option.name: option for option in example.options}
    points: dict[str, list[Any]] = {}
    for text in given:
        name, found, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not found or name not in known:
            raise ConfigurationError(
                f"--grid {text!r} is not a parameter with values, such as citizens=60,120. {example.name} has: "
                f"{', '.join(known)}."
            )
        points[name] = [_value(value.strip(), known[name].type, text) for value in values.split(",")]
    return points


def _value(text: str, kind: Any, given: str) -> Any:
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if bool in kinds and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    for each in kinds:
        if each in (int, float, str):
            try:
                return each(text)
            except ValueError:
                continue
    raise ConfigurationError(
        f"--grid {given!r}: {text!r} is no {' or '.join(getattr(each, '__name__', 'None') for each in kinds)}."
    )


def _show(result: SweepResult, folder: Path, arms: list[str]) -> None:
    """Write the data frames beside the runs, and print the mean of each column after the last step, by arms."""
    runs, steps = result.frame("runs"), result.frame("steps")
    for name, frame in {"runs": runs, "steps": steps}.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    if not steps.empty:
        typer.echo(_means(steps, arms).to_string())
    for run, cause in result.failed.items():
        typer.echo(f"Failed: {run}: {cause}")
    typer.echo(
        f"{len(result.done)} runs, {int(runs.calls.fillna(0).sum()):,} calls. {folder}: runs.csv, steps.csv, journals"
    )


def _means(steps: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    last = steps.groupby("run", sort=False).tail(1)
    numbers = [name for name in last.select_dtypes("number") if name not in {*arms, "rng", "step"}]
    means: pd.DataFrame = last.groupby(arms, sort=False)[numbers].mean().round(2)
    return means
