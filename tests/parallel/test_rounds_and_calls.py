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
