"""The options of commands that run an example: those of its own, and those that all have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mesa_llm_examples.setting import ATTEMPTS, LATENCY, TIMEOUT

if TYPE_CHECKING:
    from mesa_llm_examples.catalogue import Example, Option

Steps = Annotated[int, typer.Option(min=1, help="How many steps.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Same seed, same run.", show_default="drawn")]
MaxWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="In mode threading: how many threads may run at once.", show_default="all"),
]
Model = Annotated[str | None, typer.Option(help="Language model, as provider/name; any of litellm's.")]
ApiBase = Annotated[str | None, typer.Option(help="Base URL of the model's server.")]
Timeout = Annotated[
    float | None,
    typer.Option(min=1, help="With --model: seconds to wait for an answer.", show_default=f"{TIMEOUT:g}"),
]
MaxAttempts = Annotated[
    int | None,
    typer.Option(min=1, help="With --model: how often a request is sent at most.", show_default=str(ATTEMPTS)),
]
Latency = Annotated[
    float | None, typer.Option(min=0, help="Without --model: seconds until an answer.", show_default=f"{LATENCY:g}")
]


def command_for(example: Example, run: Callable[..., None], *, steps: int) -> Callable[..., None]:
    """The command that runs an example: a function whose parameters are the example's options and those of any run.

    Args:
        example: the example.
        run: runs it. Called with the example and the context, which has the values of all options; its keyword
            parameters are options too, `steps` among them.
        steps: how many steps by default.
    """

    def command(context: typer.Context, **options: Any) -> None:
        run(example, context, **{name: value for name, value in options.items() if name in shared})

    shared = dict(inspect.signature(run, eval_str=True).parameters)
    context = shared.pop("context")
    del shared["example"]
    shared["steps"] = shared["steps"].replace(default=steps)
    own = [_parameter(option) for option in example.options]
    parameters = [context.replace(kind=context.KEYWORD_ONLY), *own, *shared.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def of_model(example: Example, context: typer.Context) -> dict[str, Any]:
    """The values of the options that the example's model has."""
    return {option.name: context.params[option.name] for option in example.options}


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(option: Option) -> inspect.Parameter:
    shown = "as needed" if option.default is None else True
    declared = typer.Option(help=option.help, show_default=shown, rich_help_panel="Model")
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.type, declared],
    )
