"""The examples, and the options with which each of them is run.

Defaults and help of the options are read from the source of the models, so that listing the examples and showing their
help imports no Mesa, which takes seconds.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm_examples import words

if TYPE_CHECKING:
    from mesa_llm.clients import Answer, LLMRequest

_NO_OPTIONS = frozenset(
    {
        # Every model has them; the command has other options for them.
        *("seed", "llm_model", "api_base", "client", "parallel_stepping"),
        # Constants of Epstein's.
        *("active_threshold", "arrest_constant"),
    }
)
_TYPES: Mapping[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "int | None": int | None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A parameter of a model that can be set where the model is run.

    Attributes:
        name: the name of the parameter.
        default: the model's own default; `None` for a value that the model works out.
        help: the parameter's description in the docstring of the model.
        type: of its values.
    """

    name: str
    default: Any
    help: str
    type: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A model that can be run.

    Attributes:
        name: on the command line, and of its package with underscores.
        summary: what happens in it, in one sentence.
        model: the name of the model's class in the module `model`. Its `result()` says in one line what came of it.
        headline: what is run, with the values of options in braces; `{cops:cop|cops}` says how many.
        steps: how many steps show what it is about.
    """

    name: str
    summary: str
    model: str
    headline: str
    steps: int = 10

    @property
    def package(self) -> str:
        """The package; it has the model's class and the `policy` that decides without a language model."""
        return f"mesa_llm_examples.{self.name.replace('-', '_')}"

    @property
    def options(self) -> tuple[Option, ...]:
        """The parameters of the model that are options, in the order of its signature."""
        return _options_of(Path(__file__).parent / self.package.rpartition(".")[2] / "model.py", self.model)

    def headline_of(self, options: Mapping[str, Any]) -> str:
        """What is run with some options, in words.

        Args:
            options: their values, by name; `seed` included.
        """
        return f"{words.headline(self.headline, options)}, seed {options['seed']}"

    def model_class(self) -> Callable[..., Any]:
        """The class of the Mesa model. Imports Mesa."""
        made: Callable[..., Any] = getattr(importlib.import_module(self.package), self.model)
        return made

    def policy(self) -> Callable[[LLMRequest], Answer]:
        """The rule that decides if no model is asked. Imports Mesa."""
        decides: Callable[[LLMRequest], Answer] = importlib.import_module(self.package).policy
        return decides


@cache
def _options_of(file: Path, model: str) -> tuple[Option, ...]:
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
