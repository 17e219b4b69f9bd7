"""Events on the terminal, by rich. All text is shown as it is: models may have written it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesa_llm.errors.shown_text import is_control
from mesa_llm.recording.events import SimulationEvent

_BORDERS = {
    "observation": "cyan",
    "plan": "yellow",
    "plan_execution": "yellow",
    "action": "magenta",
    "message": "blue",
    "state_change": "white",
}


def make_console() -> Console:
    """The terminal."""
    return Console()


def text(shown: object, style: str = "") -> Text:
    """Text as it is: no markup, control codes by their names, since they could move the cursor or hide other text."""
    return Text("".join(map(_visible, str(shown))), style)


def _visible(character: str) -> str:
    if character in "\n\t" or not is_control(character):
        return character
    return character.encode("unicode_escape").decode()


def heading(console: Console, shown: str) -> None:
    """A line above what follows."""
    console.print()
    console.print(text(shown, "bold blue"))


def note(console: Console, shown: str) -> None:
    """A remark."""
    console.print(text(shown, "yellow"))


def problem(console: Console, shown: str) -> None:
    """What could not be done."""
    console.print(text(shown, "red"))


def facts(console: Console, values: Mapping[str, str]) -> None:
    """Names and values, one a row."""
    rows = Table(show_header=False, box=None, pad_edge=False)
    rows.add_column(style="cyan")
    for name, value in values.items():
        rows.add_row(text(name.replace("_", " ")), text(value))
    console.print(rows)


def table(console: Console, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table."""
    shown = Table(header_style="bold")
    for column in columns:
        shown.add_column(text(column))
    for row in rows:
        shown.add_row(*map(text, row))
    console.print(shown)


def event(console: Console, shown: SimulationEvent) -> None:
    """An event in a frame."""
    _frame(console, shown, shown.event_type, _details(shown), _BORDERS.get(shown.event_type, "white"))


def message(console: Console, shown: SimulationEvent, *, sent: bool) -> None:
    """A message in a frame, from the side of one agent."""
    listeners = ", ".join(map(str, shown.content.get("recipient_ids", [])))
    sender = shown.content.get("sender", shown.agent_id)
    title, color = (f"to {listeners}", "green") if sent else (f"from {sender}", "blue")
    _frame(console, shown, title, text(_in_words(shown.content.get("message", ""))), color)


def _frame(console: Console, shown: SimulationEvent, title: str, inside: Text, color: str) -> None:
    above = text(f"step {shown.step} · {shown.timestamp:%H:%M:%S} · {title}")
    console.print(Panel(inside, title=above, title_align="left", border_style=color))


def _details(shown: SimulationEvent) -> Text:
    if shown.content.keys() == {"data"}:
        return text(_in_words(shown.content["data"]))
    return Text("\n").join(
        Text.assemble(text(name, "bold"), ": ", text(_in_words(value))) for name, value in shown.content.items()
    )


def _in_words(value: Any, depth: int = 0) -> str:
    """A value without the brackets of JSON; mappings in mappings one entry a line."""
    if isinstance(value, Mapping):
        if value.keys() == {"before", "after"}:
            return f"{_in_words(value['before'], 1)} → {_in_words(value['after'], 1)}"
        if depth == 0 and value:
            return "".join(f"\n  {name}: {_in_words(item, 1)}" for name, item in value.items())
        return ", ".join(f"{name} {_in_words(item, depth + 1)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_in_words(item, depth + 1) for item in value) + "]"
    return "none" if value is None else str(value)
