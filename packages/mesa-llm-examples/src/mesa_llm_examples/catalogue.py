"""The examples, and the commands with the options that their models have.

Defaults and help of the options come from the signatures and docstrings of the models. They are read from the source:
listing the examples and showing their help imports no Mesa, which takes seconds.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from mesa_llm_examples.setting import MaxWorkers, ModelConnection

if TYPE_CHECKING:
    from mesa_llm.clients import Answer, LLMRequest

_NO_OPTIONS = frozenset(
    {
        # Every model has them; the command has other options for them.
        *("seed", "llm_model", "api_base", "client", "parallel_stepping"),
        # Epstein's constants.
        *("active_threshold", "arrest_constant"),
    }
)
_TYPES: Mapping[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "int | None": int | None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A parameter of a model that is an option of the command line.

    Attributes:
        name: the name of the parameter.
        default: the model's own default; `None` for a value that the model works out.
        help: the description of the parameter in the docstring of the model.
        type: the type of its values.
    """

    name: str
    default: Any
    help: str
    type: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A model that can be run.

    Attributes:
        name: the name on the command line; with underscores, the name of the package.
        summary: what happens in it, in one sentence.
        model: the name of the model's class in the module `model`. Its `result()` gives the outcome in one line.
        headline: what is run, with the values of options in braces; `{cops:cop|cops}` becomes `1 cop` or `2 cops`.
        steps: how many steps a run has by default.
    """

    name: str
    summary: str
    model: str
    headline: str
    steps: int = 10

    @property
    def package(self) -> str:
        """The package with the model's class and the `policy` that decides without a language model."""
        return f"mesa_llm_examples.{self.name.replace('-', '_')}"

    @property
    def options(self) -> tuple[Option, ...]:
        """The parameters of the model that are options, in the order of its signature."""
        return _options_in(Path(__file__).parent / self.package.rpartition(".")[2] / "model.py", self.model)

    def headline_of(self, options: Mapping[str, Any]) -> str:
        """The headline with the values of the options, by name; `seed` is one of them."""
        return f"{_Headline().vformat(self.headline, (), options)}, seed {options['seed']}"

    def model_class(self) -> Callable[..., Any]:
        """The class of the Mesa model. Imports Mesa."""
        made: Callable[..., Any] = getattr(importlib.import_module(self.package), self.model)
        return made

    def policy(self) -> Callable[[LLMRequest], Answer]:
        """The rule that decides if no LLM is called. Imports Mesa."""
        decides: Callable[[LLMRequest], Answer] = importlib.import_module(self.package).policy
        return decides


class _Headline(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        return f"{value} {one if value == 1 else many}" if bar else super().format_field(value, format_spec)


@cache
def _options_in(file: Path, model: str) -> tuple[Option, ...]:
    import docstring_parser  # noqa: PLC0415 - takes as long to import as the rest of the command

    classes = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    [cls] = [node for node in classes if node.name == model]
    [init] = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    described = docstring_parser.parse(ast.get_docstring(cls) or "").params
    helps = {item.arg_name: " ".join((item.description or "").replace("`", "").split()) for item in described}
    parameters = zip(
        [*init.args.args[1:], *init.args.kwonlyargs], [*init.args.defaults, *init.args.kw_defaults], strict=True
    )
    return tuple(
        Option(
            name=parameter.arg,
            default=ast.literal_eval(default),
            help=helps[parameter.arg][:1].upper() + helps[parameter.arg][1:],
            type=_TYPES[ast.unparse(parameter.annotation)],
        )
        for parameter, default in parameters
        if parameter.arg not in _NO_OPTIONS and parameter.annotation is not None and default is not None
    )


def command_for(example: Example, run: Callable[..., None], *, steps: int) -> Callable[..., None]:
    """The command that runs an example. Its options are those of the model, those of `run` and those of any run.

    Args:
        example: the example.
        run: runs it, given the example, the context with the values of all options, and its own keyword parameters.
            These are options too, `steps` is one of them.
        steps: the default of `steps`.
    """
    own = dict(inspect.signature(run, eval_str=True).parameters)
    context = own.pop("context").replace(kind=inspect.Parameter.KEYWORD_ONLY)
    del own["example"]
    own["steps"] = own["steps"].replace(default=steps)
    hints = get_type_hints(ModelConnection, include_extras=True)
    parameters = [
        context,
        *map(_parameter_of, example.options),
        *own.values(),
        _parameter("max_workers", None, MaxWorkers),
        *(_parameter(option.name, option.default, hints[option.name]) for option in fields(ModelConnection)),
    ]

    def command(context: typer.Context, **options: Any) -> None:
        run(example, context, **{name: options[name] for name in own})

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter_of(option: Option) -> inspect.Parameter:
    shown = "as needed" if option.default is None else True
    declared = typer.Option(help=option.help, show_default=shown, rich_help_panel="Simulation")
    return _parameter(option.name, option.default, Annotated[option.type, declared])


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def options_of(example: Example, context: typer.Context, *names: str) -> dict[str, Any]:
    """The values of the options of an example's model, and of some further options."""
    return {name: context.params[name] for name in (*(option.name for option in example.options), *names)}


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the command line has an option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


EXAMPLES: Mapping[str, Example] = {
    example.name: example
    for example in (
        Example(
            name="civil-violence",
            summary="Citizens rebel or keep quiet, cops arrest those who rebel (Epstein 2002).",
            model="CivilViolence",
            headline="Civil violence (Epstein 2002): {citizens:citizen|citizens}, {cops:cop|cops}",
        ),
        Example(
            name="negotiation",
            summary="Buyers and sellers bargain by messages (Faratin, Sierra and Jennings 1998).",
            model="Negotiation",
            headline=(
                "Negotiation (Faratin et al. 1998): "
                "{buyers:buyer|buyers}, {sellers:seller|sellers}, {rounds:round|rounds}"
            ),
        ),
        Example(
            name="sugarscape",
            summary="Traders gather sugar and spice, and barter where both gain (Epstein and Axtell 1996).",
            model="Sugarscape",
            headline=(
                "Sugarscape with trade (Epstein and Axtell 1996): {traders:trader|traders} on {width} x {height} cells"
            ),
            steps=20,
        ),
        Example(
            name="opinion",
            summary="People on a network talk, and listen to those who think alike (Deffuant et al. 2000).",
            model="Opinion",
            headline="Opinion dynamics (Deffuant et al. 2000): {people:person|people}, confidence {confidence:g}",
            steps=20,
        ),
    )
}
"""The examples by name."""
