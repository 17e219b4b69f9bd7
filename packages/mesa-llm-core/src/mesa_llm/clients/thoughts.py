"""Separates what a model thought before it answered from the answer, where one text holds both."""

from __future__ import annotations

import json
import re

_NAMES = r"think|thinking|thoughts?|reasoning|seed:think"
_OPEN = rf"<\s*(?:{_NAMES})(?:\s[^<>]*)?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
_CLOSE = rf"<\s*/\s*(?:{_NAMES})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
_BLOCK = re.compile(rf"(?:{_OPEN})((?:(?!{_OPEN}).)*?)(?:{_CLOSE})", re.DOTALL | re.IGNORECASE)
_UNCLOSED = re.compile(rf"(?:^|\n)[ \t]*(?:{_OPEN})(.*)", re.DOTALL | re.IGNORECASE)
_LONE_CLOSE = re.compile(rf"(.*)(?:{_CLOSE})", re.DOTALL | re.IGNORECASE)
_DEEPEST = 5  # blocks in blocks
# Each of these begins with a character that few texts have, so that a text without thoughts is passed over quickly.
_MARK = re.compile(rf"{_OPEN}|{_CLOSE}|<\|channel\|>", re.IGNORECASE)
_QUOTED = re.compile(rf"{_OPEN}|{_CLOSE}|<\|\w+\|>", re.IGNORECASE)  # in a JSON value

# OpenAI's harmony format: <|start|>assistant<|channel|>analysis<|message|>…<|end|>. Without its special tokens, which
# some servers drop, an answer is "analysis…assistantfinal…".
_CHANNEL = re.compile(
    r"(?:<\|start\|>([^<]*))?<\|channel\|>\s*(\w+)([^<]*(?:<\|constrain\|>[^<]*)?)<\|message\|>(.*?)"
    r"(?=<\|start\|>|<\|channel\|>|<\|end\|>|<\|return\|>|<\|call\|>|\Z)(?:<\|end\|>|<\|return\|>|<\|call\|>)?",
    re.DOTALL,
)
_OPENING = re.compile(r'[{\[]|\A\s*"')
_MOST_OPENINGS = 100  # each may be read to the end of the text, which a hostile text would make expensive
_decoder = json.JSONDecoder(strict=False)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\n])(.*?)assistantfinal(.*)", re.DOTALL)


def without_thoughts(text: str) -> tuple[str, str]:
    """The answer in a text, and the thoughts in it, or an empty text.

    Thoughts are the text in `<think>…</think>` and tags like it, before an end tag that nothing has opened, after a
    start tag that nothing closes, and in the channels of the harmony format other than `final`. Tags in a JSON value do
    not count. A call of a tool in such a channel stays in the answer. A text without thoughts is the answer as it is.
    """
    if _MARK.search(text) is None and "assistantfinal" not in text:
        return text, ""
    if bare := _BARE_CHANNELS.fullmatch(text):
        return bare[2].strip(), bare[1].strip()
    hidden, quoting = _without_quoting_values(text)
    thoughts: list[str] = []

    def think(found: re.Match[str]) -> str:
        thoughts.append(found[1])
        return ""

    def speak(found: re.Match[str]) -> str:
        sender, channel, recipient, words = found.groups()
        if channel == "final":
            return words
        if "to=" in f"{sender}{recipient}":
            return found[0]
        thoughts.append(words)
        return ""

    answer = _CHANNEL.sub(speak, hidden)
    for _ in range(_DEEPEST):  # the innermost first
        answer = _BLOCK.sub(think, answer)
    answer = _LONE_CLOSE.sub(think, answer)
    answer = _UNCLOSED.sub(think, answer, count=1)
    if not thoughts and answer == hidden:
        return text, ""
    said = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    for place, value in quoting.items():
        answer, said = answer.replace(place, value), said.replace(place, value)
    return answer.strip(), said


def _without_quoting_values(text: str) -> tuple[str, dict[str, str]]:
    """The text with a placeholder for each JSON value that holds a mark, and these values.

    A value quotes thoughts, such as those that another agent has written into a message; it does not end them.
    """
    quoting: dict[str, str] = {}
    pieces: list[str] = []
    reached = position = 0
    for _ in range(_MOST_OPENINGS):
        opening = _OPENING.search(text, position)
        if opening is None:
            break
        start = position = opening.end() - 1
        try:
            _, end = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            position += 1
            continue
        position = end
        if _QUOTED.search(text, start, end):
            place = f"\ufdd0{len(quoting)}\ufdd1"  # code points that Unicode leaves to programs
            quoting[place] = text[start:end]
            pieces += [text[reached:start], place]
            reached = end
    return "".join([*pieces, text[reached:]]), quoting
