"""The pictures that `make figures` draws."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
ASSETS = ROOT / "docs" / "assets"
DRAWN = ["bars", "goods", "rule-and-llm", "speedup", "step"]


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("kind", "page"), [("", "#ffffff"), ("-dark", "#1e2129")])
def test_a_figure_is_small_says_which_run_it_shows_and_can_be_read_on_its_page(name, kind, page):
    text = (ASSETS / f"{name}{kind}.svg").read_text()
    assert len(text) < 150_000
    assert (
        len(re.findall(r"(?:make figures|python -m benchmarks), \d{4}-\d\d-\d\d, .*mesa [\d.]+, Python [\d.]+", text))
        == 2
    )
    assert "@font-face" not in text
    texts = set(re.findall(r"<text [^>]*fill: (#\w{6})", text))
    assert texts
    assert min(contrast(color, page) for color in texts) >= 4.5
    drawn = set(re.findall(r"(?:stroke|fill): (#\w{6})", text))
    assert min(contrast(color, page) for color in drawn) >= 2.8  # graphics need less than text


def test_the_pages_give_the_times_that_the_figure_shows():
    figure = (ASSETS / "step.svg").read_text()
    times = (
        re.search(r"All agents at once: ([\d.]+ s)", figure)[1],
        re.search(r"One agent at a time: ([\d.]+ s)", figure)[1],
    )
    for page in ("docs/index.md", "README.md"):
        alt_texts = re.findall(r'24 agents, one step: [^"\]]*', (ROOT / page).read_text())
        assert alt_texts, page
        assert all(seconds in alt_text for seconds in times for alt_text in alt_texts), page


@pytest.mark.parametrize("script", sorted(FIGURES.glob("*.py")), ids=lambda script: script.stem)
def test_the_scripts_can_be_started(script, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FIGURES), *sys.path])
    runpy.run_path(str(script), run_name="imported")


def test_the_bars_are_those_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FIGURES), *sys.path])
    seconds = runpy.run_path(str(FIGURES / "bars.py"), run_name="imported")["measured"]()
    page = (ROOT / "docs/explanation/how-much-faster.md").read_text()
    one, peer, ours, bare = seconds.values()
    assert (
        f"one agent at a time {one:.1f}, mesa-llm 0.3.2 {peer:.2f}, mesa-llm-parallel {ours:.2f}, bare HTTP {bare:.2f}"
        in page
    )
    assert f"| {one / ours:.0f} times |" in page
    figure = (ASSETS / "bars.svg").read_text()
    assert all(f"{value:.{digits}f} s" in figure for value, digits in ((one, 1), (peer, 2), (ours, 2), (bare, 2)))
