"""The instructions with which requests begin: which question they ask, and how agents and models replace them.

Strategies and memories register theirs, by a name. So rules that answer in place of a model know what is asked,
whatever the instructions say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from mesa_llm.clients.messages import LLMRequest

type Question = Literal["decide", "call tools", "sum up", "grade"]
"""What a request asks for.

`decide`: a decision, in words or by calling tools. `call tools`: the tool calls for a decision in words. `sum up`:
memories as one text. `grade`: how much memories matter.
"""

QUESTIONS: tuple[Question, ...] = get_args(Question.__value__)


@dataclass(frozen=True, slots=True)
class Instructions:
    """What is known of a request by the instructions in its system message."""

    question: Question
    in_words: bool | None
    """Whether a second request asks the tool calls for this decision in words; `None` for unknown instructions."""


_known: dict[str, Instructions] = {}
"""By the text with which they begin. What is once there stays."""

_named: dict[str, str] = {}
INSTRUCTIONS: Mapping[str, str] = MappingProxyType(_named)
"""The instructions of strategies and memories, by names such as `CoTReasoning`. Agents and models can replace them by a
dict of the same form: `llm_instructions`, an attribute of an agent or its class, or of a model, which counts for its
agents."""

_UNKNOWN = Instructions("decide", None)


def register_question(
    question: Question, instructions: str, *, in_words: bool = False, name: str | None = None
) -> None:
    """Say which question a request with these instructions asks, so that `question_of` knows it.

    A strategy or a memory of your own needs it only to work with rules (`RuleBasedClient`). Call it where the
    instructions are written.

    Args:
        question: `decide`, `call tools`, `sum up` or `grade`.
        instructions: the text with which the system message of a request begins. What follows a first `{` may differ
            from request to request, as in a text for `str.format`.
        in_words: whether the decision is to be in words, for which a request of the kind `call tools` follows.
        name: a name for `INSTRUCTIONS`, by which `instructions_for` finds them.

    Raises:
        ConfigurationError: if there is no such question, nothing stands before the first `{`, or the same instructions
            are registered otherwise.
    """
    if question not in QUESTIONS:
        raise ConfigurationError(f"question must be one of {', '.join(map(repr, QUESTIONS))}, got {question!r}.")
    opening = _opening_of(instructions) if isinstance(instructions, str) else ""
    if not opening:
        raise ConfigurationError(f"Instructions must begin with a text by which to know them, got {instructions!r}.")
    asked = Instructions(question, in_words)
    if _known.setdefault(opening, asked) != asked:
        raise ConfigurationError(
            f"The instructions {opening!r} are registered for {_known[opening].question!r} already. Let those for "
            f"{question!r} begin with another text."
        )
    if name is not None:
        _named[name] = instructions


def instructions_for(agent: Any, name: str) -> str:
    """The instructions of this name: the agent's own, or else its model's, or else those in `INSTRUCTIONS`.

    Args:
        agent: the agent that decides or remembers.
        name: the name under which they are registered.

    Raises:
        ConfigurationError: if `llm_instructions` of the agent or its model has a name that is not registered, or
            instructions that `register_question` does not take.
    """
    for owner in (agent, getattr(agent, "model", None)):
        replaced = getattr(owner, "llm_instructions", None)
        if not replaced:
            continue
        if not isinstance(replaced, Mapping) or (unknown := [key for key in replaced if key not in _named]):
            wrong = f"there are no instructions {unknown}" if isinstance(replaced, Mapping) else f"got {replaced!r}"
            raise ConfigurationError(
                f"{type(owner).__name__}.llm_instructions: {wrong}. Give a dict of texts; its keys are among "
                f"{', '.join(map(repr, _named))}."
            )
        if name in replaced:
            text: str = replaced[name]
            asked = _known[_opening_of(_named[name])]
            register_question(asked.question, text, in_words=bool(asked.in_words))
            return text
    return _named[name]


def _opening_of(instructions: str) -> str:
    return instructions.partition("{")[0].strip()


def question_of(request: LLMRequest) -> Question:
    """Which question a request asks, for rules that answer in place of a model.

    It goes by the instructions in the system message, so it is the same in every tool mode, when a question is asked
    again after a bad answer, and for a request that a server has received.

    Args:
        request: a request made by a reasoning or a memory.

    Returns:
        `decide`, `call tools` (carry out a decision in words), `sum up` (memories), or `grade` (the importance of
        memories). `decide` for instructions that nobody has registered (see `register_question`).
    """
    return instructions_of(request).question


def instructions_of(request: LLMRequest) -> Instructions:
    """What is known of a request by its instructions."""
    # The first message, whatever its role: some servers take no system message, and get its text in the user's.
    text = request.messages[0].content if request.messages else ""
    # They begin the message, or a paragraph of it, behind the tools that it lists.
    places = {opening: f"\n\n{text}".find(f"\n\n{opening}") for opening in _known}
    found = [(place, -len(opening), opening) for opening, place in places.items() if place >= 0]
    return _known[min(found)[-1]] if found else _UNKNOWN
