"""What a memory holds: single events, also in the form of mesa-llm 0.3; and how they are written into a prompt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self, overload

from mesa_llm.activation import step_of
from mesa_llm.activation.values import to_text
from mesa_llm.limits.token_estimate import BYTES_PER_TOKEN, tokens_in
from mesa_llm.memory.observation import observation_in, written
from mesa_llm.spaces.space import ids_listed

if TYPE_CHECKING:
    from mesa_llm.memory.memory import Memory


_FIELDS = {"step", "type", "content", "agent"}


@dataclass(frozen=True, init=False, slots=True)
class MemoryEntry:
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
    """

    step: int
    type: str
    content: Mapping[str, Any]
    agent: Any = field(repr=False, compare=False)
    _text: str | None = field(repr=False, compare=False)
    _full: str | None = field(repr=False, compare=False)
    """An observation in full, once a memory has needed it, where `_text` says what has changed."""
    _digest: str | None = field(repr=False, compare=False)
    """The digest of step, type and content, once the state of the model has been digested."""
    _tokens: int = field(repr=False, compare=False)
    _observation_id: int = field(repr=False, compare=False)
    """Identifies an observation for the one after it; 0 for other events."""
    _relative_to: int = field(repr=False, compare=False)
    """The id of the observation since which `_text` says what has changed; 0 if it says everything."""

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
        object.__setattr__(self, "_digest", None)
        self._set_text(None)

    def _set_text(self, text: str | None, *, is_observation: bool = False, after: int = 0) -> Self:
        """Fix the text for prompts; `None` for the usual one, made when it is first read."""
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_full", None)
        object.__setattr__(self, "_tokens", 0 if text is None else tokens_in(text) + 1)
        # Not a count: an observation that is dropped again must leave nothing behind.
        object.__setattr__(self, "_observation_id", hash((self.step, text, after)) | 1 if is_observation else 0)
        object.__setattr__(self, "_relative_to", after)
        return self

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

    @property
    def text(self) -> str:
        """What happened, in the words of a prompt; may have several lines."""
        if self._text is None:
            object.__setattr__(self, "_text", text_of(self.step, self.type, self.content))
        return self._text  # type: ignore[return-value] # set above

    @property
    def tokens(self) -> int:
        """How many tokens its text takes in a prompt, estimated from its length, the line break included."""
        if not self._tokens:
            object.__setattr__(self, "_tokens", tokens_in(self.text) + 1)
        return self._tokens

    def __str__(self) -> str:
        """The entry by itself, with its step."""
        return self.text if self.step is None else f"Step {self.step}. {self.text}"

    def display(self) -> None:
        """Print the entry, with the agent that remembers it."""
        whose = "" if self.agent is None else f"{to_text(self.agent)} "
        print(f"{whose}{self}")  # noqa: T201 - what it is for


_BARE = frozenset({"content", "data", "message", "result", "text"})
"""Names that say no more than that something is there."""


def text_of(step: int, type: str, content: Mapping[str, Any], *, owner: int | None = None) -> str:  # noqa: A002
    """An event in the words of a prompt, an observation in full.

    Args:
        step: the model's step.
        type: the type of the event.
        content: what happened.
        owner: the `unique_id` of the agent that remembers it; `None` if it is not known.
    """
    if type == "observation" and (seen := observation_in(step, content)) is not None:
        return f"Saw: {seen.as_text() or 'nothing'}"
    if type == "message" and "message" in content:
        return _message(content, owner)
    if type == "action" and (done := _action(content)) is not None:
        return done
    if content.keys() == {"content"} and type in {"plan", "plan_execution"}:
        return to_text(content["content"])
    if len(content) == 1 and (name := next(iter(content))) in _BARE:
        details = to_text(content[name])
    else:
        details = "; ".join([f"{to_text(name)}: {to_text(value)}" for name, value in content.items()])
    return f"{type}: {details}" if type else details


def _message(content: Mapping[str, Any], owner: int | None) -> str:
    """A message with who sent it, or for its sender who got it: of a broadcast the first ones, and how many."""
    sender, recipients = content.get("sender"), content.get("recipients")
    rest = [
        f"{to_text(name)}: {to_text(value)}"
        for name, value in content.items()
        if name not in {"message", "sender", "recipients"}
    ]
    text = "; ".join([to_text(content["message"]), *rest])
    if owner is not None and sender == owner and isinstance(recipients, list):
        return f"You to {ids_listed(recipients)}: {text}"
    return text if sender is None else f"Agent {to_text(sender)}: {text}"


def _action(content: Mapping[str, Any]) -> str | None:
    """A call of a tool, or an action with why it was chosen, and its result; `None` for anything else."""
    call = content.get("action", content)
    if not isinstance(call, Mapping):
        return None
    name, arguments = call.get("name" if call is not content else "tool"), call.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, Mapping) or "result" not in content:
        return None
    given = ", ".join([f"{key}: {written(value)}" for key, value in arguments.items()])
    why = call.get("rationale") if call is not content else None
    done = f"{name}({given}) -> {to_text(content['result'])}"
    return f"{to_text(why)}\n{done}" if why else done


def prompt_lines(entries: Iterable[MemoryEntry], in_full: Callable[[MemoryEntry], str]) -> Iterator[str]:
    """The lines of a prompt for some entries, given oldest first, with a heading for each step.

    An observation is given by its changes only if the observation with which it was compared comes right before it, so
    that a reader can rebuild all of them.

    Args:
        entries: the entries.
        in_full: gives the full text of an observation.
    """
    last = 0
    for step, group in itertools.groupby(entries, attrgetter("step")):
        events = list(group)
        yield HEADING.format(step) if step is not None else HEADING.format("now")
        for place, event in enumerate(events):
            if event._observation_id:
                yield event.text if event._relative_to in (0, last) else in_full(event)
                last = event._observation_id
            elif not _is_redundant(place, events):
                yield event.text


_ACTS = frozenset({"action", "plan", "plan_execution"})

HEADING = "## Step {}"
HEADING_TOKENS = 4
"""How many tokens a heading takes at most, the line break included."""


def _is_redundant(place: int, events: Sequence[MemoryEntry]) -> bool:
    """Whether an action of the same step says the same: it carries out the plan, or sends the message."""
    event = events[place]
    if event.type in {"plan", "plan_execution"}:
        later = next((other for other in events[place + 1 :] if other.type in _ACTS), None)
        if later is None or later.type != "action":
            return False
        return event.type == "plan_execution" or event.text.startswith(f"{later.content.get('tool')}(")
    if event.type == "message" and isinstance(event.content.get("recipients"), list):
        said = event.content.get("message")
        return any(said in _arguments_of(other).values() for other in events if other.type == "action")
    return False


def _arguments_of(action: MemoryEntry) -> Mapping[str, Any]:
    call = action.content.get("action", action.content)
    arguments = call.get("arguments") if isinstance(call, Mapping) else None
    return arguments if isinstance(arguments, Mapping) else {}


def before_observation(entries: Sequence[MemoryEntry]) -> Sequence[MemoryEntry]:
    """Entries, given oldest first, without an observation at the end.

    In a parallel step the observation just made is staged. Where it is kept at once, a prompt has to be the same.
    """
    return entries[:-1] if entries and entries[-1].type == "observation" else entries


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
