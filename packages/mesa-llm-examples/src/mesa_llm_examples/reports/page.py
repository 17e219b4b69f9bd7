"""A run as one HTML page that needs nothing else: no script, no file beside it, no network. Needs matplotlib."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mesa_llm_examples.reports import sections

if TYPE_CHECKING:
    from mesa_llm_examples.reports.run_file import RecordedRun, StepLine

_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117; --line: #3d444d; --bad: #ff8f86; }
}
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
        line: the step that is drawn with a lane an agent; `None` if there is none to draw.
    """
    parts = [
        sections.head(run),
        sections.states(run),
        "" if line is None else sections.timeline(run, line),
        sections.latencies(run),
        sections.steps(run),
        sections.tokens(run),
        sections.incidents(run),
        sections.classes(run),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(run.run.headline)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )
