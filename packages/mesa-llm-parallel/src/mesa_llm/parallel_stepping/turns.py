"""One agent's place in a parallel step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from typing import override

from mesa_llm.activation import ModelCall
from mesa_llm.errors import StepAborted, TurnError
from mesa_llm.parallel_stepping.failures import name_of
from mesa_llm.parallel_stepping.passage import Passage, nothing
from mesa_llm.parallel_stepping.states import AT_ONCE, State, Waiter


class Seat(Passage):
    """One agent's place in a parallel step: what the agent meets there.

    May be called from any thread; what changes the state is handed over to the thread of the step's event loop.

    Args:
        step: the parallel step.
        agent: whose place it is.
    """

    __slots__ = ()

    @property
    @override
    def acting(self) -> bool:
        return self.state is State.ACTING

    @property
    def _had_turn(self) -> bool:
        return self.state is State.ACTING or self.state is State.GAVE_TURN_BACK

    @override
    async def abegin_decision(self) -> None:
        self._check_open()
        if self._had_turn:
            await self._await(self._give_back)
        self._on_loop(self._decision_begins)

    @override
    def begin_decision(self) -> None:
        self._check_may_block("plan()", "await aplan()")
        self._check_open()
        if self._had_turn:
            self._block(self._give_back)
        self._on_loop(self._decision_begins)

    @override
    def end_decision(self) -> None:
        self._on_loop(self._decision_ends)

    @override
    def atake(self) -> Awaitable[None]:
        self._check_open()
        return AT_ONCE if self.acting else self._await(self._at_turn_point)

    @override
    def take(self) -> None:
        self._check_open()
        if not self.acting:
            self._check_may_block("Acting", "await my_turn() first")
            self._block(self._at_turn_point)

    @override
    def goes_on_in_thread(self) -> None:
        self._starts_in_thread = True

    @override
    def call_started(self, call: ModelCall) -> None:
        self._open_calls[call] = "settle" if self.state is State.ENDED else "act" if self.acting else "decide"
        self.step.progress += 1
        if self.called_off:
            raise StepAborted
        self._reached()

    @override
    def call_ended(self, call: ModelCall) -> None:
        self.calls.append((self._open_calls.pop(call), self.step.clock() - self.step.began, call))
        self.step.progress += 1
        self._has_answer()
        if self.called_off:
            raise StepAborted

    @override
    def queue(self) -> Callable[[], None]:
        timer = self._timer
        if timer is None:
            return nothing
        self._on_loop(timer.pause)
        return lambda: self._on_loop(timer.resume)

    @override
    def stage(self, commit: Callable[[], None], drop: Callable[[], None]) -> None:
        if self.called_off or self.state is State.ENDED:
            drop()
        else:
            self._staged += ((commit, drop),)

    @override
    def claim(self, place: Hashable) -> None:
        self.step.claims[place] = self.agent

    @override
    def is_claimed(self, place: Hashable) -> bool:
        return self.step.claims.get(place, self.agent) is not self.agent

    @override
    def conflicted(self, refusal: str) -> None:
        self.conflicts += (refusal,)

    # How it waits.

    def _await(self, arrive: Callable[[Waiter], None]) -> Awaitable[None]:
        loop = asyncio.get_running_loop()
        if loop is not self.step.loop:
            turn: Future[None] = Future()
            self._on_loop(arrive, turn)
            return asyncio.wrap_future(turn)
        granted = loop.create_future()
        arrive(granted)
        return granted

    def _block(self, arrive: Callable[[Waiter], None]) -> None:
        turn: Future[None] = Future()
        self._on_loop(arrive, turn)
        turn.result()

    def _check_open(self) -> None:
        if self.called_off:
            raise StepAborted
        if self.state is State.ENDED:
            raise TurnError(
                f"The step of {name_of(self.agent)} has ended, and with it its turn. Await what you start in a step "
                "before the step returns."
            )

    def _check_may_block(self, what: str, instead: str) -> None:
        if asyncio._get_running_loop() is not None:  # the public function raises instead of answering
            raise TurnError(
                f"{what} would block the event loop that runs {name_of(self.agent)} and other agents: use {instead}."
            )
