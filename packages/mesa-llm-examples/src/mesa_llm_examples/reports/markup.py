"""Parts of a page: figures and tables. All text that comes in is escaped. Needs matplotlib."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mesa_llm_examples.reports import canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from matplotlib.figure import Figure

_WIDTHS = {"broad": 8.4, "narrow": 4.05}
"""Inches. Each figure is drawn for broad and for narrow screens, and the style sheet shows one of them."""


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
        with canvas.style():
            figure = canvas.new_figure(width, height)
            draw(figure)
            svg = canvas.as_svg(figure, f"{name}-{screen}")
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
