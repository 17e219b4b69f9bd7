"""The pictures that `make figures` draws."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["step.svg", "speedup.svg"])
def test_a_figure_is_small_says_which_run_it_shows_and_suits_light_and_dark_pages(name):
    text = (ROOT / "docs" / "assets" / name).read_text()
    assert len(text) < 150_000
    assert len(re.findall(r"make figures, \d{4}-\d\d-\d\d, .*mesa [\d.]+, Python [\d.]+, seed \d+", text)) == 2
    assert not re.search(r"fill: #(fff|000)", text)
    assert "@font-face" not in text


def test_the_home_page_gives_the_times_that_the_figure_shows():
    figure = (ROOT / "docs" / "assets" / "step.svg").read_text()
    times = re.search(r"All at once: ([\d.]+ s)", figure)[1], re.search(r"One at a time: ([\d.]+ s)", figure)[1]
    for page in ("docs/index.md", "README.md"):
        alt_text = re.search(r"!\[([^\]]*)\]\([^)]*step\.svg\)", (ROOT / page).read_text())[1]
        assert all(seconds in alt_text for seconds in times), page
