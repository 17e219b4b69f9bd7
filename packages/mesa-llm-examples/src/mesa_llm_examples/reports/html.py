"""An HTML page and its parts: figures and tables. All text that comes in is escaped. Needs matplotlib."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mesa_llm_examples.reports.plots import as_svg, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from matplotlib.figure import Figure

_WIDTHS = {"broad": 8.4, "narrow": 4.05}
"""Inches. Each figure is drawn for broad and for narrow screens, and the style sheet shows one of them."""


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


def document(title: str, content: str) -> str:
    """A page of its own; `content` is markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{content}</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A section of the page; `parts` are markup."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>\n"


def drawn(name: str, height: float, draw: Callable[[Figure], None], caption: str) -> str:
    """A figure with its caption, which is also read out in its place.

    Args:
        name: of the figure, in ids.
        height: in inches.
        draw: draws on an empty figure.
        caption: says what is seen, with the most important numbers.
    """
    parts = []
    for screen, width in _WIDTHS.items():
        with style():
            figure = new_figure(width, height)
            draw(figure)
            svg = as_svg(figure, f"{name}-{screen}")
        parts.append(svg.replace("<svg ", f'<svg class="{screen}" role="img" aria-label="{escape(caption)}" ', 1))
    return f"<figure>{''.join(parts)}<figcaption>{escape(caption)}</figcaption></figure>\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, prose: Collection[int] = ()) -> str:
    """A table.

    Args:
        headings: of its columns.
        rows: the text of their cells.
        prose: numbers of columns that hold sentences; the others hold numbers or names.
    """
    head = "".join(f'<th scope="col"{_prose(at, prose)}>{escape(text)}</th>' for at, text in enumerate(headings))
    body = "".join(
        f"<tr>{''.join(f'<td{_prose(at, prose)}>{escape(text)}</td>' for at, text in enumerate(row))}</tr>\n"
        for row in rows
    )
    kind = ' class="words"' if prose else ""
    return (
        f'<div class="scrolls"><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'
    )


def _prose(at: int, prose: Collection[int]) -> str:
    return ' class="prose"' if at in prose else ""


def folded(summary: str, content: str) -> str:
    """Markup that is shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}</details>\n"
