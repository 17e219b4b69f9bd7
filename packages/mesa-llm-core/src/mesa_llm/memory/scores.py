"""The scores of memories: importance, as a model judges it, and relevance to what an agent has on its mind.

After Park et al. (2023), "Generative Agents: Interactive Simulacra of Human Behavior", arXiv:2304.03442, section 4.1.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mesa_llm.activation.values import to_text
from mesa_llm.memory.prompt import MAX_TOKENS, in_batches, memory_request
from mesa_llm.module_llm.dialogue import ask_structured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mesa_llm.memory.memory import Memory, MemoryEntry
    from mesa_llm.module_llm.dialogue import Dialogue

    type Vector = NDArray[np.float32]

type Embed = Callable[[list[str]], Iterable[Sequence[float]] | Awaitable[Iterable[Sequence[float]]]]
"""Turns texts into one vector each, all of one length; plain or async."""

_WORD = re.compile(r"\w+")

LOWEST, HIGHEST = 1, 10

_AT_ONCE = 20
"""How many entries go into one call: small models lose count of more."""

_INSTRUCTIONS = """\
You judge how much the memories of an agent in a simulation matter to it. Grade each entry with a whole number from 1 to
10: 1 for what is routine and can be forgotten, 10 for what will matter for the rest of its life.
Answer with a JSON object that has the grade of each entry under its number, such as {"1": 2, "2": 8}."""


def importances(memory: Memory, lines: Sequence[str]) -> Dialogue[list[int]]:
    """Have a model judge the importance of entries, many in one call.

    Args:
        memory: whose entries they are.
        lines: the entries.

    Returns:
        The importance of each, from 1 to 10; a number outside of that range counts as the nearest inside.

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


def words_of(entry: MemoryEntry) -> frozenset[str]:
    """The words of what happened, in lower case; numbers, such as other agents' ids, are words."""
    return words_in(" ".join(map(to_text, entry.content.values())))


def words_in(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(_WORD.findall(text.lower()))


def shared_words(focus: frozenset[str], entries: Sequence[frozenset[str]]) -> list[float]:
    """How much of the focus each entry has: 0 for no word, 1 for all of them.

    A word counts the more the fewer entries have it (inverse document frequency), so those in all of them for nothing.

    Args:
        focus: the words to look for.
        entries: the words of each entry.
    """
    in_entries = Counter(word for words in entries for word in words & focus)
    weights = {word: math.log(len(entries) / n) for word, n in in_entries.items()}
    # fsum is exact, so the order does not matter: that of a set of texts differs from process to process.
    total = math.fsum(weights.values())
    if not total:
        return [0.0] * len(entries)
    return [math.fsum(weights[word] for word in words & focus) / total for words in entries]


def cosines(focus: Sequence[Vector], entries: Sequence[Vector | None]) -> list[float]:
    """The cosine of each entry's vector with the mean of those in focus; 0 for an entry that has none yet.

    Args:
        focus: unit vectors.
        entries: unit vectors.
    """
    if not focus:
        return [0.0] * len(entries)
    mean = np.mean(np.stack(focus), axis=0)
    length = float(np.linalg.norm(mean))
    return [0.0 if vector is None or not length else float(vector @ mean) / length for vector in entries]


def unit_vectors(vectors: Iterable[Sequence[float]], n: int) -> list[Vector]:
    """Vectors of length 1 in the directions of those given.

    Args:
        vectors: any vectors.
        n: how many there must be.

    Raises:
        ValueError: if there are more or fewer, or one is not finite or has another number of dimensions.
    """
    rows: Any = list(vectors)
    if len(rows) != n:
        raise ValueError(f"{n} texts were to be embedded, and {len(rows)} vectors came back. Give one for each text.")
    array = np.asarray(rows, dtype=np.float32)  # ValueError if they are not of one length
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"An embedding is a list of finite numbers, got {rows[0]!r} and its like.")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return list(array / np.where(lengths == 0, 1, lengths))


def scaled(values: Sequence[float]) -> list[float]:
    """Values brought to the range from 0 to 1 (min-max); all 0 if they are all the same."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]
