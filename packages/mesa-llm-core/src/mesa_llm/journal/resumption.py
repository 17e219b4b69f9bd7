"""Goes on with a run that was broken off: from the journal as far as it reaches, then by asking."""

from __future__ import annotations

from pathlib import Path

from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse
from mesa_llm.errors import JournalError
from mesa_llm.journal.calls import Outcome
from mesa_llm.journal.places import OUTSIDE, Place
from mesa_llm.journal.recording import Recording
from mesa_llm.journal.replay import Replay
from mesa_llm.journal.runs import RunId


class Resumption:
    """A run that goes on where it was broken off.

    Answers that are recorded are given again. What was in flight is asked again. For the rest it matters whether the
    run had gone on:

    - In a step that it had left behind (the model had gone on to a later one, or the agent had), the model must come by
      the same way: a failure is raised again, and a request that is not recorded is an error, since what follows it in
      the journal would belong to another run.
    - In the last recorded step, failures are asked again, and a request that is not recorded is asked: the run was
      broken off in the middle of it.

    Args:
        path: the journal.
        run: which run.

    Raises:
        JournalError: if somebody else writes the run, or an earlier version has.
    """

    def __init__(self, path: Path, run: RunId) -> None:
        if run.is_old:
            raise JournalError(
                f"The {run} was recorded by an earlier version, which counted steps in another way, so it cannot be "
                "gone on with. Replay it (mode='replay'), or record a new run."
            )
        self.run = run
        self._recording = Recording(path, run)
        try:
            self._replay = Replay(path, run)
            self._last_model_step, self._last_steps = self._replay.last_steps()
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
        last_step = self._last_steps.get(place.agent_id, -1)
        left_behind = place.agent_id != OUTSIDE and (place.model_step < self._last_model_step or place.step < last_step)
        is_new = place.step > last_step and place.model_step > self._last_model_step
        outcome = None if is_new else self._replay.find(place)
        if outcome is None and left_behind:
            raise self._replay.missed(place, request, None)
        if outcome is not None and self._stands(place, outcome, left_behind=left_behind):
            return await self._replay.again(place, request, outcome)
        return await self._recording.ask(place, request, inner)

    def _stands(self, place: Place, outcome: Outcome, *, left_behind: bool) -> bool:
        if outcome.state in {"failed", "cancelled"}:
            return left_behind or (place.agent_id == OUTSIDE and self._replay.went_on_after(outcome))
        return outcome.state == "answered"

    def close(self) -> None:
        """Close the file, and let others write the run. A second time does nothing."""
        self._replay.close()
        self._recording.close()
