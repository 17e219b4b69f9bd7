"""Tracebacks without the frames of this library, which a user cannot change."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType

from mesa_llm.errors import MesaLLMError

_MACHINERY = (os.path.dirname(asyncio.__file__), os.path.dirname(futures.__file__), threading.__file__)


def is_ours(filename: str) -> bool:
    """Whether a source file belongs to mesa-llm, or to asyncio and the thread pools under it."""
    return filename.startswith((*sys.modules["mesa_llm"].__path__, *_MACHINERY))


def shorten(error: BaseException) -> None:
    """Remove our frames from the tracebacks of an exception, its causes and the members of a group, in place.

    The frame in which the error was raised stays. If mesa-llm did not raise the error on purpose, all our frames after
    the user's last one stay too, because a bug report needs them.
    """
    for part in causes_of(error):
        frames = list(_frames(part.__traceback__))
        behind = len(frames)
        while behind and is_ours(frames[behind - 1].tb_frame.f_code.co_filename):
            behind -= 1
        last = frames[behind:]
        if isinstance(part, MesaLLMError) or not isinstance(part, Exception):
            last = last[-1:]
        kept = [frame for frame in frames[:behind] if not is_ours(frame.tb_frame.f_code.co_filename)]
        traceback = None
        for frame in reversed(kept + last):
            traceback = TracebackType(traceback, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
        part.__traceback__ = traceback


def place_of(error: BaseException) -> tuple[tuple[str, int], ...]:
    """Where an error was raised: file and line of each of the user's frames, and of the last frame."""
    frames = [(frame.tb_frame.f_code.co_filename, frame.tb_lineno) for frame in _frames(error.__traceback__)]
    return tuple([frame for frame in frames[:-1] if not is_ours(frame[0])] + frames[-1:])


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, each once: causes before contexts before the members of groups."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        part = left.pop()
        if part is not None and id(part) not in seen:
            seen.add(id(part))
            yield part
            left += [*getattr(part, "exceptions", ()), part.__context__, part.__cause__]
