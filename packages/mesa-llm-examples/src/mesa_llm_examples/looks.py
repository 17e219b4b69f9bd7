"""How the states of each example look, the same in its app, in its report and on its slide.

The colours are those of Okabe and Ito (2008), which colour-blind people can tell apart; shapes tell the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """How a variable or a state is drawn.

    Attributes:
        color: the colour, as matplotlib takes it.
        marker: the shape, as matplotlib takes it.
        label: its name in a legend; by default that of the variable.
    """

    color: str
    marker: str = "o"
    label: str | None = None


BLUE, ORANGE, GREEN, SKY, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#999999"

LOOKS: Mapping[str, Mapping[str, Look]] = {
    "civil-violence": {"active": Look(ORANGE, "^"), "quiet": Look(SKY, "o"), "jailed": Look(GREY, "X")},
    "negotiation": {
        "offers": Look(BLUE, "o"),
        "deals": Look(GREEN, "D"),
        "price": Look(GREEN, "D"),
        "surplus": Look(ORANGE, "s"),
        "efficiency": Look(PINK, "^"),
    },
    "sugarscape": {
        "population": Look(BLUE, "o"),
        "exchanges": Look(GREEN, "s"),
        "price": Look(ORANGE, "^"),
        "gini": Look(PINK, "D"),
    },
    "opinion": {
        "mean": Look(BLUE, "o"),
        "variance": Look(ORANGE, "^"),
        "clusters": Look(GREEN, "s", "listening groups"),
    },
}
"""The looks of the variables that an example collects, by the name of the example."""


def looks_for(run: str) -> Mapping[str, Look]:
    """The looks of a recorded run, which has the name of an example or that of its model's class; empty for others."""
    names = {"".join(word.title() for word in name.split("-")): name for name in LOOKS}
    return LOOKS.get(names.get(run, run), {})
