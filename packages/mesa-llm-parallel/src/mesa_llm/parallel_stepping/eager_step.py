"""A step in which each agent acts as soon as it has decided."""

from __future__ import annotations

from typing import override

from mesa_llm.parallel_stepping.parallel_step import ParallelStep, raise_all
from mesa_llm.parallel_stepping.passage import Passage


class EagerStep(ParallelStep):
    """One step of some agents under the activation `eager`; the arguments are those of `ParallelStep`.

    Starts are one after the other here too, and acts are one at a time, those of plain agents included. Everything
    else follows the model's answers.
    """

    @override
    async def _run_phases(self) -> None:
        with self._timed("decide"):
            await self._start(self.seats, lambda seat: seat.start())
            await self._until_idle()
            decided = [seat for seat in self.seats if not seat.failed_acting]
            for seat in decided:
                if seat.error is None:
                    seat.commit()
            self._go_on_without_failed(
                decided,
                outcome="the others have acted",
                failed_acts=[seat for seat in self.seats if seat.failed_acting],
            )
            for fallback in self.fallbacks.values():
                fallback.start()
            await self._until_idle()
        acting_s = sum(end - start for seat in self._in_place for phase, start, end in seat.spans if phase == "act")
        self.phase_s = {"decide": self.phase_s["decide"] - acting_s, "act": acting_s, "settle": 0.0}
        raise_all([seat for seat in self._in_place if seat.failed_acting], "acting, and all others have acted")

    @override
    def at_turn_point(self, seat: Passage) -> None:
        self._ready.append(seat)
        self.loop.call_soon(self._let_the_next_act)

    @override
    def gave_turn_back(self, seat: Passage) -> None:
        seat.decide_again()

    @override
    def _act_failed(self) -> None:
        """The others act all the same."""
