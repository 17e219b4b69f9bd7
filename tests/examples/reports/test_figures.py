"""What is drawn of a run: the figures hold the run's numbers."""

import io
import math

import pytest

mpl = pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from mesa_llm_examples.reports import measures, plots, report  # noqa: E402
from mesa_llm_examples.reports.run_file import read_run  # noqa: E402


@pytest.fixture
def axes():
    with plots.style():
        yield plots.new_figure(8, 3).subplots()


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_states_are_drawn_as_they_were(run, axes):
    plots.draw_states([axes], run)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {name: [line.states[name] for line in run.steps] for name in ("active", "quiet", "jailed")}


def test_states_are_told_apart_without_colours(run, axes):
    plots.draw_states([axes], run)
    assert len({line.get_marker() for line in axes.lines}) == 3
    assert legend_of(axes) == ["active", "quiet", "jailed"]


def test_states_of_another_size_get_axes_of_their_own(changed, lines):
    for line in lines[1:-1]:
        line["states"] = {"price": 0.3, "people": 40, "trades": 30, "none": None}
    groups = plots.groups_of_states(read_run(changed(lines)))
    assert groups == [["people", "trades"], ["price", "none"]]


def test_what_was_not_measured_leaves_a_gap(changed, lines, axes):
    lines[2]["states"]["quiet"] = None
    plots.draw_states([axes], read_run(changed(lines)))
    quiet = next(line for line in axes.lines if line.get_label() == "quiet")
    assert [math.isnan(value) for value in quiet.get_ydata()] == [False, True, False, False]


def test_the_timeline_has_each_span_and_each_call_of_each_agent(run, axes):
    line = run.steps[2]
    plots.draw_timeline(axes, line)
    agents = line.reports[0].agents
    drawn = {
        collection.get_label(): sorted(
            (round(path.vertices[:, 1].mean() if len(path.vertices) == 4 else path.vertices[:4, 1].mean()),
             path.vertices[:, 0].min(), path.vertices[:, 0].max())
            for path in collection.get_paths()
        )
        for collection in axes.collections
    }  # fmt: skip
    expected = {
        phase: sorted(
            (lane, *span[1:]) for lane, agent in enumerate(agents) for span in agent.spans if span[0] == phase
        )
        for phase in plots.PHASES
    }
    expected["call"] = sorted((lane, c.start, c.end) for lane, agent in enumerate(agents) for c in agent.model_calls)
    assert drawn == {phase: spans for phase, spans in expected.items() if spans}
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{agent.agent_class} {agent.agent_id}" for agent in agents
    ]


def test_the_timeline_marks_who_failed_and_who_was_refused_something(changed, lines, axes):
    lines[3]["reports"][0]["agents"][4]["conflicts"] = ["The cell is full."]
    line = read_run(changed(lines)).steps[2]
    plots.draw_timeline(axes, line)
    marked = {marks.get_label(): list(marks.get_ydata()) for marks in axes.lines}
    failed = [lane for lane, agent in enumerate(line.reports[0].agents) if agent.failed]
    assert marked == {"failed": failed, "was refused something": [4]}
    assert len(failed) == 1
    assert legend_of(axes)[-2:] == ["was refused something", "failed"]


def test_marks_stand_where_agents_were_refused_something_or_failed(crowded, axes):
    line = read_run(crowded).steps[1]
    plots.draw_timeline(axes, line)
    (refused,) = [marks for marks in axes.lines if marks.get_label() == "was refused something"]
    acts = {lane: agent.spans[-1].end for lane, agent in enumerate(line.reports[0].agents) if agent.conflicts}
    assert dict(zip(refused.get_ydata(), refused.get_xdata(), strict=True)) == acts
    assert len(set(acts.values())) > 1


def test_the_legend_names_only_what_is_drawn(run, axes):
    plots.draw_timeline(axes, run.steps[1])
    assert legend_of(axes) == ["decides", "waits for its LLM", "waits for its turn", "acts"]


def test_sets_of_one_step_are_drawn_one_after_the_other(changed, lines, axes):
    first = lines[2]["reports"][0]
    lines[2]["reports"].append(first | {"started": first["started"] + 10, "wall_s": 2.0})
    line = read_run(changed(lines)).steps[1]
    assert measures.duration_of(line) == pytest.approx(12)
    plots.draw_timeline(axes, line)
    assert len(axes.get_yticks()) == 12
    assert axes.get_xlim()[1] > 12
    for collection in axes.collections:
        rights = sorted(path.vertices[:, 0].max() for path in collection.get_paths())
        half = len(rights) // 2
        assert rights[half:] == pytest.approx([right + 10 for right in rights[:half]])


def test_looks_ahead_are_drawn_behind_the_lanes_and_said_in_words(changed, lines, axes):
    sets = lines[2]["reports"]
    sets[0]["look_ahead"] = {"looks": [[0.0, 0.1], [0.5, 0.7]]}
    sets.append(sets[0] | {"started": sets[0]["started"] + 10, "wall_s": 2.0})
    run = read_run(changed(lines))
    plots.draw_timeline(axes, run.steps[1])
    (looks,) = [collection for collection in axes.collections if collection.get_label() == "look"]
    edges = [edge for path in looks.get_paths() for edge in (path.vertices[:, 0].min(), path.vertices[:, 0].max())]
    assert edges == pytest.approx([0, 0.1, 0.5, 0.7, 10, 10.1, 10.5, 10.7])
    assert looks.zorder < min(other.zorder for other in axes.collections if other is not looks)
    assert "looking ahead" in legend_of(axes)
    assert "The step looked ahead 4 times, for 0.6 s in all." in report.timeline(run, run.steps[1])


def test_many_agents_are_not_named_but_counted(crowded, axes):
    line = read_run(crowded).steps[1]
    plots.draw_timeline(axes, line)
    assert axes.get_ylabel() == "72 agents, in the order of the step"
    assert list(axes.get_yticks()) == []
    assert plots.height_of(line) < 9


def test_how_many_calls_were_in_flight(run):
    line = run.steps[1]
    report = line.reports[0]
    times, counts = measures.in_flight(line)
    assert max(counts) == report.peak_concurrency
    assert counts[-1] == 0
    area = sum(count * (after - at) for at, after, count in zip(times, times[1:], counts, strict=False))
    assert area == pytest.approx(sum(call.duration_s for agent in report.agents for call in agent.model_calls))
    with plots.style():
        above, lanes = plots.new_figure(8, 5).subplots(2, 1)
        plots.draw_timeline(lanes, line, in_flight_above=above)
    assert list(above.get_yticks()) == [0, report.peak_concurrency]
    assert above.get_xlim() == lanes.get_xlim()


def test_a_set_without_agents_is_no_step_to_draw(changed, lines):
    for line in lines[2:-1]:
        line["reports"][0]["agents"] = []
    run = read_run(changed(lines))
    assert measures.slowest_step(run) is None


def test_the_histogram_counts_every_answer(run, axes):
    plots.draw_latencies(axes, run)
    values = measures.latencies(measures.calls_of(run))
    assert len(values) == run.end.measured_calls == run.end.calls - run.end.failures
    assert sum(values) == pytest.approx(run.end.waited_s)
    assert sum(patch.get_height() for patch in axes.patches) == len(values)
    shortest, median, high, longest = measures.spread(values)
    assert [line.get_xdata()[0] for line in axes.lines] == [median, high]
    assert shortest <= median <= high <= longest


def test_the_95th_percentile():
    assert measures.percentile_95(list(range(101))) == 95
    assert measures.percentile_95([7.0]) == 7.0


def test_tokens_and_cost_are_drawn(run, axes):
    plots.draw_tokens(axes, run)
    reports = list(run.reports())
    assert sum(patch.get_height() for patch in axes.patches) == sum(report.tokens for report in reports)
    right = next(other for other in axes.figure.axes if other is not axes)
    assert right.lines[0].get_ydata()[-1] == pytest.approx(sum(report.cost for report in reports))
    assert legend_of(axes) == ["input tokens", "output tokens", "cost so far, US$"]


def test_a_cost_that_is_not_known_is_not_drawn(changed, lines, axes):
    for line in lines[2:-1]:
        for agent in line["reports"][0]["agents"]:
            for call in agent["model_calls"]:
                call["cost"] = None
    run = read_run(changed(lines))
    plots.draw_tokens(axes, run)
    assert axes.figure.axes == [axes]
    with plots.style():
        titles = [axes.get_legend().get_title().get_text() for axes in report.draw_all(run, None).axes]
    assert "Tokens" in titles


def test_the_seconds_of_a_step_add_up_to_its_wall_time(run, axes):
    plots.draw_seconds(axes, run)
    assert sum(patch.get_height() for patch in axes.patches) == pytest.approx(sum(line.seconds for line in run.steps))


@pytest.mark.parametrize("lines_left", [2, 3], ids=["before step 1", "one step"])
def test_there_are_no_halves_of_steps(changed, lines, lines_left, axes):
    run = read_run(changed(lines[:lines_left]))
    plots.draw_states([axes], run)
    assert all(tick == int(tick) for tick in axes.get_xticks())
    axes.clear()
    plots.draw_seconds(axes, run)
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_failures_and_conflicts_are_counted_in_each_step(changed, lines, axes):
    agents = lines[4]["reports"][0]["agents"]
    agents[0]["conflicts"] = ["The cell is full.", "So is that one."]
    agents[1] |= {"outcome": "fell back", "error": "no answer"}
    agents[2]["settle_error"] = "no answer"
    agents[0]["refused_tool_calls"] = 5  # its conflicts are among them
    agents[3]["crashed_tool_calls"] = 1
    run = read_run(changed(lines))
    none = dict.fromkeys(measures.INCIDENTS, 0)
    assert [measures.incidents(line) for line in run.steps] == [
        none,
        none,
        none | {"failed": 1},
        {
            "failed": 0,
            "fell back": 1,
            "failed to settle": 1,
            "conflicts": 2,
            "other refusals": 3,
            "crashed": 1,
        },
    ]
    plots.draw_incidents(axes, run)
    assert legend_of(axes) == list(measures.INCIDENTS)
    assert sum(patch.get_height() for patch in axes.patches) == 9


def test_decisions_with_and_without_a_valid_call_and_failed_ones_stand_on_each_other(changed, lines, axes):
    lines[3] |= {"decisions": 6, "without_call": 2, "failed_decisions": 1}
    lines[4] |= {"decisions": 3, "without_call": 0, "failed_decisions": 3}
    plots.draw_decisions(axes, read_run(changed(lines)))
    assert legend_of(axes) == ["with a valid call", "without one", "failed"]
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == [6, 4, 3, 0, 2, 0, 0, 1, 3]


@pytest.mark.parametrize("lines_left", [1, 2, 3, 5], ids=["no step", "before step 1", "one step", "no end"])
def test_a_picture_is_made_of_what_there_is(changed, lines, lines_left, tmp_path):
    run = read_run(changed(lines[:lines_left]))
    report.save_png(run, measures.slowest_step(run), tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 1000


def test_the_picture_has_all_parts_and_the_format_of_a_slide(run, tmp_path):
    with plots.style():
        figure = report.draw_all(run, run.steps[2])
    titles = [axes.get_legend().get_title().get_text() for axes in figure.axes if axes.get_legend()]
    peak = run.steps[2].reports[0].peak_concurrency
    assert titles == [
        "States over time",
        f"Step 2, agent by agent: up to {peak} calls at the same time",
        "Latencies",
        "Steps",
        "Tokens and cost",
        "Failures and conflicts",
    ]
    report.save_png(run, run.steps[2], tmp_path / "run.png")
    header = (tmp_path / "run.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (1920, 1080)


def test_a_run_one_agent_at_a_time_is_drawn(changed, lines):
    for line in lines[1:-1]:
        line["reports"] = []
    with plots.style():
        figure = report.draw_all(read_run(changed(lines)), None)
        figure.savefig(io.BytesIO(), format="png")
    assert legend_of(figure.axes[-1]) == ["wall time"]


def test_names_are_not_read_as_formulas(changed, lines, tmp_path):
    lines[0]["headline"] = r"$\frac{$ 街"
    for line in lines[1:-1]:
        line["states"] = {r"$\frac{$": 3}
    run = read_run(changed(lines))
    report.save_png(run, measures.slowest_step(run), tmp_path / "run.png")
    assert (tmp_path / "run.png").exists()


def test_drawing_leaves_the_settings_of_matplotlib(run, tmp_path):
    before = dict(mpl.rcParams)
    report.save_png(run, measures.slowest_step(run), tmp_path / "run.png")
    assert dict(mpl.rcParams) == before
