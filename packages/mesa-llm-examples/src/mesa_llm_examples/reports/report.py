"""A run as an HTML page (plots, what they show in words, the same numbers as tables), and as one picture.

The page is one file without scripts that loads nothing. All text that comes in is escaped. Needs the extra `report`.
"""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, get_args

from mesa_llm.parallel_stepping import decision_quality
from mesa_llm.parallel_stepping.report import Phase
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.reports import measures, plots
from mesa_llm_examples.words import counted
from mesa_llm_examples.words import figure as shown

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mesa_llm.parallel_stepping import AgentReport, CallSpan, LookAheadReport
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine


_LISTED = 20  # the most failures and refusals that the page lists for a step
_WIDTHS = {"broad": 8.4, "narrow": 4.05}  # inches; the style sheet shows the plot that fits the screen
_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --line: #3d444d; --bad: #ff8f86; }
}
pre { white-space: pre-wrap; }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 58rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .6rem 0; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p, dl, figure { margin: .6rem 0; } .result { font-size: 1.1rem; } .bad { color: var(--bad); font-weight: 600; }
figcaption, dt, summary { color: var(--soft); } figcaption, summary { font-size: .9rem; }
dl { display: grid; gap: .15rem 1rem; grid-template-columns: max-content 1fr; } dd { margin: 0; }
svg { height: auto; width: 100%; } svg.broad { display: block; } svg.narrow { display: none; }
@media (max-width: 640px) {
  svg.broad { display: none; } svg.narrow { display: block; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
}
.scrolls { overflow-x: auto; } summary { cursor: pointer; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem 1rem .2rem 0; text-align: right; vertical-align: top;
  white-space: nowrap; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
td.prose { min-width: 11rem; white-space: normal; }
"""


def page(run: RecordedRun, line: StepLine | None) -> str:
    """The page of a run.

    Args:
        run: the run.
        line: the step that is drawn agent by agent; `None` if no step can be.
    """
    engine = ("" if line is None else timeline(run, line), latencies(run), steps(run), looks(run), classes(run))
    parts = (
        head(run),
        states(run),
        decisions(run),
        incidents(run),
        tokens(run),
        reproduce(run),
        _folded("The engine: when each agent decided, waited and acted", "".join(engine)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(run.run.headline)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _section(heading: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{''.join(parts)}</section>\n"


def reproduce(run: RecordedRun) -> str:
    """The command that makes the run again; empty if it is no run of an example."""
    example = EXAMPLES.get(run.run.example)
    if example is None:
        return ""
    words = ["mesa-llm-examples", "run", example.name]
    for name, value in run.run.options.items():
        option = "llm" if name == "model" else name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            words += [f"--{option}", shlex.quote(str(value))]
    by_rule = measures.is_simulated(run)
    same = (
        "It gives the same run."
        if by_rule
        else "The LLM may answer in another way; a record of the run repeats it exactly."
    )
    versions = ", ".join(f"{name} {version}" for name, version in run.run.versions.items())
    return _section(
        "Make this run again",
        f"<pre>{escape(' '.join(words))}</pre>\n",
        _paragraph(f"With {versions}. {same}" if versions else same),
        _paragraph("One run is one draw: repeat it with other seeds before you conclude anything."),
    )


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _drawn(name: str, height: float, draw: Callable[[Figure], object], caption: str) -> str:
    """A plot for broad and one for narrow screens, `height` inches high, with a caption that screen readers read."""
    parts = []
    for screen, width in _WIDTHS.items():
        with plots.style():
            figure = plots.new_figure(width, height)
            draw(figure)
            svg = plots.as_svg(figure, f"{name}-{screen}")
        parts.append(svg.replace("<svg ", f'<svg class="{screen}" role="img" aria-label="{escape(caption)}" ', 1))
    return f"<figure>{''.join(parts)}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]], *, prose: Collection[int] = ()) -> str:
    """A table; the columns whose numbers are in `prose` hold sentences, the others numbers or names."""

    def cells(tag: str, row: Iterable[object], more: str = "") -> str:
        kinds = ((' class="prose"' if at in prose else "", text) for at, text in enumerate(row))
        return "".join(f"<{tag}{more}{kind}>{escape(str(text))}</{tag}>" for kind, text in kinds)

    kind = ' class="words"' if prose else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return (
        f'<div class="scrolls"><table{kind}>\n<thead><tr>{cells("th", headings, ' scope="col"')}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def _numbers[T](items: Iterable[T], columns: Mapping[str, Callable[[T], object]]) -> str:
    """A table that is shown on a click: the headings, and what stands below each of them for an item."""
    return _folded("The numbers", _table(columns, ([of(item) for of in columns.values()] for item in items)))


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n{content}</details>\n"


def head(run: RecordedRun) -> str:
    """What was run, how it ended, and what it took."""
    facts = {
        "Status": "" if run.end is None else f"{run.status} after {counted(run.end.steps, 'step')}",
        **{name: run.run.facts.get(name, "") for name in ("Model", "Activation")},
        "Decisions": run.run.decisions,
        "Calls": measures.calls_in_words(run),
        "Actions": measures.decided_in_words(run),
        "Time": measures.time_in_words(run),
        "Options": ", ".join(f"{name} {value}" for name, value in run.run.options.items() if value is not None),
        "Started": _date(run.run.started),
        **{name: fact for name, fact in run.run.facts.items() if name not in ("Model", "Activation")},
        "Versions": ", ".join(f"{name} {version}" for name, version in run.run.versions.items()),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items() if value)
    status = measures.how_it_ended(run)
    said = f'<p class="bad">{escape(status)}</p>\n' if status else ""
    result = f'<p class="result">{escape(run.end.result)}</p>\n' if run.end else ""
    example = EXAMPLES.get(run.run.example)
    about = f"<p>{escape(example.summary)}</p>\n" if example else ""
    return f"<h1>{escape(run.run.headline)}</h1>\n{about}{said}{result}<dl>\n{rows}</dl>\n"


def _date(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S %Z}".strip()
    except ValueError:
        return text


def states(run: RecordedRun) -> str:
    """The states over time; empty if the run has none."""
    groups = plots.groups_of_states(run)
    if not groups:
        return ""
    lines = [line for line in run.steps if line.states]
    names = list(dict.fromkeys(name for line in lines for name in line.states))
    last = ", ".join(f"{name} {shown(value)}" for name, value in lines[-1].states.items())
    image = _drawn(
        "states",
        1.3 + 1.7 * len(groups),
        lambda figure: plots.draw_states(list(figure.subplots(len(groups), 1, squeeze=False)[:, 0]), run),
        f"States over time. After step {lines[-1].step}: {last}.",
    )
    rows = ([line.step, *(shown(line.states.get(name)) for name in names)] for line in lines)
    return _section("States over time", image, _folded("The numbers", _table(["step", *names], rows)))


def timeline(run: RecordedRun, line: StepLine) -> str:
    """One step, agent by agent."""
    agents = [agent for _, agent in measures.lanes_of(line)]
    peak = max(measures.in_flight(line)[1], default=0)
    text = f"Step {line.step}, the slowest one." if line == measures.slowest_step(run) else f"Step {line.step}."
    text += (
        f" A lane for each of its {len(agents):,} agents, in the order of the step. Above, the number of model calls "
    )
    text += f"in flight, with those that waited in limits: up to {peak:,}."
    if looks := measures.looks_of(line):
        seconds = sum(end - start for start, end in looks)
        text += f" The step looked ahead {counted(len(looks), 'time')}, for {seconds:.2g} s in all."
    if conflicts := sum(len(agent.conflicts) for agent in agents):
        text += f" {counted(conflicts, 'refusal')}, each marked at the act in which the agent was refused something."
    if idle := sum(agent.outcome == "ended" for agent in agents):
        text += f" Agents that ended without a turn: {idle:,}."
    if (n_steps := len(measures.steps_in_parallel(run))) > 1:
        text += f" Only this one of {n_steps:,} steps is drawn; --step chooses another."

    def draw(figure: Figure) -> None:
        above, lanes = figure.subplots(2, 1, height_ratios=[0.7, plots.height_of(line) - 0.7])
        plots.draw_timeline(lanes, line, in_flight_above=above)

    phases: tuple[Phase, ...] = get_args(Phase.__value__)
    columns: dict[str, Callable[[AgentReport], object]] = {
        "agent": _name,
        **{f"{phase}, s": partial(_seconds, phase) for phase in phases},
        "model calls": lambda agent: f"{agent.calls:,}",
        "waiting for them, s": lambda agent: f"{measures.seconds_in_calls(agent):.3f}",
        "refusals": lambda agent: f"{len(agent.conflicts):,}",
        "outcome": lambda agent: agent.outcome,
    }
    image = _drawn("timeline", plots.height_of(line), draw, text)
    return _section("A step, agent by agent", image, _numbers(agents, columns))


def _name(agent: AgentReport) -> str:
    return f"{agent.agent_class} {agent.agent_id}"


def _seconds(phase: Phase, agent: AgentReport) -> str:
    return f"{agent.seconds(phase):.3f}"


def latencies(run: RecordedRun) -> str:
    """The times of the answers; empty if the reports have no calls."""
    calls = measures.calls_of(run)
    if not calls:
        return ""
    values = measures.latencies(calls)
    text = ""
    if values:
        _, middle, high, longest = measures.spread(values)
        text = (
            f"{counted(len(values), 'simulated answer' if measures.is_simulated(run) else 'answer')}: "
            f"median {middle:.3g} s, 95th percentile {high:.3g} s, longest {longest:.3g} s. "
            "Waiting in limits, and attempts that failed, do not count. "
        )
    text = f"{text}{_without_latency(calls)}".strip()
    if not values:
        return _section("Latencies", _paragraph(text))
    of_class: dict[str, list[CallSpan]] = {}
    for _, agent in measures.agents_of(run):
        of_class.setdefault(agent.agent_class, []).extend(agent.model_calls)
    numbers = _table(
        ["answers to", "how many", "shortest, s", "median, s", "95th percentile, s", "longest, s"],
        (
            [name, f"{len(own):,}", *(f"{value:.3f}" for value in measures.spread(own))]
            for name, theirs in [*sorted(of_class.items()), ("all", calls)]
            if (own := measures.latencies(theirs))
        ),
    )
    image = _drawn("latencies", 2.4, lambda figure: plots.draw_latencies(figure.subplots(), run), text)
    return _section("Latencies", image, _folded("The numbers", numbers))


def _without_latency(calls: Sequence[CallSpan]) -> str:
    """The calls that have no latency, and why."""
    without = [call for call in calls if call.latency_s is None]
    kinds = Counter(call.source for call in without if call.error is None)
    parts = (
        (kinds["journal"], "answered from a journal"),
        (kinds["shared"], "answered with the answer to an identical call"),
        (sum(call.error is not None for call in without), "failed"),
        (kinds["model"] + kinds["rule"], "not measured, as in records of earlier versions and by clients of your own"),
    )
    said = "; ".join(f"{words}: {count:,}" for count, words in parts if count)
    return f"Calls without a latency: {said}." if said else ""


def steps(run: RecordedRun) -> str:
    """The time of each step; empty if the run has none."""
    lines = [line for line in run.steps if line.step]
    if not lines:
        return ""
    text = f"Wall time of each step: {sum(line.seconds for line in lines) / len(lines):.3g} s on average."
    if not any(line.reports for line in lines):
        text += " No step ran in parallel, so the parts of its time are not known."
    columns: dict[str, Callable[[StepLine], object]] = {
        "step": lambda line: line.step,
        "seconds": lambda line: f"{line.seconds:.3f}",
        "deciding": lambda line: f"{_sum(line, 'decide_s'):.3f}" if line.reports else "-",
        "acting": lambda line: f"{_sum(line, 'act_s'):.3f}" if line.reports else "-",
        "settling": lambda line: f"{_sum(line, 'settle_s'):.3f}" if line.reports else "-",
        "model calls": lambda line: f"{line.calls:,}",
        "retries": lambda line: f"{_sum(line, 'retries'):,}" if line.reports else "-",
    }
    image = _drawn("steps", 2.4, lambda figure: plots.draw_seconds(figure.subplots(), run), text)
    return _section("Steps", image, _numbers(lines, columns))


def looks(run: RecordedRun) -> str:
    """What looking ahead took in each step, and what was wasted; empty if no step looked ahead."""
    of_steps = [
        (line.step, report.look_ahead) for line in run.steps for report in line.reports if report.look_ahead is not None
    ]
    if not of_steps:
        return ""
    asked, used, wasted = (
        sum(getattr(ahead, name) for _, ahead in of_steps) for name in ("asked_ahead", "used_ahead", "wasted_calls")
    )
    text = (
        f"{counted(asked, 'call')} asked ahead, {used:,} of them used, {wasted:,} wasted. A step takes about as many "
        "latencies as it has rounds: calls that were asked one after the other."
    )
    columns: dict[str, Callable[[tuple[int, LookAheadReport]], object]] = {
        "step": lambda row: row[0],
        "rounds": lambda row: row[1].rounds,
        "turns that waited": lambda row: row[1].turns_waited,
        "asked ahead": lambda row: f"{row[1].asked_ahead:,}",
        "used": lambda row: f"{row[1].used_ahead:,}",
        "wasted": lambda row: f"{row[1].wasted_calls:,}",
        "wasted tokens": lambda row: f"{row[1].wasted_tokens:,}",
        "wasted US$": lambda row: f"{row[1].wasted_cost:,.4f}",
        "looks": lambda row: len(row[1].looks),
        "looking, s": lambda row: f"{row[1].look_s:.3f}",
        "copying, s": lambda row: f"{row[1].copy_s:.3f}",
    }
    return _section("Looking ahead", _paragraph(text), _numbers(of_steps, columns))


def tokens(run: RecordedRun) -> str:
    """The tokens and the cost of each step."""
    if not measures.has_tokens(run):
        return _section(
            "Tokens and cost", _paragraph("No tokens were reported: no model was asked, or it does not count them.")
        )
    lines = [line for line in run.steps if line.reports]
    read, written, cost = (
        sum(_sum(line, name) for line in lines) for name in ("prompt_tokens", "completion_tokens", "cost")
    )
    text = f"{read:,} tokens read, {written:,} written; {f'US$ {cost:,.4f}' if cost else 'price not known'}."
    columns: dict[str, Callable[[StepLine], object]] = {
        "step": lambda line: line.step,
        "input tokens": lambda line: f"{_sum(line, 'prompt_tokens'):,}",
        "output tokens": lambda line: f"{_sum(line, 'completion_tokens'):,}",
        "US$": lambda line: f"{_sum(line, 'cost'):,.4f}" if cost else "-",
    }
    image = _drawn("tokens", 2.4, lambda figure: plots.draw_tokens(figure.subplots(), run), text)
    return _section("Tokens and cost", image, _numbers(lines, columns))


def _sum(line: StepLine, name: str) -> Any:
    return sum(getattr(report, name) for report in line.reports)


def decisions(run: RecordedRun) -> str:
    """What the decisions of each step were worth; empty if that was not counted, or nothing was decided."""
    said = measures.decided_in_words(run)
    if not said:
        return ""
    columns = {
        "decisions": "decisions",
        "failed": "failed_decisions",
        "without a valid call": "without_call",
        "asked again": "asked_again",
        "actions": "tool_calls",
        "refused": "refused_tool_calls",
        "crashed": "crashed_tool_calls",
    }
    of_steps = [(line.step, line.decided) for line in run.steps if line.step and line.decided is not None]
    rows = [[step, *(f"{getattr(counts, name):,}" for name in columns.values())] for step, counts in of_steps]
    numbers = _folded("The numbers", _table(["step", *columns], rows))
    image = _drawn("decisions", 2.2, lambda figure: plots.draw_decisions(figure.subplots(), run), f"{said}.")
    of_classes = decision_quality(run.reports())
    rows = [[name, *(f"{of[column]:,.0f}" for column in columns.values())] for name, of in of_classes.iterrows()]
    return _section("Decisions", image, _table(["class", *columns], rows) if rows else "", numbers)


def incidents(run: RecordedRun) -> str:
    """The failures, fallbacks and conflicts of each step, and the first of them in words."""
    lines = [line for line in run.steps if line.reports]
    if not lines:
        return ""
    totals = Counter[str]()
    for line in lines:
        totals.update(measures.incidents(line))
    if not any(totals.values()):
        return _section("Failures and conflicts", _paragraph("No agent failed or was refused anything."))
    text = f"Agents that {', '.join(f'{name}: {totals[name]:,}' for name in measures.INCIDENTS[:3])}; "
    text += f"refused because another agent had been first: {totals['conflicts']:,}"
    if run.decided is not None:
        text += f"; actions refused for other reasons: {totals['other refusals']:,}"
        text += f", crashed: {totals['crashed']:,}"
    text += "."
    rows = ([line.step, *(f"{count:,}" for count in measures.incidents(line).values())] for line in lines)
    numbers = _folded("The numbers", _table(["step", *measures.INCIDENTS], rows))
    image = _drawn("incidents", 2.2, lambda figure: plots.draw_incidents(figure.subplots(), run), text)
    return _section("Failures and conflicts", image, numbers, *map(_incidents_in_words, lines))


def _incidents_in_words(line: StepLine) -> str:
    """The failures and refusals in a step, agent by agent in the order of the step; empty without any."""
    rows: list[list[str]] = []
    for _, agent in measures.lanes_of(line):
        if agent.failed:
            rows.append([_name(agent), agent.outcome, agent.error or ""])
        rows += [[_name(agent), "was refused", words] for words in agent.conflicts]
        if others := measures.other_refusals(agent):
            rows.append([_name(agent), "was refused", f"{counted(others, 'action')}; the agent's memory says why"])
        if crashed := agent.crashed_tool_calls:
            rows.append([_name(agent), "crashed", f"{counted(crashed, 'action')}; the log has the traceback"])
        if agent.settle_error is not None:
            rows.append([_name(agent), "failed to settle", agent.settle_error])
    if not rows:
        return ""
    counts = ", ".join(f"{name} {count:,}" for name, count in measures.incidents(line).items() if count)
    listed = _table(["agent", "what", "in words"], rows[:_LISTED], prose={2})
    if len(rows) > _LISTED:
        listed += _paragraph(f"The first {_LISTED} of {len(rows):,}; the record has all.")
    return _folded(f"Step {line.step}: {counts}", listed)


def classes(run: RecordedRun) -> str:
    """A summary of the agents of each class; empty if the reports have no agents."""
    of_class: dict[str, list[AgentReport]] = {}
    for _, agent in measures.agents_of(run):
        of_class.setdefault(agent.agent_class, []).append(agent)
    if not of_class:
        return ""
    rows = (
        [
            name,
            f"{len({agent.agent_id for agent in own}):,}",
            f"{sum(agent.calls for agent in own):,}",
            f"{sum(agent.tokens for agent in own):,}",
            f"{sum(agent.seconds('decide') for agent in own) / len(own):.3f}",
            f"{sum(len(agent.conflicts) for agent in own):,}",
            ", ".join(f"{outcome} {count:,}" for outcome, count in Counter(a.outcome for a in own).most_common()),
        ]
        for name, own in sorted(of_class.items())
    )
    headings = ["class", "agents", "model calls", "tokens", "seconds to decide", "conflicts", "outcomes"]
    return _section("Agents", _table(headings, rows))


def save_png(run: RecordedRun, line: StepLine | None, path: Path) -> None:
    """Save `draw_all` as a picture of 1920 by 1080 pixels.

    Raises:
        OSError: if it cannot be written.
    """
    with plots.style():
        draw_all(run, line).savefig(path, dpi=150, facecolor="white")


def draw_all(run: RecordedRun, line: StepLine | None) -> Figure:
    """States, one step, latencies, and the time of the steps, in one figure.

    Args:
        run: the run.
        line: the step that is drawn agent by agent; `None` if no step can be.
    """
    groups = len(plots.groups_of_states(run))
    small = _small_panels(run)
    figure = plots.new_figure(12.8, 7.2)
    columns = [width for width, wanted in ((1.0, groups), (1.2, line)) if wanted]
    rows = figure.add_gridspec(2 if columns else 1, 1, height_ratios=[1.9, 1] if columns else None)
    top = rows[0].subgridspec(1, max(len(columns), 1), width_ratios=columns or None)
    places = (top[0, column] for column in range(len(columns)))
    if groups:
        states = next(places).subgridspec(groups, 1).subplots(squeeze=False)[:, 0]
        plots.draw_states(list(states), run, title="States over time")
    if line is not None:
        above, lanes = next(places).subgridspec(2, 1, height_ratios=[1, 5]).subplots(squeeze=False)[:, 0]
        peak = max(measures.in_flight(line)[1], default=0)
        title = f"Step {line.step}, agent by agent" + (f": up to {peak:,} calls at the same time" if peak > 1 else "")
        plots.draw_timeline(lanes, line, in_flight_above=above, title=title)
    below = rows[-1].subgridspec(1, len(small)).subplots(squeeze=False)[0]
    for axes, draw in zip(below, small, strict=True):
        draw(axes)
    footer = (
        measures.how_it_ended(run),
        f"Decisions: {run.run.decisions}.",
        f"Model calls: {measures.calls_in_words(run)}.",
        f"{said}." if (said := measures.decided_in_words(run)) else "",
        f"Time: {measures.time_in_words(run)}.",
    )
    figure.suptitle(textwrap.fill(run.run.headline, 95), fontsize=15, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(" ".join(filter(None, footer)), 190), fontsize=9, x=0.01, ha="left")
    return figure


def _small_panels(run: RecordedRun) -> list[Callable[[Axes], object]]:
    panels: list[Callable[[Axes], object]] = []
    if measures.latencies(measures.calls_of(run)):
        panels.append(partial(plots.draw_latencies, run=run, title="Latencies"))
    panels.append(partial(plots.draw_seconds, run=run, title="Steps"))
    if measures.has_tokens(run):
        title = "Tokens and cost" if measures.has_cost(run) else "Tokens"
        panels.append(partial(plots.draw_tokens, run=run, title=title))
    if any(any(measures.incidents(line).values()) for line in run.steps):
        panels.append(partial(plots.draw_incidents, run=run, title="Failures and conflicts"))
    return panels
