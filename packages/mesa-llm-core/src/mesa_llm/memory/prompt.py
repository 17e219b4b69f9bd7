"""Entries as lines of a prompt with limited room, and requests about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.limits.token_estimate import BYTES_PER_TOKEN, tokens_in

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.clients import LLMRequest
    from mesa_llm.memory.memory import Memory

MAX_TOKENS = 4000
"""How many tokens of a prompt a memory takes by default."""

FEWEST_TOKENS = 100
"""With fewer, headings and notes about what was cut would leave no room for anything else."""

LARGEST_SHARE = 4
"""Divisor: one entry takes at most a quarter of a memory, so that a large one does not push out all others."""

NOTHING_YET = "Nothing yet."


def shortened(text: str, max_tokens: int | None, *, note: str | None = None) -> str:
    """A text cut to a length; if it was cut, it ends with a note.

    Args:
        text: the text.
        max_tokens: how many tokens it may take, at least `FEWEST_TOKENS // LARGEST_SHARE`; `None` for any length.
        note: the note; by default it gives the length of the whole text.
    """
    if max_tokens is None or tokens_in(text) <= max_tokens:
        return text
    if note is None:
        note = f" … ({len(text):,} characters, shortened)"
    room = max_tokens * BYTES_PER_TOKEN - len(note.encode())
    # Half a character at the end is dropped.
    return text.encode(errors="replace")[:room].decode(errors="ignore").rstrip() + note


def tokens_of_line(line: str) -> int:
    """What a line takes, with the break that ends it."""
    return tokens_in(line) + 1


def newest_that_fit[T](lines: Sequence[T], max_tokens: int | None, tokens_of: Callable[[T], int]) -> Sequence[T]:
    """The newest lines that fit together; at least the last one.

    Args:
        lines: the lines, or what becomes lines, oldest first.
        max_tokens: how many tokens they may take together; `None` for any number.
        tokens_of: how many tokens a line takes.
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
    """All lines, in order, in batches that fit into one request; each has at least one line.

    Args:
        lines: the lines.
        max_tokens: how many tokens the lines of a batch may take together.
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


def memory_request(memory: Memory, instructions: str, prompt: str) -> LLMRequest:
    """A request about memories: first the instructions that all agents share, then whose memory it is, then the rest.

    The agent's `max_tokens` (or `max_completion_tokens`) and `stop` apply to its decisions and are not sent.

    Args:
        memory: who asks.
        instructions: what to do; the same for all agents.
        prompt: what to do it with.
    """
    about = f"{instructions}{_about(memory.agent)}"
    return memory.llm.request(prompt, system_prompt=about, max_tokens=None, max_completion_tokens=None, stop=None)


def _about(agent: Agent[Any]) -> str:
    parts = {"Who the agent is": "system_prompt", "What it decides in each step": "step_prompt"}
    texts = {heading: str(getattr(agent, name, None) or "").strip() for heading, name in parts.items()}
    return "".join(f"\n\n# {heading}\n{text}" for heading, text in texts.items() if text)
