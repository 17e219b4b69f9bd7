"""A run as one HTML page that needs nothing else: no script, no file beside it, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from statistics import median
from typing import TYPE_CHECKING

from mesa_llm_examples.reports import canvas, figures
from mesa_llm_examples.simulation import figure as shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine

_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --line: #3d444d; --bad: #ff8f86; }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 60rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, dl { margin: .6rem 0; } figure { margin: .6rem 0; }
.wide svg { display: block; height: auto; min-width: 34rem; width: 100%; }
figcaption, .soft { color: var(--soft); font-size: .9rem; } .bad { color: var(--bad); font-weight: 600; }
dl { display: grid; gap: .1rem 1rem; grid-template-columns: max-content 1fr; }
dt { color: var(--soft); } dd { margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .7rem .2rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } summary { cursor: pointer; margin: .6rem 0; }
"""

_STATUS = {
    "completed": "",
    "failed": "The run failed in step {next}: {error}",
    "interrupted": "The run was interrupted in step {next}.",
    "unfinished": "The record has no end: the run still goes on, or was killed after step {last}.",
}


def page(run: RecordedRun, line: StepLine | None) -> str:
    """The page of a run.

    Args:
        run: the run.
        line: the step that is drawn with a lane an agent; `None` if there is none to draw.
    """
    parts = [_head(run), _states(run)]
    if line is not None:
        parts.append(_timeline(run, line))
    if figures.latencies(run):
        parts.append(_latencies(run))
    parts += [_steps(run), _tokens(run), _classes(run)]
    title = escape(run.run.headline)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{''.join(parts)}</body>\n</html>\n"
    )


def _head(run: RecordedRun) -> str:
    last = max((line.step for line in run.steps if line.states), default=0)
    end = run.end
    status = _STATUS[run.status].format(next=last + 1, last=last, error=end.error if end else "")
    facts = {
        "Decisions": run.run.decisions,
        "Started": run.run.started,
        "Options": ", ".join(f"{name} {value}" for name, value in run.run.options.items() if value is not None),
        "Versions": ", ".join(f"{name} {version}" for name, version in run.run.versions.items()),
    }
    if end is not None:
        facts["Model calls"] = f"{end.calls:,}, up to {end.peak_in_flight:,} at once, {end.failures:,} failed"
        facts["Time"] = f"{end.seconds:.2f} s; one call at a time, the calls would have taken {end.waited_s:.2f} s"
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    said = f'<p class="bad">{escape(status)}</p>' if status else ""
    result = f"<p>{escape(end.result)}</p>" if end else ""
    return f"<h1>{escape(run.run.headline)}</h1>\n{said}{result}<dl>{rows}</dl>\n"


def _states(run: RecordedRun) -> str:
    groups = figures.groups_of_states(run)
    lines = [line for line in run.steps if line.states]
    if not groups:
        return ""
    names = list(dict.fromkeys(name for line in lines for name in line.states))
    table = _table(
        ["step", *names], ([str(line.step), *(shown(line.states.get(name)) for name in names)] for line in lines)
    )
    last = ", ".join(f"{name} {shown(value)}" for name, value in lines[-1].states.items())
    drawn = _drawn(
        1.2 + 1.6 * len(groups),
        len(groups),
        lambda axes: figures.draw_states(axes, run),
        f"States over {lines[-1].step} steps. At the end: {last}.",
    )
    return f"<h2>States over time</h2>\n{drawn}{_details('The numbers', table)}"


def _timeline(run: RecordedRun, line: StepLine) -> str:
    agents = sum(len(report.agents) for report in line.reports)
    others = sum(bool(other.reports) for other in run.steps) - 1
    text = f"Step {line.step}, the slowest one." if line == figures.slowest_step(run) else f"Step {line.step}."
    text += f" A lane for each of its {agents:,} agents, in the order of the step."
    if others:
        text += f" {others:,} other steps are not drawn: choose one with --step."
    drawn = _drawn(4.6, 1, lambda axes: figures.draw_timeline(axes[0], line), text)
    return f"<h2>A step, agent by agent</h2>\n{drawn}"


def _latencies(run: RecordedRun) -> str:
    values = figures.latencies(run)
    text = (
        f"{len(values):,} model calls: median {median(values):.3g} s, 95th percentile "
        f"{figures.percentile_95(values):.3g} s, longest {max(values):.3g} s. Waiting in limits and for retries counts."
    )
    return f"<h2>Latencies</h2>\n{_drawn(2.4, 1, lambda axes: figures.draw_latencies(axes[0], run), text)}"


def _steps(run: RecordedRun) -> str:
    lines = [line for line in run.steps if line.step]
    if not lines:
        return ""
    counted = ("failures", "fallbacks", "conflicts", "retries")
    rows = (
        [
            str(line.step),
            f"{line.seconds:.2f}",
            f"{line.calls:,}",
            *(str(sum(getattr(report, name) for report in line.reports)) if line.reports else "-" for name in counted),
        ]
        for line in lines
    )
    table = _table(["step", "seconds", "model calls", *counted], rows)
    failed = sum(report.failures for report in run.reports())
    text = f"Wall time of each step. {failed:,} times an agent failed." if failed else "Wall time of each step."
    if not any(line.reports for line in lines):
        text += " No step ran in parallel, so there is no more to tell."
    drawn = _drawn(2.4, 1, lambda axes: figures.draw_seconds(axes[0], run), text)
    return f"<h2>Steps</h2>\n{drawn}{_details('The numbers', table)}"


def _tokens(run: RecordedRun) -> str:
    if not figures.has_tokens(run):
        return "<h2>Tokens and cost</h2>\n<p>No tokens were told of: no model was asked, or it does not count.</p>\n"
    read, written, cost = (
        sum(getattr(report, name) for report in run.reports())
        for name in ("prompt_tokens", "completion_tokens", "cost")
    )
    price = f"US$ {cost:,.4f}" if cost else "price not known"
    text = f"{read:,} tokens read, {written:,} written; {price}."
    return f"<h2>Tokens and cost</h2>\n{_drawn(2.4, 1, lambda axes: figures.draw_tokens(axes[0], run), text)}"


def _classes(run: RecordedRun) -> str:
    agents = [agent for report in run.reports() for agent in report.agents]
    if not agents:
        return ""
    rows = []
    for name in sorted({agent.agent_class for agent in agents}):
        own = [agent for agent in agents if agent.agent_class == name]
        outcomes = Counter(agent.outcome for agent in own)
        rows.append(
            [
                name,
                f"{len({agent.agent_id for agent in own}):,}",
                f"{sum(agent.calls for agent in own):,}",
                f"{sum(agent.seconds('decide') for agent in own) / len(own):.3f}",
                ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common()),
            ]
        )
    table = _table(["agents", "how many", "model calls", "seconds to decide", "outcomes"], rows)
    return f"<h2>Agents</h2>\n{table}"


def _drawn(height: float, panels: int, draw: Callable[[Sequence[Axes]], None], caption: str) -> str:
    with canvas.style():
        figure = canvas.new_figure(height)
        axes = figure.subplots(panels, 1)
        draw(list(axes) if panels > 1 else [axes])
        svg = canvas.as_svg(figure)
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption, quote=True)}" ', 1)
    return f'<figure><div class="wide">{named}</div><figcaption>{escape(caption)}</figcaption></figure>\n'


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>\n"
