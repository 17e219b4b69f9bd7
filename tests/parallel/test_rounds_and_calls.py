"""Looking ahead takes no more rounds, and wastes no more calls, than it did when `benchmarks/sequential.py` was written."""

import math

import pytest

from benchmarks.sequential import ROWS, measure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("title", [title for title, row in ROWS.items() if math.isfinite(row.rounds)])
def test_rounds_and_calls_stay_within_their_bounds(title):
    row = ROWS[title]
    measured = measure(row)
    assert measured.rounds <= row.rounds
    assert measured.sent <= row.sent


def test_where_everybody_sees_everybody_a_larger_max_waste_buys_rounds():
    row = ROWS["civil 72, vision 7, stable"]
    thrifty, generous = measure(row), measure(row, max_waste=2)
    assert thrifty.sent <= 1.6
    assert thrifty.rounds <= 55
    assert generous.sent <= 2.2
    assert generous.rounds <= 22
