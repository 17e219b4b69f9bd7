"""Finds the recipients of a message, and reports to the sender who got it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mesa import Agent

from mesa_llm.memory.entries import receipt
from mesa_llm.spaces.space import ids_listed

if TYPE_CHECKING:
    from mesa import Model

type Recipients = Iterable[Agent[Any] | int] | Agent[Any] | int


def found(model: Model[Any, Any], recipients: Recipients) -> tuple[dict[Agent[Any], None], list[Any]]:
    """The recipients, each once, in order; and the ids of those that are not in the model.

    Raises:
        TypeError: if a recipient is neither an agent nor an id.
    """
    # A MetaAgent can be iterated over, but is one agent.
    one = isinstance(recipients, Agent | Integral)
    named: list[Any] = [recipients] if one else _listed(recipients)
    by_id: dict[Any, Agent[Any]] = {}
    if any(isinstance(name, Integral) for name in named):
        by_id = {agent.unique_id: agent for agent in model.agents}
    present = model.agents
    agents: dict[Agent[Any], None] = {}
    unknown: dict[Any, None] = {}
    for name in named:
        if not isinstance(name, Agent | Integral) or isinstance(name, bool):
            raise _no_recipient(name)
        agent = by_id.get(name) if isinstance(name, Integral) else name
        if agent is not None and agent in present:
            agents[agent] = None
        else:
            unknown[name if agent is None else agent.unique_id] = None
    return agents, list(unknown)


def report(heard: Sequence[int], deaf: Sequence[int], unknown: Sequence[Any]) -> str:
    """The result that the sender gets: who heard the message, and who did not."""
    sentences = [receipt(heard) if heard else "Nobody could be given the message."]
    if deaf:
        sentences.append(f"Agents {ids_listed(deaf)} have no memory and were left out.")
    if unknown:
        sentences.append(f"There are no agents {ids_listed(unknown)}.")
    return " ".join(sentences)


def _listed(recipients: Any) -> list[Any]:
    if isinstance(recipients, str) or not isinstance(recipients, Iterable):
        raise _no_recipient(recipients)
    return list(recipients)


def _no_recipient(name: Any) -> TypeError:
    return TypeError(f"The recipients of a message are agents or their unique ids, got {name!r}.")
