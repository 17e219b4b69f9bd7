"""How much memories matter, as a model judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.memory.asking import memory_request
from mesa_llm.memory.lines import MAX_TOKENS, in_batches
from mesa_llm.module_llm.dialogue import ask_structured

if TYPE_CHECKING:
    from mesa_llm.memory.memory import Memory
    from mesa_llm.module_llm.dialogue import Dialogue

LOWEST, HIGHEST = 1, 10

_AT_ONCE = 20
"""Entries that are graded in one call: small models lose count of more."""

_INSTRUCTIONS = """\
You judge how much the memories of an agent in a simulation matter to it. Grade each entry with a whole number from 1 to
10: 1 for what is routine and can be forgotten, 10 for what will matter for the rest of its life.
Answer with a JSON object that has the grade of each entry under its number, such as {"1": 2, "2": 8}."""


def grades(memory: Memory, lines: Sequence[str]) -> Dialogue[list[int]]:
    """Have entries graded, as many as there are in one call, and the rest in further ones.

    Args:
        memory: whose they are.
        lines: the entries.

    Returns:
        Their grades, from 1 to 10; one beyond that counts as the nearest.

    Raises:
        DecisionError: if the second answer cannot be read either.
    """
    found: list[int] = []
    for batch in in_batches(lines, memory.max_tokens or MAX_TOKENS, most=_AT_ONCE):
        numbered = "\n".join(f"{number}. {line}" for number, line in enumerate(batch, 1))
        request = memory_request(memory, _INSTRUCTIONS, f"# Entries\n{numbered}")
        answer = yield from ask_structured(request, _form(len(batch)), asker=memory.agent)
        found += [min(max(round(answer[str(number)]), LOWEST), HIGHEST) for number in range(1, len(batch) + 1)]
    return found


def _form(n: int) -> dict[str, Any]:
    numbers = [str(number) for number in range(1, n + 1)]
    return {
        "title": "grades",
        "type": "object",
        "properties": {number: {"type": "integer"} for number in numbers},
        "required": numbers,
        "additionalProperties": False,
    }
