"""Reads observations back from their text: what the text holds, and nothing else."""

from __future__ import annotations

import json
import re


def tokens(text, stops, *, brackets=True):
    """Split at any of the stops outside of quotes and brackets. Without brackets, their characters mean nothing."""
    parts, part, depth, place = [], "", 0, 0
    while place < len(text):
        if text[place] == '"':
            _, end = json.JSONDecoder().raw_decode(text, place)
            part += text[place:end]
            place = end
            continue
        depth += brackets * ((text[place] in "([{") - (text[place] in ")]}"))
        stop = next((stop for stop in stops if not depth and text.startswith(stop, place)), None)
        if stop is None:
            part += text[place]
            place += 1
        else:
            parts.append(part)
            part = ""
            place += len(stop)
    return [*parts, part]


def value_of(text):
    """A value as it was written."""
    if text.startswith('"'):
        return json.loads(text)
    if text[:1] == "[":
        return [value_of(item) for item in tokens(text[1:-1], [", "])] if text != "[]" else []
    if text[:1] == "(":
        return tuple(value_of(item) for item in tokens(text[1:-1], [", "])) if text != "()" else ()
    if text[:1] == "{":
        entries = [tokens(item, [": "]) for item in tokens(text[1:-1], [", "])] if text != "{}" else []
        return {name_of(name): value_of(": ".join(rest)) for name, *rest in entries}
    if text in {"yes", "no", "none"}:
        return {"yes": True, "no": False, "none": None}[text]
    try:
        return json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text


def name_of(text):
    return json.loads(text) if text.startswith('"') else text


NUMBER = r"(?<!\w)-?\d+(?:\.\d+)?"


def facts_of(text):
    """Facts by name; those without a name under themselves. `GONE` for those that an agent no longer has."""
    facts = {}
    for fact in tokens(text, ["; "], brackets=False) if text else []:
        name, *rest = tokens(fact, [": "])
        if not rest and (was := re.fullmatch(rf"(.*) \(was ({NUMBER})\)", name)):
            name = was[1]
            last = list(re.finditer(NUMBER, name))[-1]
            facts["bare", repr(value_of(name[: last.start()] + was[2] + name[last.end() :]))] = GONE
        if rest:
            facts["named", name_of(name)] = value_of(": ".join(rest))
        elif name.startswith("no "):
            facts["named", name_of(name.removeprefix("no "))] = GONE
        elif name.startswith("not "):
            facts["bare", repr(value_of(name.removeprefix("not ")))] = GONE
        elif name == "nowhere":
            facts["place"] = GONE
        else:
            facts["bare", repr(value_of(name))] = value_of(name)
    return facts


GONE = object()


def read(text, before=None):
    """All that an agent sees, by name: a dict of facts for each agent, `you` included.

    Args:
        text: the text of an observation; of what has changed, if `before` is given.
        before: what was read of the observation before.
    """
    seen = {name: dict(facts) for name, facts in (before or {}).items()}
    shared = {}
    found = []
    for line in text.split("\n") if text else []:
        if line.startswith("out of sight: "):
            for group in tokens(line.removeprefix("out of sight: "), ["; "]):
                for name in names_in(group):
                    del seen[name[0]]
            continue
        who, *rest = tokens(line, [": "])
        if who.endswith(", each"):
            shared[who.removesuffix(", each")] = ": ".join(rest)
        else:
            found += [(name, place, ": ".join(rest)) for name, place in names_in(who)]
    for name, place, facts in found:
        news = facts_of(with_numbers(shared.get(name.rpartition(" ")[0], ""), facts))
        if place is not None:
            news["place"] = place
        known = seen.setdefault(name, {})
        known.update(news)
        for gone in [fact for fact, value in known.items() if value is GONE]:
            del known[gone]
    return seen


def with_numbers(shared, facts):
    """The facts that all show and those of one agent, whose numbers are put into the sentences with `…`."""
    own = tokens(facts, ["; "], brackets=False) if facts else []
    found = []
    for fact in tokens(shared, ["; "], brackets=False) if shared else []:
        has_name = len(tokens(fact, [": "])) > 1
        found.append(fact if has_name else re.sub("…", lambda _: own.pop(0), fact))
    return "; ".join(found + own)


def names_in(text):
    """The agents in the first part of a line, with their places."""
    kind = ""
    for item in tokens(text, [", "]):
        words = tokens(item, [" "])
        if words[0] != "you" and not words[0].isdecimal() and len(words) > 1 and words[1].isdecimal():
            kind, *words = words
        name = f"{kind} {words[0]}" if words[0].isdecimal() and kind else name_of(words[0])
        place = None
        if len(words) > 1:
            place = value_of(" ".join(words[2:])) if words[1] == "at" else value_of(" ".join(words[1:]))
        yield name, place
