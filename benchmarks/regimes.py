"""The regimes of civil violence: ours offline, beside Mesa's own example, at the same densities.

    uv run python -m benchmarks.regimes [--steps 60] [--seeds 3]

Both run on 20 x 20 cells of a torus of which 70 % hold a citizen. In Mesa's example an agent sees 113 cells (distance 7
without diagonal steps), in ours 121 (5 with diagonal steps). An outburst begins where more than a fifth of the citizens
are active and ends where less than a fiftieth are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mesa.examples.advanced.epstein_civil_violence.model import EpsteinCivilViolence, EpsteinScenario

from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples.civil_violence import CivilViolence

SIDE = 20
MAX_JAIL_TERM = 30
REGIMES = {"quiet": (0.9, 0.04), "outbursts": (0.8, 0.04), "suppressed": (0.8, 0.074)}
"""Legitimacy and cops per cell."""


def ours(legitimacy: float, cop_density: float, steps: int, seed: int) -> list[float]:
    """The share of citizens that are active after each step."""
    citizens = round(0.7 * SIDE**2)
    model = CivilViolence(
        citizens,
        round(cop_density * SIDE**2),
        width=SIDE,
        height=SIDE,
        citizen_vision=5,
        cop_vision=5,
        legitimacy=legitimacy,
        max_jail_term=MAX_JAIL_TERM,
        seed=seed,
    )
    for _ in range(steps):
        model.step()
    return [active / citizens for active in model.datacollector.model_vars["active"]]


def mesas(legitimacy: float, cop_density: float, steps: int, seed: int) -> list[float]:
    """The same of Mesa's example."""
    scenario = EpsteinScenario(legitimacy=legitimacy, cop_density=cop_density, max_jail_term=MAX_JAIL_TERM, rng=seed)
    model = EpsteinCivilViolence(SIDE, SIDE, scenario)
    citizens = model.ACTIVE + model.QUIET
    for _ in range(steps):
        model.step()
    return [active / citizens for active in model.datacollector.model_vars["active"]]


def outbursts(shares: Sequence[float]) -> int:
    """How many there are."""
    count, inside = 0, False
    for share in shares:
        if not inside and share > 1 / 5:
            count, inside = count + 1, True
        elif inside and share < 1 / 50:
            inside = False
    return count


def main() -> None:
    """Print a table: a line a regime, model and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    enable_automatic_parallel_stepping()
    print(f"{'regime':11} {'model':6} seed  most active  mean active  steps with < 2 %  outbursts")
    for regime, (legitimacy, cop_density) in REGIMES.items():
        for name, run in (("ours", ours), ("Mesa's", mesas)):
            for seed in range(1, arguments.seeds + 1):
                shares = run(legitimacy, cop_density, arguments.steps, seed)
                calm = sum(share < 1 / 50 for share in shares) / len(shares)
                mean = sum(shares) / len(shares)
                figures = f"{max(shares):11.1%}  {mean:11.1%}  {calm:16.0%}  {outbursts(shares):9}"
                print(f"{regime:11} {name:6} {seed:4}  {figures}", flush=True)


if __name__ == "__main__":
    main()
