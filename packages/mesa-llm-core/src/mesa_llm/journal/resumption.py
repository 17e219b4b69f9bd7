"""Goes on with a run that was broken off: from the journal as far as it reaches, then by asking."""

from __future__ import annotations

from pathlib import Path

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.journal.calls import Outcome
from mesa_llm.journal.places import OUTSIDE, Place
from mesa_llm.journal.recording import Recording
from mesa_llm.journal.replay import Replay
from mesa_llm.journal.runs import RunId


class Resumption:
    """A run that goes on where it was broken off.

    Answers that are recorded are given again. What was in flight is asked again. For the rest it matters whether the
    run had gone on to a later step:

    - In a step that it had left behind, the model must come by the same way: a failure is raised again, and a request
      that is not recorded is an error, since what follows it in the journal would belong to another run.
    - In the last recorded step, failures are asked again, and a request that is not recorded is asked: the run was
      broken off in the middle of it.

    A step within another one, made by an agent that acts, has been left behind when the outer one has.

    Args:
        path: the journal.
        run: which run.

    Raises:
        JournalError: if somebody else writes the run.
    """

    def __init__(self, path: Path, run: RunId) -> None:
        self.run = run
        self._recording = Recording(path, run)
        try:
            self._replay = Replay(path, run)
            self._last_step = self._replay.last_step()
        except BaseException:
            self._recording.close()
            raise

    @property
    def replayed(self) -> int:
        """How many calls have been answered from the journal."""
        return self._replay.replayed

    async def complete(self, request: LLMRequest, inner: LLMClient) -> LLMResponse:
        """Answer a call from the journal, or have it answered and record it. Runs on the transport loop."""
        place = self._recording.places.next(request)
        left_behind = OUTSIDE < place.outermost_step < self._last_step
        outcome = self._replay.find(place) if place.outermost_step <= self._last_step else None
        if outcome is None and left_behind:
            raise self._replay.missed(place, request, None)
        if outcome is not None and self._stands(place, outcome, left_behind=left_behind):
            return await self._replay.again(place, request, outcome)
        return await self._recording.ask(place, request, inner)

    def _stands(self, place: Place, outcome: Outcome, *, left_behind: bool) -> bool:
        if outcome.state in {"failed", "cancelled"}:
            return left_behind or (place.step == OUTSIDE and self._replay.went_on_after(outcome))
        return outcome.state == "answered"

    def close(self) -> None:
        """Close the file, and let others write the run. A second time does nothing."""
        self._replay.close()
        self._recording.close()
