"""Entries as lines of a prompt that has room for only so much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mesa_llm.limits.token_estimate import BYTES_PER_TOKEN, tokens_in

MAX_TOKENS = 4000
"""What a memory takes of a prompt unless it is told otherwise."""

FEWEST_TOKENS = 100
"""With less, there would be no room for anything beside headings and what is said of what was cut."""

LARGEST_SHARE = 4
"""One entry takes at most this part of a memory, as a divisor: else one large one would push out all others."""

NOTHING_YET = "Nothing yet."


_MORE = " …"


def shortened(text: str, max_tokens: int | None) -> str:
    """A text cut to a length; it ends by saying so if it was.

    Args:
        text: the text.
        max_tokens: what it may take, at least `FEWEST_TOKENS // LARGEST_SHARE`; `None` for any length.
    """
    if max_tokens is None or tokens_in(text) <= max_tokens:
        return text
    note = f" … ({len(text):,} characters, shortened)"
    return _first_bytes(text, max_tokens * BYTES_PER_TOKEN - len(note.encode())) + note


def cut(text: str, max_tokens: int) -> str:
    """A text cut to a length, for texts that are known to be no longer."""
    if tokens_in(text) <= max_tokens:
        return text
    room = max_tokens * BYTES_PER_TOKEN - len(_MORE.encode())
    return _first_bytes(text, room) + _MORE


def tokens_of_line(line: str) -> int:
    """What a line takes, with the break that ends it."""
    return tokens_in(line) + 1


def newest_that_fit[T](lines: Sequence[T], max_tokens: int | None, tokens_of: Callable[[T], int]) -> Sequence[T]:
    """The last of the lines that fit together, and in any case the very last.

    Args:
        lines: the lines, or what becomes lines, oldest first.
        max_tokens: what they may take together; `None` for any length.
        tokens_of: what a line takes.
    """
    if max_tokens is None:
        return lines
    left = max_tokens
    for position in range(len(lines) - 1, -1, -1):
        left -= tokens_of(lines[position])
        if left < 0:
            return lines[min(position + 1, len(lines) - 1) :]
    return lines


def in_batches(lines: Sequence[str], max_tokens: int, *, most: int | None = None) -> Iterator[list[str]]:
    """All lines, in order, in lots that a model can be given at once; each has at least one line.

    Args:
        lines: the lines.
        max_tokens: what the lines of a lot may take together.
        most: how many there may be in one; `None` for any number.
    """
    batch: list[str] = []
    taken = 0
    for line in lines:
        tokens = tokens_of_line(line)
        if batch and (taken + tokens > max_tokens or len(batch) == most):
            yield batch
            batch, taken = [], 0
        batch.append(line)
        taken += tokens
    if batch:
        yield batch


def _first_bytes(text: str, n_bytes: int) -> str:
    # Half a character at the end is dropped.
    return text.encode(errors="replace")[:n_bytes].decode(errors="ignore").rstrip()
