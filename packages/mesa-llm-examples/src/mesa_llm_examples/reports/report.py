"""A run as an HTML page: what is drawn, what it shows in words, and the same numbers as tables; and as one picture.

The page needs nothing else: no script, no file beside it, no network. Needs matplotlib.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from datetime import datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, get_args

from mesa_llm.parallel_stepping.report import Phase
from mesa_llm_examples.reports import measures, plots
from mesa_llm_examples.reports.html import document, drawn, folded, paragraph, section, table
from mesa_llm_examples.reports.timeline import draw_timeline, height_of
from mesa_llm_examples.words import counted
from mesa_llm_examples.words import figure as shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mesa_llm.parallel_stepping import AgentReport, CallSpan
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine


NUMBERS = "The numbers"
_LISTED = 20


def head(run: RecordedRun) -> str:
    """What was run, how it ended, and what it took."""
    facts = {
        "Decisions": run.run.decisions,
        "Model calls": measures.calls_in_words(run),
        "Time": measures.time_in_words(run),
        "Options": ", ".join(f"{name} {value}" for name, value in run.run.options.items() if value is not None),
        "Started": _date(run.run.started),
        "Versions": ", ".join(f"{name} {version}" for name, version in run.run.versions.items()),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items())
    status = measures.how_it_ended(run)
    said = f'<p class="bad">{escape(status)}</p>\n' if status else ""
    result = f'<p class="result">{escape(run.end.result)}</p>\n' if run.end else ""
    return f"<h1>{escape(run.run.headline)}</h1>\n{said}{result}<dl>\n{rows}</dl>\n"


def _date(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S %Z}".strip()
    except ValueError:
        return text


def states(run: RecordedRun) -> str:
    """The states over time; nothing if none were measured."""
    groups = plots.groups_of_states(run)
    if not groups:
        return ""
    lines = [line for line in run.steps if line.states]
    names = list(dict.fromkeys(name for line in lines for name in line.states))
    numbers = table(
        ["step", *names], ([str(line.step), *(shown(line.states.get(name)) for name in names)] for line in lines)
    )
    last = ", ".join(f"{name} {shown(value)}" for name, value in lines[-1].states.items())
    image = drawn(
        "states",
        1.3 + 1.7 * len(groups),
        lambda figure: plots.draw_states(list(figure.subplots(len(groups), 1, squeeze=False)[:, 0]), run),
        f"States over time. After step {lines[-1].step}: {last}.",
    )
    return section("States over time", image, folded(NUMBERS, numbers))


def timeline(run: RecordedRun, line: StepLine) -> str:
    """One step, agent by agent."""
    agents = [agent for _, agent in measures.lanes_of(line)]
    peak = max(measures.in_flight(line)[1], default=0)
    text = f"Step {line.step}, the slowest one." if line == measures.slowest_step(run) else f"Step {line.step}."
    text += f" A lane for each of its {len(agents):,} agents, in the order of the step, and above, how many model "
    text += f"calls were in flight, those that waited in limits included: up to {peak:,}."
    if conflicts := sum(len(agent.conflicts) for agent in agents):
        text += f" {counted(conflicts, 'refusal')}, each marked at the act in which the agent was refused something."
    if idle := sum(agent.outcome == "ended" for agent in agents):
        text += f" Agents that ended without a turn: {idle:,}."
    steps = len(measures.steps_in_parallel(run))
    if steps > 1:
        text += f" Of {steps:,} steps only this one is drawn; --step chooses another."
    image = drawn(
        "timeline",
        height_of(line),
        lambda figure: _draw_timeline(figure, line),
        text,
    )
    phases: tuple[Phase, ...] = get_args(Phase.__value__)
    numbers = table(
        ["agent", *(f"{phase}, s" for phase in phases), "model calls", "waiting for them, s", "refusals", "outcome"],
        (
            [
                f"{agent.agent_class} {agent.agent_id}",
                *(f"{agent.seconds(phase):.3f}" for phase in phases),
                f"{agent.calls:,}",
                f"{measures.seconds_in_calls(agent):.3f}",
                f"{len(agent.conflicts):,}",
                agent.outcome,
            ]
            for agent in agents
        ),
    )
    return section("A step, agent by agent", image, folded(NUMBERS, numbers))


def _draw_timeline(figure: Figure, line: StepLine) -> None:
    above, lanes = figure.subplots(2, 1, height_ratios=[0.7, height_of(line) - 0.7])
    draw_timeline(lanes, line, in_flight_above=above)


def latencies(run: RecordedRun) -> str:
    """How long answers took; nothing if no report tells of a call."""
    calls = measures.calls_of(run)
    if not calls:
        return ""
    text = " ".join(filter(None, (_which_answers(run, calls), _without_latency(calls))))
    values = measures.latencies(calls)
    if not values:
        return section("Latencies", paragraph(text))
    of_class: dict[str, list[CallSpan]] = {}
    for _, agent in measures.agents_of(run):
        of_class.setdefault(agent.agent_class, []).extend(agent.model_calls)
    numbers = table(
        ["answers to", "how many", "shortest, s", "median, s", "95th percentile, s", "longest, s"],
        (
            [name, f"{len(own):,}", *(f"{value:.3f}" for value in measures.spread(own))]
            for name, theirs in [*sorted(of_class.items()), ("all", calls)]
            if (own := measures.latencies(theirs))
        ),
    )
    image = drawn("latencies", 2.4, lambda figure: plots.draw_latencies(figure.subplots(), run), text)
    return section("Latencies", image, folded(NUMBERS, numbers))


def _which_answers(run: RecordedRun, calls: Sequence[CallSpan]) -> str:
    values = measures.latencies(calls)
    if not values:
        return ""
    _, middle, high, longest = measures.spread(values)
    kind = "simulated answer" if measures.is_simulated(run) else "answer"
    return (
        f"{counted(len(values), kind)}: median {middle:.3g} s, 95th percentile {high:.3g} s, longest {longest:.3g} s. "
        "Waiting in limits, and attempts that failed, do not count."
    )


def _without_latency(calls: Sequence[CallSpan]) -> str:
    """Which calls have no latency, and why."""
    without = [call for call in calls if call.latency_s is None]
    failed = sum(call.error is not None for call in without)
    kinds = Counter(call.source for call in without if call.error is None)
    parts = (
        (kinds["journal"], "answered from a journal"),
        (kinds["shared"], "answered with the answer to an identical call"),
        (failed, "failed"),
        (kinds["model"] + kinds["rule"], "not measured, as in records of earlier versions and by clients of your own"),
    )
    said = "; ".join(f"{words}: {count:,}" for count, words in parts if count)
    return f"Calls without a latency: {said}." if said else ""


def steps(run: RecordedRun) -> str:
    """What each step took; nothing if there was none."""
    lines = [line for line in run.steps if line.step]
    if not lines:
        return ""
    total = sum(line.seconds for line in lines)
    text = f"Wall time of each step: {total / len(lines):.3g} s on average."
    if not any(line.reports for line in lines):
        text += " No step ran in parallel, so there is no more to tell."
    phases = ("decide", "act", "settle")
    numbers = table(
        ["step", "seconds", "deciding", "acting", "settling", "model calls", "retries"],
        (
            [
                str(line.step),
                f"{line.seconds:.3f}",
                *(f"{_sum(line, f'{phase}_s'):.3f}" if line.reports else "-" for phase in phases),
                f"{line.calls:,}",
                f"{_sum(line, 'retries'):,}" if line.reports else "-",
            ]
            for line in lines
        ),
    )
    image = drawn("steps", 2.4, lambda figure: plots.draw_seconds(figure.subplots(), run), text)
    return section("Steps", image, folded(NUMBERS, numbers))


def tokens(run: RecordedRun) -> str:
    """Tokens and cost of each step."""
    if not measures.has_tokens(run):
        return section(
            "Tokens and cost", paragraph("No tokens were told of: no model was asked, or it does not count.")
        )
    lines = [line for line in run.steps if line.reports]
    read, written, cost = (
        sum(_sum(line, name) for line in lines) for name in ("prompt_tokens", "completion_tokens", "cost")
    )
    price = f"US$ {cost:,.4f}" if cost else "price not known"
    numbers = table(
        ["step", "tokens read", "tokens written", "US$"],
        (
            [
                str(line.step),
                f"{_sum(line, 'prompt_tokens'):,}",
                f"{_sum(line, 'completion_tokens'):,}",
                f"{_sum(line, 'cost'):,.4f}" if cost else "-",
            ]
            for line in lines
        ),
    )
    text = f"{read:,} tokens read, {written:,} written; {price}."
    image = drawn("tokens", 2.4, lambda figure: plots.draw_tokens(figure.subplots(), run), text)
    return section("Tokens and cost", image, folded(NUMBERS, numbers))


def _sum(line: StepLine, name: str) -> Any:
    return sum(getattr(report, name) for report in line.reports)


def incidents(run: RecordedRun) -> str:
    """Failures, fallbacks and conflicts of each step, and the first of them in words."""
    lines = [line for line in run.steps if line.reports]
    if not lines:
        return ""
    totals = Counter[str]()
    for line in lines:
        totals.update(measures.incidents(line))
    if not any(totals.values()):
        return section("Failures and conflicts", paragraph("No agent failed, and none was refused anything."))
    text = f"Agents that {', '.join(f'{name}: {totals[name]:,}' for name in measures.INCIDENTS[:-1])}; "
    text += f"refused because another agent had been first: {totals['conflicts']:,}."
    numbers = table(
        ["step", *measures.INCIDENTS],
        ([str(line.step), *(f"{count:,}" for count in measures.incidents(line).values())] for line in lines),
    )
    image = drawn("incidents", 2.2, lambda figure: plots.draw_incidents(figure.subplots(), run), text)
    return section("Failures and conflicts", image, folded(NUMBERS, numbers), *map(_of_step, lines))


def _of_step(line: StepLine) -> str:
    """What went wrong in a step, agent by agent in the order of the step; nothing if nothing did."""
    rows: list[list[str]] = []
    for _, agent in measures.lanes_of(line):
        who = f"{agent.agent_class} {agent.agent_id}"
        if agent.failed:
            rows.append([who, agent.outcome, agent.error or ""])
        rows += [[who, "was refused", words] for words in agent.conflicts]
        if agent.settle_error is not None:
            rows.append([who, "failed to settle", agent.settle_error])
    if not rows:
        return ""
    counts = ", ".join(f"{name} {count:,}" for name, count in measures.incidents(line).items() if count)
    left_out = f"The first {_LISTED} of {len(rows):,}; the record has all." if len(rows) > _LISTED else ""
    listed = table(["agent", "what", "in words"], rows[:_LISTED], prose={2})
    return folded(f"Step {line.step}: {counts}", listed + (paragraph(left_out) if left_out else ""))


def classes(run: RecordedRun) -> str:
    """What the agents of each class did; nothing if no report tells."""
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
    return section("Agents", table(headings, rows))


def page(run: RecordedRun, line: StepLine | None) -> str:
    """The page of a run.

    Args:
        run: the run.
        line: the step that is drawn with a lane an agent; `None` if there is none to draw.
    """
    parts = [
        head(run),
        states(run),
        "" if line is None else timeline(run, line),
        latencies(run),
        steps(run),
        tokens(run),
        incidents(run),
        classes(run),
    ]
    return document(run.run.headline, "".join(parts))


def save_png(run: RecordedRun, line: StepLine | None, path: Path) -> None:
    """Save `draw_all` as a picture of 1920 by 1080 pixels.

    Raises:
        OSError: if it cannot be written.
    """
    with plots.style():
        draw_all(run, line).savefig(path, dpi=150, facecolor="white")


def draw_all(run: RecordedRun, line: StepLine | None) -> Figure:
    """States, one step, latencies, and what the steps took, in one figure.

    Args:
        run: the run.
        line: the step that is drawn with a lane an agent; `None` if there is none to draw.
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
        draw_timeline(lanes, line, in_flight_above=above, title=_title(line))
    below = rows[-1].subgridspec(1, len(small)).subplots(squeeze=False)[0]
    for axes, draw in zip(below, small, strict=True):
        draw(axes)
    figure.suptitle(textwrap.fill(run.run.headline, 95), fontsize=15, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(_footer(run), 190), fontsize=9, x=0.01, ha="left")
    return figure


def _small_panels(run: RecordedRun) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    if measures.latencies(measures.calls_of(run)):
        panels.append(partial(plots.draw_latencies, run=run, title="Latencies"))
    panels.append(partial(plots.draw_seconds, run=run, title="Steps"))
    if measures.has_tokens(run):
        panels.append(
            partial(plots.draw_tokens, run=run, title="Tokens and cost" if measures.has_cost(run) else "Tokens")
        )
    if any(any(measures.incidents(line).values()) for line in run.steps):
        panels.append(partial(plots.draw_incidents, run=run, title="Failures and conflicts"))
    return panels


def _title(line: StepLine) -> str:
    peak = max(measures.in_flight(line)[1], default=0)
    return f"Step {line.step}, agent by agent" + (f": up to {peak:,} model calls at once" if peak > 1 else "")


def _footer(run: RecordedRun) -> str:
    parts = (
        measures.how_it_ended(run),
        f"Decisions: {run.run.decisions}.",
        f"Model calls: {measures.calls_in_words(run)}.",
        f"Time: {measures.time_in_words(run)}.",
    )
    return " ".join(part for part in parts if part)
