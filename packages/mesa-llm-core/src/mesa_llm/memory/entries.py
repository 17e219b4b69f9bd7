"""What a memory holds: single events, also in the form of mesa-llm 0.3; and how their lines fit into a prompt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from mesa_llm.activation import step_of
from mesa_llm.activation.values import to_text
from mesa_llm.limits.token_estimate import BYTES_PER_TOKEN, tokens_in
from mesa_llm.spaces.space import ids_listed

if TYPE_CHECKING:
    from mesa_llm.memory.memory import Memory


_FIELDS = {"step", "type", "content", "agent"}


class _Line:
    """An entry as a line of a prompt, made when it is first read and kept in slots: a step reads thousands of them."""

    __slots__ = ("_line", "tokens")

    _line: str
    tokens: int

    def __getattr__(self, name: str) -> Any:
        if name not in _Line.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        details = "; ".join([f"{to_text(key)}: {_detail(key, value)}" for key, value in self.content.items()])
        when = f"[step {self.step}]" if self.step is not None else ""
        line = " ".join(filter(None, (when, f"{self.type}:" if self.type else "", details)))
        object.__setattr__(self, "_line", line)
        object.__setattr__(self, "tokens", tokens_in(line))
        return getattr(self, name)


def _detail(name: Any, value: Any) -> str:
    """One value; of the recipients of a broadcast the first ones, and how many there are."""
    return ids_listed(value) if name == "recipients" and isinstance(value, list) else to_text(value)


@dataclass(frozen=True, init=False, slots=True)
class MemoryEntry(_Line):
    """One thing remembered; or several, in the form of mesa-llm 0.3: `MemoryEntry(content, step, agent)`.

    Args:
        *args: step, type and content; or content, step and agent.
        **named: the same by name.

    Attributes:
        step: the model's step in which it happened; in the form of mesa-llm 0.3, `None` for a step that is not over.
        type: `observation`, `plan`, `action`, `message`, or a name of the user's own; empty for several events, whose
            content is by their types.
        content: what happened.
        agent: who remembers it, in the form of mesa-llm 0.3.
        tokens: how many tokens its line in a prompt takes, estimated from its length.
    """

    step: int
    type: str
    content: Mapping[str, Any]
    agent: Any = field(repr=False, compare=False)

    @overload
    def __init__(self, step: int, type: str, content: Mapping[str, Any]) -> None: ...
    @overload
    def __init__(self, content: Mapping[str, Any], step: int | None, agent: Any) -> None: ...
    def __init__(self, *args: Any, **named: Any) -> None:
        if len(args) == 3 and not named and isinstance(args[1], str):  # as the memories write it, for each event
            given: dict[str, Any] = {"step": args[0], "type": args[1], "content": args[2], "agent": None}
        else:
            given = self._given(args, named)
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def _given(args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        in_order = (
            ("content", "step", "agent") if args and isinstance(args[0], Mapping) else ("step", "type", "content")
        )
        given = {"type": "", "agent": None, **dict(zip(in_order, args, strict=False)), **named}
        if len(args) > len(in_order) or given.keys() != _FIELDS or (named and named.keys() & in_order[: len(args)]):
            raise TypeError(
                f"MemoryEntry takes step, type and content, or content, step and agent, got {args} and {named}."
            )
        return given

    def __str__(self) -> str:
        """The entry as one line of a prompt."""
        return self._line

    def display(self) -> None:
        """Print the entry, with the agent that remembers it."""
        whose = "" if self.agent is None else f"{to_text(self.agent)} "
        print(f"{whose}{self}")  # noqa: T201 - what it is for


def before_observation(entries: Sequence[MemoryEntry]) -> Sequence[MemoryEntry]:
    """Entries, given oldest first, without an observation at the end.

    In a parallel step the observation just made is staged. Where it is kept at once, a prompt has to be the same.
    """
    return entries[:-1] if entries and entries[-1].type == "observation" else entries


def first_of_last_steps(entries: Iterable[MemoryEntry], n: int) -> int:
    """The first of the last `n` steps in which something happened; 0 if there are fewer."""
    steps = sorted({entry.step for entry in entries})
    return steps[-n] if len(steps) >= n else 0


def add_event(content: dict[str, Any], event: MemoryEntry, additive: Collection[str]) -> None:
    """Add an event to the content of a step: to the list of its type if that is additive, or in place of the last."""
    if event.type not in additive:
        content[event.type] = event.content
        return
    before = content.setdefault(event.type, [])
    if not isinstance(before, list):  # the user's own
        before = content[event.type] = [before]
    before.append(event.content)


type Group = tuple[MemoryEntry, Sequence[MemoryEntry]]
"""An entry of mesa-llm 0.3, and the entries of ours that it stands for."""


class GroupedEntries(MutableSequence[MemoryEntry]):  # noqa: PLW1641 - it can change, so it has no hash
    """What a memory holds, oldest first, read and changed like the deque of mesa-llm 0.3.

    A view: it shows the memory as it is now, and the memory changes with it. Each entry is made when it is read, so
    changing the content of one changes nothing.

    Args:
        memory: whose entries these are.
        grouped: puts entries, given oldest first, into groups.
    """

    def __init__(self, memory: Memory, grouped: Callable[[Iterable[MemoryEntry]], Iterable[Group]]) -> None:
        self._memory = memory
        self._grouped = grouped

    def _change(self, change: Callable[[list[Sequence[MemoryEntry]]], Any]) -> None:
        groups = [events for _, events in self._grouped(self._memory._stored())]
        change(groups)
        self._memory._hold(itertools.chain.from_iterable(groups))

    def _wholes(self) -> list[MemoryEntry]:
        return [whole for whole, _ in self._grouped(self._memory.entries)]

    def __len__(self) -> int:
        return len(self._wholes())

    @overload
    def __getitem__(self, index: int) -> MemoryEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[MemoryEntry]: ...
    def __getitem__(self, index: int | slice) -> MemoryEntry | list[MemoryEntry]:
        return self._wholes()[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        many = isinstance(index, slice)
        events: Any = [events_of(entry, self._memory) for entry in (value if many else [value])]
        self._change(lambda groups: groups.__setitem__(index, events if many else events[0]))

    def __delitem__(self, index: int | slice) -> None:
        self._change(lambda groups: groups.__delitem__(index))

    def insert(self, index: int, value: MemoryEntry) -> None:
        """Insert an entry before a position."""
        self._change(lambda groups: groups.insert(index, events_of(value, self._memory)))

    def appendleft(self, value: MemoryEntry) -> None:
        """Insert an entry as the oldest."""
        self.insert(0, value)

    def popleft(self) -> MemoryEntry:
        """Remove the oldest entry and return it."""
        return self.pop(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and self._wholes() == list(other)

    def __repr__(self) -> str:
        return repr(self._wholes())


def events_of(entry: MemoryEntry, memory: Memory) -> list[MemoryEntry]:
    """The single events of an entry of mesa-llm 0.3; one of ours is one event."""
    if entry.type:
        return [entry]
    step = step_of(memory.agent.model) if entry.step is None else entry.step
    return [
        MemoryEntry(step, name, event if isinstance(event, Mapping) else {"content": event})
        for name, events in entry.content.items()
        for event in (events if isinstance(events, list) else [events])
    ]


def shortened(text: str, max_tokens: int | None, *, note: str | None = None, keeps_end: bool = False) -> str:
    """A text cut to `max_tokens`, at least 25. A note stands for what was cut, by default with the whole length.

    The end is cut; with `keeps_end`, the middle is, and most of what stays is the end.
    """
    if max_tokens is None or tokens_in(text) <= max_tokens:
        return text
    if note is None:
        note = f" … ({len(text):,} characters, shortened)"
    room = max_tokens * BYTES_PER_TOKEN - len(note.encode())
    whole = text.encode(errors="replace")
    head = room // 5 if keeps_end else room
    # Decoding drops half a character where the text is cut.
    begin = whole[:head].decode(errors="ignore").rstrip() + note
    return f"{begin} … {whole[head - room + 5 :].decode(errors='ignore').lstrip()}" if keeps_end else begin


def tokens_of_line(line: str) -> int:
    """How many tokens a line takes, the line break included."""
    return tokens_in(line) + 1


def newest_that_fit[T](lines: Sequence[T], max_tokens: int | None, tokens_of: Callable[[T], int]) -> Sequence[T]:
    """The newest lines (given oldest first) that fit together; at least the last one."""
    if max_tokens is None:
        return lines
    left = max_tokens
    for position in range(len(lines) - 1, -1, -1):
        left -= tokens_of(lines[position])
        if left < 0:
            return lines[min(position + 1, len(lines) - 1) :]
    return lines


def in_batches(lines: Sequence[str], max_tokens: int, *, most: int | None = None) -> Iterator[list[str]]:
    """All lines, in order, in batches of at most `max_tokens` and `most` lines; each has at least one line."""
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
