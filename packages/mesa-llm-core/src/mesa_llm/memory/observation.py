"""What an agent sees at one moment: as data, and as text for prompts.

The text has a line for the agent itself and one for each group of agents that show the same:

    you (8, 8): state: quiet; _hardship: 0.918
    Citizen 1 (8, 0), 29 (7, 0): state: quiet
    Cop 65 (8, 9)

A line of its own has what all agents of a class show, with `…` where sentences differ in numbers alone:

    Citizen, each: I am … years old; I am poor
    Citizen 1 (8, 0), 29 (7, 0): 31
    Citizen 4 (7, 0): 58

Nothing empty is in it. A memory has the first observation whole, and of later ones what has changed: new values, the
last number of a sentence as it was (`I am 31 years old (was 30)`), facts that an agent no longer has (`no state`), and
agents that are out of sight. Texts that could be mistaken for something
else are quoted as in JSON, so everything can be read back.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mesa_llm.activation.values import plain, to_json, to_text, without_addresses

_as_line = json.JSONEncoder(default=plain, ensure_ascii=False, allow_nan=False).encode
_quoted = json.JSONEncoder(ensure_ascii=False).encode

_WORDS = {None: "none", True: "yes", False: "no"}
_MISTAKABLE = re.compile(r"none|null|true|false|yes|no|nowhere|-?\d[\d.]*(e[+-]?\d+)?|(?:no|not|at) .*", re.IGNORECASE)
_PLAIN_VALUE = re.compile(r"""[^\s;"'\[{(]([^\n\r;"]*[^\s;"])?""")
_PLAIN_ITEM = re.compile(r"""[^\s,;:"'()\[\]{}]([^\n\r,;:"()\[\]{}]*[^\s,;:"()\[\]{}])?""")
_NUMBER = re.compile(r"(?<!\w)-?\d+(?:\.\d+)?")
_BLANK = "…"
_CONTAINERS = (str, dict, list, tuple)
_NOT_NAMED = frozenset({"internal_state", "attributes", ""})
_FEWEST_THAT_SHARE = 3
"""From how many agents of a class on, a line of its own has the facts that all of them show."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at one moment. A copy: it does not change when the world does.

    Attributes:
        step: the model's step.
        self_state: about the agent itself: `agent_unique_id`, `location`, `internal_state`, and `attributes` where its
            class declares `visible_attributes`.
        local_state: about each agent in its vision, by class name and id (`"Citizen 3"`): `position`,
            `internal_state`, and `attributes` likewise.
        environment: about its own cell and those in its vision, by position: the values of property layers, and
            `room`, how many more agents the cell takes. In JSON, positions become text such as `"[3, 4]"`, and an
            empty environment is left out.
    """

    step: int
    self_state: dict[str, Any]
    local_state: dict[str, Any]
    environment: dict[Hashable, dict[str, Any]] = field(default_factory=dict)
    _view: _View | None = field(default=None, init=False, repr=False, compare=False)

    def as_json(self) -> str:
        """The observation as one line of JSON, every value in its canonical form."""
        fields = {"step": self.step, "self_state": self.self_state, "local_state": self.local_state}
        if self.environment:
            fields["environment"] = {
                to_json(place) if isinstance(place, tuple) else to_text(place): facts
                for place, facts in self.environment.items()
            }
        try:  # to_json would copy everything, and few values of an observation need it
            text = _as_line(fields)
        except (TypeError, ValueError, RecursionError):  # keys that JSON does not have, numbers that are not finite
            return to_json(fields)
        return without_addresses(text)

    def as_text(self, before: Observation | None = None) -> str:
        """The observation as text, see above; after another one, what has changed, which may be nothing.

        Args:
            before: an observation that the reader has.
        """
        lines = _in_full(self) if before is None else _changes(before, self)
        return without_addresses("\n".join(lines))

    def __str__(self) -> str:
        """The observation as text."""
        return self.as_text()


def observation_in(step: int, content: Mapping[str, Any]) -> Observation | None:
    """The observation in the content of a memory's entry; `None` if it has another form."""
    own, others = content.get("self_state"), content.get("local_state")
    if not (isinstance(own, dict) and isinstance(others, dict)):
        return None
    seen = Observation(step, own, others)
    object.__setattr__(seen, "_view", _View.of(seen))  # compared with the next one, too
    return seen


class _Seen(NamedTuple):
    """What an agent shows: its place, and its facts by name. The key of one without a name begins with a line break."""

    place: str
    facts: Mapping[str, str]


class _View(NamedTuple):
    """An observation as `as_text` writes it: what the agent shows of itself, and what others show, by their names."""

    me: _Seen
    others: Mapping[str, _Seen]

    @classmethod
    def of(cls, obs: Observation) -> _View:
        """That of an observation as it is now; of one in a memory, as it was when it was read from there."""
        if obs._view is not None:
            return obs._view
        me = _shown(obs.self_state, "location", hidden="agent_unique_id")
        return cls(me, {name: _shown_by_other(state) for name, state in obs.local_state.items()})


def written(value: Any, *, inside: bool = True) -> str:
    """A value as it stands in a prompt.

    Args:
        value: a value in its canonical form; anything else is brought into it.
        inside: whether it stands in a list, where commas and colons have a meaning.
    """
    kind = type(value)
    if kind is str:
        return _text(value, inside)
    if kind is float or kind is int:
        return repr(value)
    if kind is bool or value is None:
        return _WORDS[value]
    if kind is tuple:
        return f"({', '.join(map(written, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join([f'{written(str(key))}: {written(item)}' for key, item in value.items()])}}}"
    return written(plain(value), inside=inside)


@functools.lru_cache(maxsize=10_000)
def _text(text: str, inside: bool) -> str:
    is_plain = (_PLAIN_ITEM if inside else _PLAIN_VALUE).fullmatch(text) and not _MISTAKABLE.fullmatch(text)
    return text if is_plain else _quoted(text)


_known: dict[str, _Seen] = {}
_MOST_KNOWN = 10_000
_LONGEST_KNOWN = 500  # characters


def _shown_by_other(state: Any) -> _Seen:
    """What another agent shows. In a step, many see the same of it, and it is compared in the next one."""
    key = repr(state)
    seen = _known.get(key)
    if seen is None:
        seen = _shown(state)
        if len(key) <= _LONGEST_KNOWN:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = seen
    return seen


def _shown(state: Any, place_name: str = "position", *, hidden: str | None = None) -> _Seen:
    """What an agent shows, nothing that is empty. The names `internal_state` and `attributes` are not shown."""
    if not isinstance(state, dict):
        return _Seen("", _facts_of("", state, {}))
    where = ""
    facts: dict[str, str] = {}
    for section, content in state.items():
        if section == place_name:
            if content is not None:
                is_place = isinstance(content, tuple | list)
                where = f"({', '.join(map(written, content))})" if is_place else f"at {written(content)}"
        elif section in _NOT_NAMED:
            _facts_of(section, content, facts)
        elif section != hidden:
            _facts_of(section, {section: content}, facts)
    return _Seen(where, facts)


def _facts_of(section: str, content: Any, facts: dict[str, str]) -> dict[str, str]:
    """Add the facts of a section to others, but none twice."""
    if isinstance(content, dict):
        for name, item in content.items():
            if not isinstance(item, _CONTAINERS) or item:
                key = _text(str(name), True)
                fact = f"{key}: {written(item, inside=False)}"
                if facts.setdefault(key, fact) != fact:
                    facts[f"{section}.{key}"] = f"{section}.{fact}"
    else:
        for item in content if isinstance(content, list) else [content]:
            if not isinstance(item, _CONTAINERS) or item:
                text = written(item)
                facts[f"\n{text}"] = text  # no name has a line break
    return facts


def _in_full(obs: Observation) -> list[str]:
    me, others = _View.of(obs)
    lines = [_line("you", me.place, me.facts.values())] if any(me) else []
    lines += _agents(others)
    if obs.environment:
        cells: dict[str, list[str]] = {}
        for place, facts in obs.environment.items():
            values = "; ".join(
                [f"{written(str(name))}: {written(value, inside=False)}" for name, value in facts.items()]
            )
            cells.setdefault(values, []).append(written(place))
        lines += [f"cells {', '.join(places)}: {values}" for values, places in cells.items()]
    return lines


def _changes(before: Observation, now: Observation) -> list[str]:
    (known_me, known), (seen_me, seen) = _View.of(before), _View.of(now)
    me = _news(known_me, seen_me)
    lines = [_line("you", me.place, me.facts.values())] if any(me) else []
    lines += _agents({name: _news(known.get(name), shown) for name, shown in seen.items() if known.get(name) != shown})
    gone: dict[str, list[str]] = {}
    for name in known:
        if name not in seen:
            kind, number = _kind_of(name)
            gone.setdefault(kind, []).append(number)
    if gone:
        out = (f"{kind} {', '.join(numbers)}".lstrip() for kind, numbers in gone.items())
        lines.append(f"out of sight: {'; '.join(out)}")
    return lines


def _news(known: _Seen | None, seen: _Seen) -> _Seen:
    """What is new about an agent."""
    if known is None:
        return seen
    facts = {key: fact for key, fact in seen.facts.items() if known.facts.get(key) != fact}
    gone = {key: fact for key, fact in known.facts.items() if key not in seen.facts}
    if facts and gone:
        old, new = _sentences_by_form(gone.values()), _sentences_by_form(facts.values())
        for form, sentence in new.items():
            numbers, before = _NUMBER.findall(sentence), _NUMBER.findall(old.get(form, ""))
            if numbers[:-1] == before[:-1] and before:
                del gone[f"\n{old[form]}"]
                facts[f"\n{sentence}"] = f"{sentence} (was {before[-1]})"
    for key, fact in gone.items():
        facts[key] = f"not {fact}" if key.startswith("\n") else f"no {key}"
    if known.place and not seen.place:
        facts["\nnowhere"] = "nowhere"
    return _Seen(seen.place if seen.place != known.place else "", facts)


def _agents(seen: Mapping[str, _Seen]) -> Iterator[str]:
    """Lines on agents, by class: what all of a class show, then those that show the same together."""
    by_kind: dict[str, list[tuple[str, _Seen]]] = {}
    for name, shown in seen.items():
        kind, number = _kind_of(name)
        by_kind.setdefault(kind, []).append((number, shown))
    for kind, members in by_kind.items():
        facts_of_each = [shown.facts for _, shown in members]
        if kind and len(members) >= _FEWEST_THAT_SHARE:
            shared, own_facts = _shared(facts_of_each)
        else:
            shared, own_facts = [], [tuple(facts.values()) for facts in facts_of_each]
        groups: dict[tuple[str, ...], list[str]] = {}
        for (number, (place, _)), own in zip(members, own_facts, strict=True):
            groups.setdefault(own, []).append(f"{number} {place}" if place else number)
        if shared and len(groups) > 1:
            yield f"{kind}, each: {'; '.join(shared)}"
        elif shared:
            groups = {(*shared, *own): names for own, names in groups.items()}
        for own, names in groups.items():
            for who in [", ".join(names)] if kind else names:
                yield _line(" ".join(filter(None, (kind, who))), "", own)


def _shared(members: Sequence[Mapping[str, str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The facts that all of some agents show, and the other facts of each.

    A sentence that differs in its numbers alone is shared, with `…` in their places; the numbers of an agent, in the
    same order, stand before its other facts.
    """
    first, *others = [facts.values() for facts in members]
    of_all = set(first).intersection(*others)
    shared = [fact for fact in first if fact in of_all and _BLANK not in fact]
    own = [[fact for fact in facts.values() if fact not in shared] for facts in members]
    if any(map(_is_sentence, own[0])):
        by_form = [_sentences_by_form(facts) for facts in own]
        forms = [form for form in by_form[0] if all(form in sentences for sentences in by_form)]
        numbers: list[list[str]] = [[] for _ in members]
        for form in forms:
            columns = list(zip(*[_NUMBER.findall(sentences[form]) for sentences in by_form], strict=True))
            shown = [column[0] if len(set(column)) == 1 else _BLANK for column in columns]
            texts = zip(form.split(_BLANK), [*shown, ""], strict=True)
            shared.append("".join(itertools.chain.from_iterable(texts)))
            for column in columns:
                if len(set(column)) > 1:
                    for row, number in zip(numbers, column, strict=True):
                        row.append(number)
        for row, facts, sentences in zip(numbers, own, by_form, strict=True):
            said = {sentences[form] for form in forms}
            facts[:] = row + [fact for fact in facts if fact not in said]
    return shared, [tuple(facts) for facts in own]


def _is_sentence(fact: str) -> bool:
    """Whether a fact is a text of several words without a name."""
    return " " in fact and ": " not in fact and fact[0] not in "[({"


def _sentences_by_form(facts: Iterable[str]) -> dict[str, str]:
    """Sentences with numbers, by their text with `…` for each number; none of two that have the same."""
    found: dict[str, list[str]] = {}
    for fact in filter(_is_sentence, facts):
        if _BLANK not in fact and _NUMBER.search(fact):
            found.setdefault(_NUMBER.sub(_BLANK, fact), []).append(fact)
    return {form: sentences[0] for form, sentences in found.items() if len(sentences) == 1}


def _line(who: str, place: str, facts: Iterable[str]) -> str:
    shown = "; ".join(facts)
    named = f"{who} {place}" if place else who
    return f"{named}: {shown}" if shown else named


@functools.lru_cache(maxsize=10_000)
def _kind_of(name: str) -> tuple[str, str]:
    """Class and id in a name such as `Citizen 3`; for any other name no class, and the whole name."""
    kind, _, number = name.rpartition(" ")
    if number.isdecimal() and kind.isidentifier():
        return kind, number
    return "", name if name.isidentifier() and name not in {"you", "cells"} else _quoted(name)
