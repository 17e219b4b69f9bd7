"""How numbers are put into words, in all outputs alike."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

RULE = "rule-based policy"
"""Who decides where no model is asked."""


def counted(count: int, noun: str) -> str:
    """So many of something: `1 agent`, `1,234 agents`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def answers_took(count: int, seconds: float, *, simulated: str = "") -> str:
    """What answers took, each for itself: `40 answers took 5.50 s, added up`.

    This is no time that a run would take: answers that were on their way at once are added up too.

    Args:
        count: how many answers.
        seconds: what they took, added up.
        simulated: says so of answers that a rule gives, whose times are made up; empty for those of a model.
    """
    added_up = "" if count == 1 else ", added up"
    return f"{counted(count, 'answer')} took {seconds:.2f} s{added_up}" + (f" ({simulated})" if simulated else "")


def headline(template: str, values: Mapping[str, Any]) -> str:
    """A template with values in braces; `{cops:cop|cops}` becomes `1 cop` or `2 cops`."""
    return _Headline().vformat(template, (), values)


class _Headline(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        return f"{value} {one if value == 1 else many}" if bar else super().format_field(value, format_spec)
