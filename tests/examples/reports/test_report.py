"""`report`: what is drawn of a run."""

import io
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

mpl = pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from mesa_llm_examples.cli import main  # noqa: E402
from mesa_llm_examples.reports import canvas, command, figures  # noqa: E402
from mesa_llm_examples.reports.page import page  # noqa: E402
from mesa_llm_examples.reports.run_file import read_run  # noqa: E402


@pytest.fixture
def here(capsys):
    """Run the command in this process: gives exit status, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(list(map(str, arguments)))
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def run(recorded):
    return read_run(recorded)


@pytest.fixture
def axes():
    with canvas.style():
        yield canvas.new_figure(3).subplots()


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL))


def test_a_page_and_a_picture_are_made_beside_the_file(here, recorded, tmp_path):
    path = shutil.copy(recorded, tmp_path)
    status, output, errors = here("report", path)
    assert (status, errors) == (0, "")
    assert output.split() == [str(tmp_path / "run.html"), str(tmp_path / "run.png")]
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "Five &amp; one" in (tmp_path / "run.html").read_text()


def test_they_are_made_in_another_folder(here, recorded, tmp_path):
    status, _, _ = here("report", recorded, "--output", tmp_path / "new" / "folder")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["run.html", "run.png"]


def test_the_page_needs_nothing_else_and_runs_nothing(run):
    html = page(run, figures.slowest_step(run))
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", html))
    assert {address.split("/")[2] for address in addresses} <= {"www.w3.org", "purl.org", "creativecommons.org"}
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", html)


def test_the_page_tells_what_happened(run):
    text = text_of(page(run, figures.slowest_step(run)))
    end = run.end
    assert f"{end.calls} , up to" in text or f"{end.calls}, up to" in text
    assert f"{end.prompt_tokens:,} tokens read, {end.completion_tokens:,} written; US$ {end.cost:,.4f}." in text
    assert "1 times an agent failed" in text
    assert re.search(r"Citizen 5 \d+ [\d.]+ acted", text)
    assert "width" not in text.partition("States over time")[0]


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
    run = read_run(changed(lines))
    assert said.replace("<", "&lt;").replace(">", "&gt;") in page(run, figures.slowest_step(run))


def test_a_run_one_agent_at_a_time_has_no_timeline(changed, lines):
    for line in lines[1:-1]:
        line["reports"] = []
    run = read_run(changed(lines))
    assert figures.slowest_step(run) is None
    text = text_of(page(run, None))
    assert "No step ran in parallel" in text
    assert "agent by agent" not in text
    with canvas.style():
        figures.draw_all(run, None).savefig(io.BytesIO(), format="png")


def test_a_run_that_ended_before_its_first_step(changed, lines):
    run = read_run(changed(lines[:1]))
    assert "killed after step 0" in page(run, None)


def test_states_are_drawn_as_they_were(run, axes):
    figures.draw_states([axes], run)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {name: [line.states[name] for line in run.steps] for name in ("active", "quiet", "jailed")}


def test_states_of_another_size_get_axes_of_their_own(changed, lines):
    for line in lines[1:-1]:
        line["states"] = {"price": 0.3, "people": 40, "trades": 30, "none": None}
    groups = figures.groups_of_states(read_run(changed(lines)))
    assert groups == [["people", "trades"], ["price", "none"]]


def test_what_was_not_measured_leaves_a_gap(changed, lines, axes):
    lines[2]["states"]["quiet"] = None
    figures.draw_states([axes], read_run(changed(lines)))
    quiet = next(line for line in axes.lines if line.get_label() == "quiet")
    assert [math.isnan(value) for value in quiet.get_ydata()] == [False, True, False, False]


def test_the_timeline_has_each_span_of_each_agent(run, axes):
    line = run.steps[2]
    figures.draw_timeline(axes, line)
    agents = line.reports[0].agents
    for collection, phase in zip(axes.collections, figures.PHASES, strict=False):
        spans = [span for agent in agents for span in agent.spans if span.phase == phase]
        assert len(collection.get_segments()) == len(spans), phase
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{agent.agent_class} {agent.agent_id}" for agent in agents
    ]
    failed = next(line for line in axes.lines if line.get_label() == "failed")
    assert list(failed.get_ydata()) == [lane for lane, agent in enumerate(agents) if agent.failed]


def test_of_many_agents_only_the_number_is_told(changed, lines, axes):
    report = lines[2]["reports"][0]
    report["agents"] = report["agents"] * 10
    figures.draw_timeline(axes, read_run(changed(lines)).steps[1])
    assert axes.get_ylabel() == "60 agents, in the order of the step"


def test_the_histogram_counts_every_call(run, axes):
    figures.draw_latencies(axes, run)
    values = figures.latencies(run)
    assert len(values) == run.end.calls
    assert sum(patch.get_height() for patch in axes.patches) == len(values)


def test_the_95th_percentile():
    assert figures.percentile_95(list(range(101))) == 95
    assert figures.percentile_95([7.0]) == 7.0


def test_tokens_and_cost_are_drawn(run, axes):
    figures.draw_tokens(axes, run)
    reports = list(run.reports())
    assert sum(patch.get_height() for patch in axes.patches) == sum(report.tokens for report in reports)
    right = next(other for other in axes.figure.axes if other is not axes)
    assert right.lines[0].get_ydata()[-1] == pytest.approx(sum(report.cost for report in reports))


def test_the_seconds_of_a_step_add_up_to_its_wall_time(run, axes):
    figures.draw_seconds(axes, run)
    assert sum(patch.get_height() for patch in axes.patches) == pytest.approx(
        sum(line.seconds for line in run.steps), rel=1e-6
    )


def test_figures_are_well_formed_and_take_the_colour_of_the_page(run):
    for svg in re.findall(r"<svg.*?</svg>", page(run, figures.slowest_step(run)), flags=re.DOTALL):
        element = ET.fromstring(svg)
        assert element.get("aria-label")
        assert "currentColor" in svg


def test_a_step_can_be_chosen(here, recorded, tmp_path):
    assert here("report", recorded, "--output", tmp_path, "--step", "3")[0] == 0
    assert "Step 3" in text_of((tmp_path / "run.html").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "9"], "--step 9 has no report to draw. Steps 1 to 3 have one."),
        (["--output", "/dev/null/nowhere"], "cannot be written: Not a directory"),
    ],
)
def test_bad_arguments(here, recorded, arguments, message):
    status, _, errors = here("report", recorded, *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors


def test_a_file_that_is_no_run_is_one_line(here, tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    status, _, errors = here("report", tmp_path / "notes.txt")
    assert status == 2
    assert "notes.txt is no run" in errors


def test_without_matplotlib_it_says_what_to_install(here, recorded, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    status, _, errors = here("report", recorded)
    assert status == 2
    assert 'pip install "mesa-llm-examples[report]"' in errors


def test_drawing_leaves_the_settings_of_matplotlib(run):
    before = dict(mpl.rcParams)
    page(run, figures.slowest_step(run))
    assert dict(mpl.rcParams) == before


def test_what_the_command_records_can_be_reported(here, tmp_path):
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-m", "mesa_llm_examples", "run", "opinion", "--people", "8", "--neighbors", "2"]
    subprocess.run(
        [*command, "--steps", "2", "--latency", "0", "--record", path], check=True, stdout=subprocess.DEVNULL
    )
    status, _, errors = here("report", path)
    assert (status, errors) == (0, "")
