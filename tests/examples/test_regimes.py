"""Civil violence shows the regimes of the paper: quiet, outbursts, and a crowd of cops that keeps everybody down.

J. M. Epstein (2002), Modeling civil violence: An agent-based computational approach, PNAS 99 (suppl. 3), 7243-7250; in
particular the punctuated equilibrium of its second run. Densities, legitimacy and what agents see are those of Mesa's
own version of the model: 70 % of the cells hold a citizen, 7.4 % a cop (4 % in the paper's runs with outbursts), and
agents see 113 cells there, 121 here. The bands are those of `benchmarks/regimes.py` and wider than its runs spread.
"""

import pytest

from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm_examples.civil_violence import CivilViolence

pytestmark = pytest.mark.slow

SIDE = 20
CELLS = SIDE * SIDE
CITIZENS = round(0.7 * CELLS)
MAX_JAIL_TERM = 30
FEW, MANY = 1 / 50, 1 / 5


def shares(steps, legitimacy, cop_density):
    """Which share of the citizens is active after each step, and which share is in jail at the end."""
    enable_automatic_parallel_stepping()
    model = CivilViolence(
        CITIZENS,
        round(cop_density * CELLS),
        width=SIDE,
        height=SIDE,
        citizen_vision=5,
        cop_vision=5,
        legitimacy=legitimacy,
        max_jail_term=MAX_JAIL_TERM,
        seed=1,
    )
    for _ in range(steps):
        model.step()
    states = model.datacollector.model_vars
    return [active / CITIZENS for active in states["active"]], states["jailed"][-1] / CITIZENS


def test_a_legitimate_regime_is_quiet():
    active, jailed = shares(5, legitimacy=0.9, cop_density=0.04)
    assert max(active) == 0
    assert jailed == 0


def test_a_few_cops_let_outbursts_come_and_pass():
    active, jailed = shares(22, legitimacy=0.8, cop_density=0.04)
    peak = active.index(max(active))
    assert active[peak] > MANY
    assert peak <= 8  # it builds up within steps ...
    calm = [step for step, share in enumerate(active) if step > peak and share < FEW]
    assert calm  # ... and passes when those who would rebel are in jail
    assert jailed > MANY
    assert all(share < FEW for share in active[calm[0] : calm[0] + 4])


def test_more_cops_suppress_what_would_be_an_outburst():
    active, jailed = shares(10, legitimacy=0.8, cop_density=0.074)
    would_rebel = 1 - 0.1 / (1 - 0.8)  # G > T, where there is nobody to fear
    assert would_rebel == pytest.approx(0.5)
    assert 0 < max(active) < would_rebel / 5
    assert sorted(active)[len(active) // 2] < FEW
    assert jailed < would_rebel / 5


@pytest.mark.parametrize(("cop_density", "outburst"), [(0.03, True), (0.074, False)])
def test_mesas_own_version_of_the_model_has_the_same_regimes(cop_density, outburst):
    own = pytest.importorskip("mesa.examples.advanced.epstein_civil_violence.model")
    if not hasattr(own, "EpsteinScenario"):
        pytest.skip("this release of Mesa has another version of its example")
    peaks = []
    for seed in range(4):
        scenario = own.EpsteinScenario(cop_density=cop_density, max_jail_term=MAX_JAIL_TERM, rng=seed)
        model = own.EpsteinCivilViolence(SIDE, SIDE, scenario)
        citizens = model.ACTIVE + model.QUIET
        for _ in range(30):
            model.step()
        peaks.append(max(model.datacollector.model_vars["active"]) / citizens)
    assert (max(peaks) > MANY) is outburst
