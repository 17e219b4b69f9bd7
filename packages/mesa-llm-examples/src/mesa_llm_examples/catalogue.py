"""Which examples there are, and with which options each of them is run.

What the command needs to know of an example stands here and nowhere else; to list the examples, no Mesa is imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesa_llm_examples import words

if TYPE_CHECKING:
    from mesa_llm.clients import Answer, LLMRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An argument of a model that can be set where the model is run.

    Attributes:
        name: the name of the argument.
        default: what it is if it is not given; the model's own default.
        help: what it means, in one sentence.
        type: of its values.
        shown_default: what is said of the default, where the value says too little.
    """

    name: str
    default: Any
    help: str
    type: Any = int
    shown_default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A model that can be run.

    Attributes:
        name: on the command line.
        summary: what happens in it, in one sentence.
        package: where it is; it has the model's class and the `policy` that decides without a language model.
        model: the name of the model's class.
        headline: what is run, with the values of options in braces; `{cops:cop|cops}` says how many.
        options: its options, besides `seed` and the way to the language model, which every model has.
        steps: how many steps show what it is about.
    """

    name: str
    summary: str
    package: str
    model: str
    headline: str
    options: tuple[Option, ...]
    steps: int = 10

    def headline_of(self, options: Mapping[str, Any]) -> str:
        """What is run with some options, in words.

        Args:
            options: their values, by name; `seed` included.
        """
        return f"{words.headline(self.headline, options)}, seed {options['seed']}"

    def model_class(self) -> Callable[..., Any]:
        """Makes the Mesa model. Its `result()` says in one line what came of it. Imports Mesa."""
        made: Callable[..., Any] = getattr(importlib.import_module(self.package), self.model)
        return made

    def policy(self) -> Callable[[LLMRequest], Answer]:
        """Decides if no model is to be asked. Imports Mesa."""
        decides: Callable[[LLMRequest], Answer] = importlib.import_module(self.package).policy
        return decides


_SIZE = (
    Option(
        name="width",
        default=None,
        type=int | None,
        help="Width of the grid, in cells.",
        shown_default="as needed",
    ),
    Option(
        name="height",
        default=None,
        type=int | None,
        help="Height of the grid, in cells.",
        shown_default="as needed",
    ),
)

_CIVIL_VIOLENCE = Example(
    name="civil-violence",
    summary="Citizens rebel or keep quiet, cops arrest those who rebel (Epstein 2002).",
    package="mesa_llm_examples.civil_violence",
    model="CivilViolence",
    headline="Civil violence (Epstein 2002): {citizens:citizen|citizens}, {cops:cop|cops}",
    options=(
        Option(name="citizens", default=60, help="How many citizens."),
        Option(name="cops", default=12, help="How many cops."),
        Option(name="legitimacy", default=0.5, type=float, help="How legitimate the regime seems, 0 to 1."),
        Option(name="citizen_vision", default=2, help="How many cells far citizens see."),
        Option(name="cop_vision", default=2, help="How many cells far cops see."),
        Option(name="max_jail_term", default=5, help="The longest jail term, in steps."),
        *_SIZE,
        Option(name="movement", default=True, type=bool, help="Whether anybody moves."),
    ),
)

_NEGOTIATION = Example(
    name="negotiation",
    summary="Buyers and sellers bargain by messages (Faratin, Sierra and Jennings 1998).",
    package="mesa_llm_examples.negotiation",
    model="Negotiation",
    headline=(
        "Negotiation (Faratin et al. 1998): {buyers:buyer|buyers}, {sellers:seller|sellers}, {rounds:round|rounds}"
    ),
    options=(
        Option(name="buyers", default=10, help="How many buyers."),
        Option(name="sellers", default=10, help="How many sellers."),
        Option(name="units", default=2, help="How many units each seller has, and each buyer wants."),
        Option(name="rounds", default=10, help="How many steps the market is open."),
        Option(name="lowest_price", default=10, help="The lowest possible value and cost of a unit, in coins."),
        Option(name="highest_price", default=100, help="The highest possible value and cost of a unit, in coins."),
    ),
)

_SUGARSCAPE = Example(
    name="sugarscape",
    summary="Traders gather sugar and spice, and barter where both gain (Epstein and Axtell 1996).",
    package="mesa_llm_examples.sugarscape",
    model="Sugarscape",
    headline="Sugarscape with trade (Epstein and Axtell 1996): {traders:trader|traders} on {width} x {height} cells",
    options=(
        Option(name="traders", default=40, help="How many traders."),
        Option(name="width", default=20, help="Width of the grid, in cells."),
        Option(name="height", default=20, help="Height of the grid, in cells."),
        Option(name="max_metabolism", default=4, help="The most sugar, and spice, that a trader needs a step."),
        Option(name="max_vision", default=3, help="How many cells far the most far-sighted see."),
        Option(name="growth", default=1, help="How much sugar, and spice, grows on a cell a step."),
        Option(name="trade", default=True, type=bool, help="Whether anybody trades."),
    ),
    steps=20,
)

_OPINION = Example(
    name="opinion",
    summary="People on a network talk, and listen to those who think alike (Deffuant et al. 2000).",
    package="mesa_llm_examples.opinion",
    model="Opinion",
    headline="Opinion dynamics (Deffuant et al. 2000): {people:person|people}, confidence {confidence:g}",
    options=(
        Option(name="people", default=40, help="How many people."),
        Option(name="neighbors", default=8, help="With how many others each is connected, on average."),
        Option(name="rewiring", default=0.1, type=float, help="The share of connections that lead anywhere, 0 to 1."),
        Option(name="confidence", default=0.3, type=float, help="Who differs by less is listened to, 0 to 1."),
        Option(name="convergence", default=0.5, type=float, help="How far a listener moves, 0 to 0.5 of the way."),
        Option(
            name="topic",
            default="whether the centre of our town should be closed to cars",
            type=str,
            help="What they talk about; for language models.",
        ),
    ),
    steps=20,
)

EXAMPLES: Mapping[str, Example] = {
    example.name: example for example in (_CIVIL_VIOLENCE, _NEGOTIATION, _SUGARSCAPE, _OPINION)
}
"""The examples by name."""
