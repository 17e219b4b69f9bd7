"""What the models share: checks of their arguments, and the choices of their rules."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesa_llm.clients import Message, tool_call
from mesa_llm.clients.messages import canonical_json
from mesa_llm.errors import ConfigurationError

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest


def at_least(name: str, value: int, lowest: int, hint: str = "") -> None:
    """Check that an argument is a whole number with a lower bound.

    Raises:
        ConfigurationError: if it is not; the hint is the last sentence of the error.
    """
    if not isinstance(value, int) or value < lowest:
        raise ConfigurationError(f"{name} must be a whole number >= {lowest}, got {value!r}. {hint}".strip())


def in_range(name: str, value: float, lowest: float, highest: float, hint: str = "") -> None:
    """Check that an argument is a number between two bounds, which are allowed values.

    Raises:
        ConfigurationError: if it is not; the hint is the last sentence of the error.
    """
    if not isinstance(value, int | float) or math.isnan(value) or not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest:g} to {highest:g}, got {value!r}. {hint}".strip())


def choose[T](options: Sequence[T], observation: Mapping[str, Any], purpose: str) -> T:
    """One of the options, all equally likely, by a hash of the options, the observation and the purpose.

    An observation holds the agent's id, the step, its own state and what it sees, so these decide; neither the words of
    a prompt nor what the agent remembers do. The choice is the same in every process and in every mode.

    Args:
        options: the options, at least one.
        observation: what the agent sees, see `read_observation`.
        purpose: what is chosen; choices for different purposes are independent.
    """
    text = canonical_json([purpose, options, observation])
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return options[int.from_bytes(digest[:8]) % len(options)]


def offered(request: LLMRequest) -> dict[str, Any]:
    """The actions on offer: the JSON schema of each one's arguments, by its name.

    Args:
        request: a request to choose an action, by a tool call or as a JSON object.
    """
    if request.response_format is None:
        return {tool.name: tool.parameters for tool in request.tools}
    actions = [action["properties"] for action in request.response_format.schema["properties"]["action"]["anyOf"]]
    return {action["name"]["enum"][0]: action["arguments"] for action in actions}


def chosen(reason: str, action: str, **arguments: Any) -> Message:
    """A rule's answer: the choice of one action, and why."""
    return Message("assistant", reason, (tool_call(action, **arguments),))


def id_in(name: str) -> int:
    """The id of an agent, of which an observation has the name: 12 of "Citizen 12"."""
    return int(name.rpartition(" ")[2])
