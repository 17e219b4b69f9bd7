"""What a memory holds: single events, also in the form of mesa-llm 0.3; and how they are written into a prompt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

from mesa_llm.activation import step_of
from mesa_llm.activation.values import to_text
from mesa_llm.limits.budget import BYTES_PER_TOKEN, tokens_in
from mesa_llm.memory.observation import Observation, observation_in, written
from mesa_llm.spaces.space import ids_listed

if TYPE_CHECKING:
    from mesa_llm.memory.memory import Memory


_FIELDS = {"step", "type", "content", "agent"}
_step_of = attrgetter("step")


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
            self._set(*args)
        else:
            self._set(**self._given(args, named))

    @classmethod
    def _of(
        cls,
        step: int,
        type: str,  # noqa: A002
        content: Mapping[str, Any],
        text: str,
        full: str | None = None,
        *,
        relative_to: int | None = None,
    ) -> Self:
        """An entry with its text for prompts; of an observation, with the one before it (0 for none)."""
        entry = object.__new__(cls)
        # Not a count: an observation that is dropped again must leave nothing behind.
        number = 0 if relative_to is None else hash((step, text, relative_to)) | 1
        entry._set(step, type, content, None, text, full, tokens_in(text) + 1, number, relative_to or 0)
        return entry

    def _set(
        self,
        step: int | None,
        type: str,  # noqa: A002
        content: Mapping[str, Any],
        agent: Any = None,
        text: str | None = None,
        full: str | None = None,
        tokens: int = 0,
        observation_id: int = 0,
        relative_to: int = 0,
    ) -> None:
        fix = object.__setattr__  # the class is frozen
        fix(self, "step", step)
        fix(self, "type", type)
        fix(self, "content", content)
        fix(self, "agent", agent)
        fix(self, "_text", text)
        fix(self, "_full", full)
        fix(self, "_digest", None)
        fix(self, "_tokens", tokens)
        fix(self, "_observation_id", observation_id)
        fix(self, "_relative_to", relative_to)

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


class WrittenEntries(NamedTuple):
    """Entries, oldest first, as they stand in a prompt.

    Attributes:
        entries: the entries.
        text: their lines.
        observation: the id of the last observation among them; 0 for none.
    """

    entries: Sequence[MemoryEntry] = ()
    text: str = ""
    observation: int = 0


NOTHING_WRITTEN = WrittenEntries()


class Recent:
    """What the next entry and the next prompt of a memory mostly begin with.

    It can be made again, so copies and pickles of a memory have none of it.

    Attributes:
        seen: the last observation, as an entry and as it was.
        written: the entries of the last prompt.
        counted: the first and the last of some entries, how many they are, and their tokens.
    """

    __slots__ = ("counted", "seen", "written")

    def __init__(self) -> None:
        self.seen: tuple[MemoryEntry | None, Observation | None] = None, None
        self.written = NOTHING_WRITTEN
        self.counted: tuple[MemoryEntry | None, MemoryEntry | None, int, int] = None, None, 0, 0

    def tokens_of(self, entries: Sequence[MemoryEntry]) -> int:
        """How many tokens entries, oldest first, take by their own texts, headings included."""
        first, last, n, tokens = self.counted
        if not (0 < n <= len(entries) and entries[0] is first and entries[n - 1] is last):
            n, tokens, last = 0, 0, None
        for entry in entries[n:]:
            tokens += entry.tokens
            if last is None or entry.step != last.step:
                tokens += HEADING_TOKENS
            last = entry
        if last is not None:
            self.counted = entries[0], last, len(entries), tokens
        return tokens

    def __reduce__(self) -> tuple[type[Recent], tuple[()]]:
        return Recent, ()


def write_entries(
    entries: Sequence[MemoryEntry], in_full: Callable[[MemoryEntry], str], known: WrittenEntries = NOTHING_WRITTEN
) -> WrittenEntries:
    """Write entries, given oldest first, for a prompt. Those that it begins with may be known.

    Args:
        entries: the entries.
        in_full: gives the full text of an observation.
        known: other entries.
    """
    n = len(known.entries)
    begins = n <= len(entries) and all(map(is_, known.entries, entries))
    # What is added to a step may change the lines of that step.
    if not begins or (0 < n < len(entries) and entries[n].step == entries[n - 1].step):
        n, known = 0, NOTHING_WRITTEN
    lines, last = prompt_lines(entries[n:], in_full, known.observation)
    return WrittenEntries(entries, "\n".join([known.text, *lines] if n else lines), last)


def prompt_lines(
    entries: Sequence[MemoryEntry], in_full: Callable[[MemoryEntry], str], last: int = 0
) -> tuple[list[str], int]:
    """The lines of a prompt for some entries, given oldest first, with a heading for each step.

    An observation is given by its changes only if the observation with which it was compared comes right before it, so
    that a reader can rebuild all of them.

    Args:
        entries: the entries.
        in_full: gives the full text of an observation.
        last: the id of the observation before them; 0 for none.

    Returns:
        The lines, and the id of the last observation.
    """
    lines: list[str] = []
    for step, group in itertools.groupby(entries, _step_of):
        events = list(group)
        lines.append(HEADING.format("now" if step is None else step))
        for place, event in enumerate(events):
            if event._observation_id:
                lines.append(event.text if event._relative_to in (0, last) else in_full(event))
                last = event._observation_id
            elif not _is_redundant(place, events):
                lines.append(event.text)
    return lines, last


_ACTS = frozenset({"action", "plan", "plan_execution"})

HEADING = "## Step {}"
HEADING_TOKENS = 4
"""How many tokens a heading takes at most, the line break included."""


def _is_redundant(place: int, events: Sequence[MemoryEntry]) -> bool:
    """Whether another event of the same step says the same.

    An action carries out the plan, or sends the message; a message says to whom and what an agent has spoken.
    """
    event = events[place]
    if event.type in {"plan", "plan_execution"}:
        later = next((other for other in events[place + 1 :] if other.type in _ACTS), None)
        if later is None or later.type != "action":
            return False
        return event.type == "plan_execution" or event.text.startswith(f"{later.content.get('tool')}(")
    if event.type == "action":
        return any(_only_sends(event, other) for other in events if other.type == "message")
    if event.type == "message" and isinstance(event.content.get("recipients"), list):
        said = event.content.get("message")
        saying = [other for other in events if other.type == "action" and said in _arguments_of(other).values()]
        return bool(saying) and not any(_only_sends(action, event) for action in saying)
    return False


def _only_sends(action: MemoryEntry, message: MemoryEntry) -> bool:
    """Whether an action is a call of `speak_to` of which the message says everything: it reached all whom it named."""
    recipients = message.content.get("recipients")
    return (
        action.content.get("tool") == "speak_to"
        and isinstance(recipients, list)
        and action.content.get("result") == receipt(recipients)
        and action.content.get("arguments")
        == {"listener_agents_unique_ids": recipients, "message": message.content.get("message")}
        and ids_listed(recipients) == str(recipients)
    )


def receipt(recipients: Sequence[int]) -> str:
    """What the sender of a message is answered about the agents that got it."""
    return f"Agents {ids_listed(recipients)} got the message."


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
