"""A turn that never comes: an agent decides off the record, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NoReturn, override

from mesa_llm.activation.context import within
from mesa_llm.activation.turn import Turn
from mesa_llm.errors import TurnError

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.activation.call import ModelCall


class OffRecordTurn(Turn):
    """One decision of an agent off the record.

    What core writes for the agent is staged, so that the decision can read it, and dropped by `drop`. Its model calls
    have no identity, so no step counts them. Acting raises.
    """

    __slots__ = ("_drops", "agent")

    off_record = True

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._drops: list[Callable[[], None]] = []

    def deciding(self) -> within:
        """The time in which the agent decides, as a `with` block. A decision made in it does not wait for a turn."""
        return within(turn=self, deciding=self, agent_step=None, stepping=None, call=None)

    def drop(self) -> None:
        """Forget what was staged."""
        drops, self._drops = self._drops, []
        for drop in drops:
            drop()

    @property
    @override
    def acting(self) -> bool:
        return False

    @override
    async def abegin_decision(self) -> None:
        pass

    @override
    def begin_decision(self) -> None:
        pass

    @override
    def end_decision(self) -> None:
        pass

    @override
    async def atake(self) -> None:
        self._refuse()

    @override
    def take(self) -> None:
        self._refuse()

    @override
    def call_started(self, call: ModelCall) -> None:
        pass

    @override
    def call_ended(self, call: ModelCall) -> None:
        pass

    @override
    def queue(self) -> Callable[[], None]:
        return lambda: None

    @override
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        self._drops.append(drop)

    @override
    def claim(self, place: Hashable) -> None:
        self._refuse()

    @override
    def is_claimed(self, place: Hashable) -> bool:
        return False

    @override
    def conflicted(self, refusal: str) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise TurnError(
            f"{type(self.agent).__name__} {self.agent.unique_id} is asked off the record, so it cannot act. A "
            "reasoning only decides: act in step(), after plan() has returned."
        )
