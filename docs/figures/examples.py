"""Draws the worlds of the examples as their apps draw them, after a run by the rule.

uv run python docs/figures/examples.py
"""

from __future__ import annotations

import importlib

from pictures import ASSETS, INK, ON_DARK, SEED

from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples.apps.example import draw
from mesa_llm_examples.catalogue import EXAMPLES

STEPS = {"civil-violence": 5, "negotiation": 10, "sugarscape": 20, "opinion": 10}


def main() -> None:
    """Draw world and states of each."""
    enable_automatic_parallel_stepping()
    for name, example in EXAMPLES.items():
        app = importlib.import_module(f"{example.package}.app").APP
        model = app.make_model(**app.defaults(), seed=SEED)
        for _ in range(STEPS[name]):
            model.step()
        pictures = draw(app, model, None)
        for kind, picture in (("world", pictures.world), ("time", pictures.states[0])):
            for suffix, ink in (("", INK), ("-dark", ON_DARK[INK])):
                svg = "\n".join(line.rstrip() for line in picture.svg.replace("currentColor", ink).splitlines())
                (ASSETS / f"{name}-{kind}{suffix}.svg").write_text(f"{svg}\n")


if __name__ == "__main__":
    main()
