"""The scripts that fakes follow: a function, answers in order, or one answer for ever."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

type Script[Q, A] = Callable[[Q], A | Exception | Awaitable[A | Exception]] | Sequence[A | Exception] | A | Exception


class ScriptReader[Q, A]:
    """Gives one answer of a script for each request.

    Args:
        script: a function of the request, plain or async; a list or tuple of answers, given in order; or one answer,
            given for ever. An exception as answer is raised.
    """

    def __init__(self, script: Script[Q, A]) -> None:
        self._script = script
        self._arrived = 0

    def take_place(self) -> int:
        """Count a request on its arrival: answers go by the order of arrival, whenever they are given."""
        self._arrived += 1
        return self._arrived

    async def answer(self, request: Q, place: int) -> A:
        """The answer to a request.

        Args:
            request: the request.
            place: its number from `take_place`.

        Raises:
            AssertionError: if there are more requests than answers.
            Exception: what the script answers or raises.
        """
        answer = self._look_up(request, place)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return cast("A", answer)

    def _look_up(self, request: Q, place: int) -> object:
        if callable(self._script):
            return self._script(request)
        if not isinstance(self._script, list | tuple):
            return self._script
        if place > len(self._script):
            raise AssertionError(
                f"The script has {len(self._script)} answers, and this is call {place}. Add answers, or give a "
                "function or a single answer, which last for ever."
            )
        return self._script[place - 1]
