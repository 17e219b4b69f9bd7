"""The page of a run."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import fields
from html import unescape

import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from mesa_llm.clients import MeteredClient, RuleBasedClient
from mesa_llm.errors import RecordingError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import AgentReport, CallSpan
from mesa_llm.recording import record_run
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.reports import measures, report
from mesa_llm_examples.reports.report import page
from mesa_llm_examples.reports.run_file import LineWriter, read_run
from mesa_llm_examples.setting import Activation, Mode, stepping
from mesa_llm_examples.simulation import DecisionCounts, simulate
from tests.examples.reports.conftest import setting


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
    assert f"Calls {end.calls:,}, up to {end.peak_in_flight} at once, 1 failed" in text
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
    values = measures.latencies(measures.calls_of(run))
    assert len(values) == run.end.calls - run.end.failures
    assert " ".join(["all", str(len(values)), *(f"{value:.3f}" for value in measures.spread(values))]) in text


def test_failures_are_told_in_words(html):
    text = text_of(html)
    assert "Agents that failed: 1, fell back: 0, failed to settle: 0" in text
    assert re.search(
        r"Step 2: failed 1 agent what in words (Citizen|Cop) \d failed ConnectionResetError: reset by <p", text
    )
    assert "No agent failed" not in text


def test_refusals_stand_in_the_step_and_beside_the_agent_that_they_happened_to(crowded):
    run = read_run(crowded)
    page = report.incidents(run)
    texts = [text_of(part) for part in page.split("<summary>Step ")[1:]]
    steps = [line for line in run.steps if line.reports]
    assert [text.split(":")[0] for text in texts] == [str(line.step) for line in steps]
    for text, line in zip(texts, steps, strict=True):
        refused = [
            f"{agent.agent_class} {agent.agent_id} was refused {words}"
            for _, agent in measures.lanes_of(line)
            for words in (*agent.conflicts, *(f"{n} action" for n in [measures.other_refusals(agent)] if n))
        ]
        counts = {name: f"{count} " for name, count in measures.incidents(line).items() if count}
        assert text.split(" ", 1)[1].startswith(", ".join(map(" ".join, counts.items())).replace(" ,", ","))
        assert all(words in text for words in refused[:20])
        assert text.count("was refused ") == min(len(refused), 20)
        assert (f"The first 20 of {len(refused)}; the record has all." in text) == (len(refused) > 20)


def test_the_table_of_a_step_counts_the_refusals_of_each_agent(crowded):
    run = read_run(crowded)
    line = measures.slowest_step(run)
    text = text_of(report.timeline(run, line))
    agents = line.reports[0].agents
    assert f"{line.reports[0].conflicts} refusals, each marked at the act" in text
    for agent in agents:
        row = re.search(rf"{agent.agent_class} {agent.agent_id} (?:[\d.]+ ){{6}}(\d+) {agent.outcome}", text)
        assert int(row[1]) == len(agent.conflicts)


def with_decisions(lines, **counts):
    """The record of a run whose second step has other counts."""
    agent = lines[3]["reports"][0]["agents"][2]
    lines[3] |= counts
    agent |= {name: count for name, count in counts.items() if name in agent}
    lines[-1] |= {name: sum(line[name] for line in lines[1:-1]) for name in counts}
    return lines


def test_the_page_says_what_decisions_were_worth(changed, lines):
    counts = {"decisions": 6, "without_call": 2, "asked_again": 3, "tool_calls": 9}
    run = read_run(changed(with_decisions(lines, **counts, refused_tool_calls=4, crashed_tool_calls=1)))
    text = text_of(page_of(run))
    said = (
        "18 decisions, 2 of them without a valid call; 1 more decision failed; 3 answers were asked for again; 4 of 21 "
        "actions refused, 1 crashed"
    )
    assert f"Actions {said} Time" in text
    assert f"{said}. class decisions failed without a valid call asked again actions refused crashed" in text
    assert " 2 6 1 2 3 9 4 1 " in text, "the row of the second step"
    assert "actions refused for other reasons: 4, crashed: 1." in text
    assert "was refused 4 actions; the agent's memory says why" in text
    assert "crashed 1 action; the log has the traceback" in text
    assert said in " ".join(draw_footer(run).split())


def draw_footer(run):
    return report.draw_all(run, None).get_supxlabel()


def test_of_a_record_that_did_not_count_decisions_nothing_is_said(changed, lines):
    names = [part.name for part in fields(DecisionCounts)]
    for line in lines[1:]:
        for part in (
            line,
            *line.get("reports", ()),
            *(agent for of in line.get("reports", ()) for agent in of["agents"]),
        ):
            for name in names:
                part.pop(name, None)
    run = read_run(changed(lines))
    assert run.decided is None
    text = text_of(page_of(run))
    assert "valid call" not in text
    assert "actions refused" not in text
    assert "refused because another agent had been first: 0." in text
    assert "valid call" not in draw_footer(run)


def test_without_its_end_decisions_are_added_up_from_the_steps(changed, lines):
    whole, cut = (read_run(changed(part)) for part in (lines, lines[:-1]))
    assert cut.decided == whole.decided == DecisionCounts(decisions=17, tool_calls=17, failed_decisions=1)


def test_decisions_made_one_agent_at_a_time_are_known_too(tmp_path):
    metered = MeteredClient(RuleBasedClient(policy))
    model = CivilViolence(5, 1, seed=3, client=metered, parallel_stepping=False)
    path = tmp_path / "off.jsonl"
    with path.open("w") as stream, LineWriter(stream, model, metered, setting("Off")) as writer:
        ran = simulate(model, metered, 2, on_step=writer.ended)
    read = read_run(path)
    assert read.decided == ran.decided
    assert read.decided.decisions == read.end.calls > 0
    assert list(read.reports()) == []
    assert f"{read.decided.decisions} decisions; " in text_of(page_of(read))


def test_a_run_without_tokens_says_so(crowded):
    assert "No tokens were reported" in text_of(report.tokens(read_run(crowded)))


def test_a_run_without_failures_says_so(changed, lines):
    del lines[3]
    assert "No agent failed or was refused anything." in text_of(report.incidents(read_run(changed(lines))))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"source": "journal"}, "Calls without a latency: answered from a journal: 1; failed: 1."),
        ({"source": "shared"}, "Calls without a latency: answered with the answer to an identical call: 1; failed: 1."),
        ({}, "Calls without a latency: failed: 1; not measured, as in records of earlier versions"),
    ],
    ids=["journal", "shared", "not measured"],
)
def test_calls_without_a_latency_are_counted_apart(changed, lines, call, said):
    lines[2]["reports"][0]["agents"][0]["model_calls"][0] |= {"latency_s": None} | call
    text = text_of(report.latencies(read_run(changed(lines))))
    assert said in text
    assert f"{lines[-1]['calls'] - 2} answers: median 0.002 s" in text


def as_earlier_versions_wrote(lines):
    """Their `waited_s` and `latency_s` counted waiting in limits, failed calls and imports."""
    for line in lines[1:-1]:
        for of_set in line["reports"]:
            del of_set["measured_calls"]
            of_set["latency_s"] = 400.0
            for agent in of_set["agents"]:
                for call in agent["model_calls"]:
                    del call["latency_s"]
    del lines[-1]["measured_calls"]
    lines[-1]["waited_s"] = 438.0
    return lines


@pytest.mark.parametrize("has_end", [True, False])
def test_a_record_of_an_earlier_version_is_read_and_what_it_did_not_measure_is_not_shown(changed, lines, has_end):
    lines = as_earlier_versions_wrote(lines)
    run = read_run(changed(lines if has_end else lines[:-1]))
    text = text_of(page_of(run))
    assert "438" not in text
    assert "400.00" not in text
    assert "not measured, as in records of earlier versions" in text
    assert re.fullmatch(r"[\d.]+ s", measures.time_in_words(run))


def test_a_replayed_run_shows_no_latencies(changed, lines):
    for line in lines[2:-1]:
        for agent in line["reports"][0]["agents"]:
            for call in agent["model_calls"]:
                call |= {"source": "journal", "latency_s": None, "error": None}
    lines[-1] |= {"waited_s": 0.0, "measured_calls": 0}
    run = read_run(changed(lines))
    text = text_of(report.latencies(run))
    assert text.strip() == f"Latencies Calls without a latency: answered from a journal: {run.end.calls}."
    assert "answers took" not in measures.time_in_words(run)
    assert "Latencies" not in titles_of(report.draw_all(run, None))


def titles_of(figure):
    return [axes.get_legend().get_title().get_text() for axes in figure.axes if axes.get_legend()]


def test_simulated_answers_are_called_so_wherever_their_times_stand(crowded):
    run = read_run(crowded)
    assert "simulated answers: median" in text_of(report.latencies(run))
    assert measures.time_in_words(run).endswith(" s, added up (simulated)")
    labels = {axes.get_xlabel() for axes in report.draw_all(run, None).axes}
    assert "seconds that an answer took (simulated)" in labels


def test_an_agent_waits_once_for_calls_that_overlap():
    calls = tuple(CallSpan("decide", start, end) for start, end in [(1.0, 3.0), (0.0, 2.0), (2.5, 2.75), (5.0, 6.0)])
    agent = AgentReport(agent_id=1, agent_class="Cop", outcome="acted", model_calls=calls)
    assert measures.seconds_in_calls(agent) == 4.0


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
    assert said in text_of(report.head(read_run(changed(lines))))


def test_without_its_end_a_run_is_added_up_from_its_steps(changed, lines):
    whole, cut = (read_run(changed(part)) for part in (lines, lines[:-1]))
    assert measures.time_in_words(cut) == measures.time_in_words(whole)
    assert measures.calls_in_words(cut) == f"{lines[-1]['calls']} so far"


def test_what_the_steps_took_and_what_the_answers_took_stand_side_by_side(changed, lines):
    lines[-1] |= {"seconds": 2.0, "waited_s": 7.0, "measured_calls": 35}
    assert measures.time_in_words(read_run(changed(lines))) == "2.00 s; 35 answers took 7.00 s, added up"


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
    assert len(figures) == 2 * 7  # for broad and for narrow screens
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
    assert f"Started {shown} Versions" in text_of(report.head(read_run(changed(lines))))


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The page of a run that was recorded as a whole, in sequential activation."""
    path = tmp_path_factory.mktemp("runs") / "run.sqlite"
    client = RuleBasedClient(policy, latency=0.001)
    parameters = {"citizens": 12, "cops": 2, "seed": 3, "client": client}
    with (
        stepping(Mode.ASYNCIO, activation=Activation.SEQUENTIAL),
        record_run(CivilViolence, parameters, path=path) as model,
    ):
        for _ in range(2):
            model.step()
    return path


def test_the_page_of_a_recorded_run_opens_with_what_was_run_and_how_it_ended(sequential):
    run = read_run(sequential)
    text = text_of(report.head(run))
    assert "CivilViolence, seed 3" in text
    assert "Status completed after 2 steps" in text
    assert "CivilViolence, 12 Citizens, 2 Cops, seed 3" in text
    assert "Activation sequential (mode asyncio" in text
    assert f"SHA-256 {[step.state_hash for step in Journal(sequential).steps()][-1]}" in text
    assert "citizens 12, cops 2" in text


def test_the_page_of_a_sequential_run_says_what_looking_ahead_took(sequential):
    run = read_run(sequential)
    (asked, wasted) = (
        sum(getattr(item.look_ahead, name) for item in run.reports()) for name in ("asked_ahead", "wasted_calls")
    )
    text = text_of(report.looks(run))
    assert f"{asked} call" in text
    assert f"{wasted} wasted" in text
    assert "rounds" in text
    assert "Looking ahead" in text_of(page_of(run))


def test_a_run_that_never_looked_ahead_has_no_such_section(crowded):
    assert report.looks(read_run(crowded)) == ""


def test_a_journal_of_calls_alone_is_no_run_for_a_report(tmp_path):
    with JournaledClient(RuleBasedClient(policy), tmp_path / "run.db") as client:
        CivilViolence(2, 1, seed=3, client=client, parallel_stepping=False).step()
    with pytest.raises(RecordingError, match="holds model calls alone"):
        read_run(tmp_path / "run.db")


def test_result_and_quality_come_before_the_engine_which_is_closed(html):
    order = re.findall(r"<h2>(.*?)</h2>", html)
    assert order[0] == "States over time"
    assert order.index("Decisions") < order.index("Make this run again") < order.index("A step, agent by agent")
    assert "<details><summary>The engine:" in html
    assert html.index("Citizens rebel or keep quiet") < html.index("<dl>")  # what the model is


def test_the_command_makes_the_run_again(run):
    options = {"citizens": 5, "movement": False, "model": None, "topic": "a & b's", "seed": 7, "width": None}
    of_rule = run.model_copy(
        update={"run": run.run.model_copy(update={"options": options, "decisions": "rule-based policy"})}
    )
    text = text_of(report.reproduce(of_rule))
    command = """mesa-llm-examples run civil-violence --citizens 5 --no-movement --topic 'a & b'"'"'s' --seed 7"""
    assert command in text
    assert "It gives the same run." in text
    of_llm = of_rule.model_copy(
        update={"run": of_rule.run.model_copy(update={"options": {"model": "openai/x"}, "decisions": "openai/x"})}
    )
    assert "run civil-violence --llm openai/x With" in text_of(report.reproduce(of_llm))
    assert "The LLM may answer in another way" in text_of(report.reproduce(of_llm))
    of_another = run.model_copy(update={"run": run.run.model_copy(update={"example": "Town"})})
    assert report.reproduce(of_another) == ""
