"""What the benchmarks say of what they have measured: the figures are those of the cells, and ratios are to their peers."""

import pytest

from benchmarks import __main__ as all_of_them
from benchmarks.plot import draw
from benchmarks.server import Seen
from benchmarks.step import ALONE, BARE, DIRECT, THEIRS, Cell, summary, table


def cell(contestant, agents=1000, latency_ms=200, seconds=0.5, *, calls=8000, steps=4, is_done=True):
    return Cell(contestant, agents, latency_ms, seconds, Seen(calls, agents, agents), steps, is_done=is_done)


MEASURED = [
    cell(BARE),
    cell(DIRECT, seconds=0.75),
    cell(ALONE, agents=10, seconds=4.0, steps=2),
    cell(THEIRS, seconds=180.0, steps=2, is_done=False),
]


def rows(text):
    parts = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {contestant.replace("\N{NO-BREAK SPACE}", " "): [agents, *rest] for agents, contestant, *rest in parts[2:]}


def test_a_row_has_the_seconds_and_their_ratios_to_bare_aiohttp_and_to_the_floor():
    assert rows(table(MEASURED))[DIRECT] == ["1,000", "0.750 s", "1.50", "1.88", "2,000", "1,000", "1,000"]


def test_who_has_not_come_to_the_end_took_longer_than_was_waited():
    row = rows(table(MEASURED))[THEIRS]
    assert row[1:4] == ["> 90 s", "> 180.00", "> 225.00"]


def test_one_at_a_time_is_what_was_measured_with_as_many_agents_as_were_run():
    heading = table(MEASURED).partition("\n")[0]
    assert heading == "Answers after 200 ms; one agent at a time, 10 agents take 4.00 s a step:"
    assert ALONE not in rows(table(MEASURED))


def test_sentences_say_what_was_measured_and_nothing_else():
    said = summary(MEASURED)
    assert said == [
        "1,000 agents, answers after 200 ms: 1.50 times as long as bare aiohttp takes for the same calls.",
        "1,000 agents, answers after 200 ms: 1.88 times the floor.",
        "1,000 agents, answers after 200 ms: mesa-llm 0.3.2 takes more than 120 times as long.",
    ]
    assert summary([cell(BARE)]) == []


def test_the_picture_has_a_line_for_each_contestant(tmp_path):
    draw(MEASURED, tmp_path / "steps.svg")
    drawn = (tmp_path / "steps.svg").read_text(encoding="utf-8")
    for one in MEASURED:
        assert one.contestant in drawn


@pytest.mark.parametrize("module", ["step", *(module for _, module, _, _ in all_of_them.OTHERS), "real_model"])
def test_the_page_says_of_each_benchmark_what_it_measures(module):
    about = all_of_them.about(module)
    assert about[0].isupper()
    assert "python -m" not in about
