"""Separates what a model thought before it answered from the answer, where one text holds both."""

from __future__ import annotations

import re

_NAMES = r"think|thinking|thoughts?|reasoning|seed:think"
_OPEN = rf"<\s*(?:{_NAMES})(?:\s[^<>]*)?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
_CLOSE = rf"<\s*/\s*(?:{_NAMES})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
_BLOCK = re.compile(rf"(?:{_OPEN})((?:(?!{_OPEN}).)*?)(?:{_CLOSE})", re.DOTALL | re.IGNORECASE)
_UNCLOSED = re.compile(rf"(?:^|\n)[ \t]*(?:{_OPEN})(.*)", re.DOTALL | re.IGNORECASE)
_LONE_CLOSE = re.compile(_CLOSE, re.IGNORECASE)
_DEEPEST = 5  # blocks in blocks
# Each of these begins with a character that few texts have, so that a text without thoughts is passed over quickly.
_MARK = re.compile(rf"{_OPEN}|{_CLOSE}|<\|channel\|>", re.IGNORECASE)
# A string in JSON. Marks in it do not end thoughts: it may quote what another agent has written.
_STRING = re.compile(r'(?:\A|(?<=[{\[,:]))\s*"(?:\\.|[^"\\])*"(?=\s*(?:[,:}\]]|\Z))', re.DOTALL)
_QUOTED = re.compile(rf"{_OPEN}|{_CLOSE}|<\|\w+\|>", re.IGNORECASE)

# OpenAI's harmony format: <|start|>assistant<|channel|>analysis<|message|>…<|end|>. Without its special tokens, which
# some servers drop, an answer is "analysis…assistantfinal…".
_CHANNEL = re.compile(
    r"(?:<\|start\|>([^<]*))?<\|channel\|>\s*(\w+)([^<]*(?:<\|constrain\|>[^<]*)?)<\|message\|>(.*?)"
    r"(?=<\|start\|>|<\|channel\|>|<\|end\|>|<\|return\|>|<\|call\|>|\Z)(?:<\|end\|>|<\|return\|>|<\|call\|>)?",
    re.DOTALL,
)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\n])(.*?)assistantfinal(.*)", re.DOTALL)


def without_thoughts(text: str) -> tuple[str, str]:
    """The answer in a text, and the thoughts in it, or an empty text.

    Thoughts are the text in `<think>…</think>` and tags like it, before an end tag that nothing has opened, after a
    start tag that nothing closes, and in the channels of the harmony format other than `final`. Tags in a string of
    JSON do not count. A call of a tool in such a channel stays in the answer. A text without thoughts is the answer.
    """
    if _MARK.search(text) is None and "assistantfinal" not in text:
        return text, ""
    if bare := _BARE_CHANNELS.fullmatch(text):
        return bare[2].strip(), bare[1].strip()
    quoting: dict[str, str] = {}
    thoughts: list[str] = []

    def hide(string: re.Match[str]) -> str:
        if _QUOTED.search(string[0]) is None:
            return string[0]
        place = f"\ufdd0{len(quoting)}\ufdd1"  # code points that Unicode leaves to programs
        quoting[place] = string[0]
        return place

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

    hidden = _STRING.sub(hide, text)
    answer = _CHANNEL.sub(speak, hidden)
    for _ in range(_DEEPEST):  # the innermost first
        answer = _BLOCK.sub(think, answer)
    for last in [*_LONE_CLOSE.finditer(answer)][-1:]:
        thoughts.append(answer[: last.start()])
        answer = answer[last.end() :]
    answer = _UNCLOSED.sub(think, answer, count=1)
    if not thoughts and answer == hidden:
        return text, ""
    said = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    for place, value in quoting.items():
        answer, said = answer.replace(place, value), said.replace(place, value)
    return answer.strip(), said
