"""The page of a run."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from html import unescape

import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from mesa_llm_examples.reports import measures, sections
from mesa_llm_examples.reports.page import page
from mesa_llm_examples.reports.run_file import read_run


def page_of(run):
    return page(run, measures.slowest_step(run))


@pytest.fixture(scope="module")
def html(recorded):
    return page_of(read_run(recorded))


def text_of(html):
    return unescape(re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL)))


def test_the_page_needs_nothing_else_and_runs_nothing(html):
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", html))
    assert {address.split("/")[2] for address in addresses} <= {"www.w3.org", "purl.org", "creativecommons.org"}
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", html)


def test_the_page_tells_what_happened(run, html):
    text = text_of(html)
    end = run.end
    assert f"Model calls {end.calls:,}, up to {end.peak_in_flight} at once, 1 failed" in text
    assert f"{end.prompt_tokens:,} tokens read, {end.completion_tokens:,} written; US$ {end.cost:,.4f}." in text
    assert re.search(r"Citizen 5 \d+ [\d,]+ [\d.]+ 0 acted \d+", text)
    assert "After step 3: active 0, quiet 5, jailed 0." in text
    assert end.result in text
    assert "width" not in text.partition("States over time")[0]


def test_what_was_drawn_stands_in_tables_too(run, html):
    text = text_of(html)
    line = measures.slowest_step(run)
    for agent in line.reports[0].agents:
        assert f"{agent.agent_class} {agent.agent_id} {agent.seconds('decide'):.3f}" in text
    for step in run.steps[1:]:
        assert f"{step.step} {step.seconds:.3f} {step.reports[0].decide_s:.3f}" in text
        assert f"{step.step} {step.reports[0].prompt_tokens:,} {step.reports[0].completion_tokens:,}" in text
    values = measures.latencies(run)
    assert " ".join(["all", str(len(values)), *(f"{value:.3f}" for value in measures.spread(values))]) in text


def test_failures_are_told_in_words(html):
    text = text_of(html)
    assert "Agents that failed: 1, fell back: 0, failed to settle: 0" in text
    assert re.search(r"2 (Citizen|Cop) \d failed ConnectionResetError: reset by <peer>", text)
    assert "No agent failed" not in text


def test_of_many_conflicts_the_first_are_told(crowded):
    run = read_run(crowded)
    text = text_of(sections.incidents(run))
    conflicts = [words for _, agent in measures.agents_of(run) for words in agent.conflicts]
    assert len(conflicts) > 20
    assert text.count("was refused ") == 20
    assert f"The first 20 of {len(conflicts)}; the record has all." in text


def test_a_run_without_tokens_says_so(crowded):
    assert "No tokens were told of" in text_of(sections.tokens(read_run(crowded)))


def test_a_run_without_failures_says_so(changed, lines):
    del lines[3]
    assert "No agent failed, and none was refused anything." in text_of(sections.incidents(read_run(changed(lines))))


@pytest.mark.parametrize(("source", "said"), [("journal", "from a journal: 1."), ("shared", "an identical call: 1.")])
def test_answers_that_no_model_gave_are_counted(changed, lines, source, said):
    lines[2]["reports"][0]["agents"][0]["model_calls"][0]["source"] = source
    assert said in text_of(sections.latencies(read_run(changed(lines))))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("failed", "The run failed in step 4: no <money>"),
        ("interrupted", "The run was interrupted in step 4."),
        (None, "was killed after step 3"),
    ],
)
def test_a_run_that_did_not_end_well_says_so(changed, lines, status, said):
    if status is None:
        del lines[-1]
    else:
        lines[-1] |= {"status": status, "error": "no <money>" if status == "failed" else None}
    assert said in text_of(sections.head(read_run(changed(lines))))


def test_without_its_end_a_run_is_added_up_from_its_steps(changed, lines):
    lines[-1]["waited_s"] = sum(report["latency_s"] for line in lines[1:-1] for report in line["reports"])
    whole, cut = (read_run(changed(part)) for part in (lines, lines[:-1]))
    assert measures.time_in_words(cut) == measures.time_in_words(whole)
    assert measures.calls_in_words(cut) == f"{lines[-1]['calls']} so far"


def test_what_calls_would_have_taken_one_at_a_time_is_told_only_if_it_is_longer(changed, lines):
    lines[-1] |= {"seconds": 2.0, "waited_s": 7.0}
    said = "2.00 s; one at a time the calls would have taken 7.00 s, 4 times as long"
    assert measures.time_in_words(read_run(changed(lines))) == said
    lines[-1] |= {"waited_s": 1.9}
    assert measures.time_in_words(read_run(changed(lines))) == "2.00 s"


def test_a_run_one_agent_at_a_time_has_no_timeline(changed, lines):
    for line in lines[1:-1]:
        line["reports"] = []
    run = read_run(changed(lines))
    text = text_of(page_of(run))
    assert "No step ran in parallel" in text
    assert "agent by agent" not in text


def test_a_run_that_ended_before_its_first_step(changed, lines):
    assert "killed after step 0" in page_of(read_run(changed(lines[:1])))


def test_figures_are_described_and_take_the_colour_of_the_page(html):
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == 2 * 6  # for broad and for narrow screens
    for svg in figures:
        element = ET.fromstring(svg)
        assert element.get("role") == "img"
        assert f"<figcaption>{element.get('aria-label')}</figcaption>" in html.replace("&amp;", "&")
        assert "currentColor" in svg


def test_no_two_parts_of_the_page_share_an_id(html):
    ids = Counter(re.findall(r'\sid="([^"]+)"', html))
    assert max(ids.values()) == 1
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert {name for names in used for name in names if name} <= ids.keys()


def test_a_page_of_72_agents_stays_small(crowded):
    assert len(page_of(read_run(crowded)).encode()) < 700_000


@pytest.mark.parametrize(("text", "shown"), [("2026-11-25T12:00:00+00:00", "2026-11-25 12:00:00 UTC"), ("today",) * 2])
def test_the_date_is_shown(changed, lines, text, shown):
    lines[0]["started"] = text
    assert f"Started {shown} Versions" in text_of(sections.head(read_run(changed(lines))))
