"""Looking ahead: what core offers to a step that asks models before the agents' turns come.

Such a step runs the agents to come on a throw-away copy of the model, to find out what they will ask. Whatever reaches
beyond the model (a file, a window, a counter in a module) must not do so there: `looking_ahead()` says when.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.context import current_answers

if TYPE_CHECKING:
    from mesa import Agent


class LookEnded(BaseException):
    """Ends an agent's step on a copy: what follows depends on an answer that is not known yet.

    A `BaseException`, so that `except Exception` in an agent's code does not catch it.
    """


class Answers(ABC):
    """Answers the model calls of agents that run within a step which asks ahead.

    Attributes:
        looking_ahead: whether the agents run on a copy.
    """

    __slots__ = ()

    looking_ahead: bool = False

    @abstractmethod
    def ask(self, client: Any, request: Any) -> Any:
        """Answer a request; blocks the calling thread.

        Args:
            client: the `LLMClient` that answers what is not known yet.
            request: the `LLMRequest`.

        Returns:
            The `LLMResponse`.

        Raises:
            LookEnded: on a copy, if the answer is not known.
            Exception: what the client raises.
        """

    @abstractmethod
    async def aask(self, client: Any, request: Any) -> Any:
        """Like `ask`, awaited."""

    def sees(self, agent: Agent, others: Iterable[Agent]) -> None:
        """Note whom an agent sees: what it asks depends on what they have done.

        Args:
            agent: who looks around.
            others: who is in sight.
        """


def looking_ahead() -> bool:
    """Whether the calling code runs on a throw-away copy of its model, to find out what agents will ask.

    Only with `ParallelStepping(activation="sequential")`. Code that reaches beyond the model, such as a counter in a
    module, a log of your own, or a window, does nothing then: it runs again at the agent's turn.
    """
    answers = current_answers()
    return answers is not None and answers.looking_ahead
