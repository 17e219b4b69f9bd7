"""Clocks that a test moves on: what takes long takes no time, and a slow machine has minutes to spare.

Real time goes on as well, so a test gives limits of `MINUTE`, and moves the clock past them itself.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future

from mesa_llm.activation.context import current_call, current_turn
from mesa_llm.clients import AsyncClient
from mesa_llm.concurrency import transport_loop
from mesa_llm.parallel_stepping import progress, progress_of
from mesa_llm.testing.scripted_llm import Gate

MINUTE = 60.0
PATIENCE = 30.0
"""Seconds after which a test that would wait for ever fails."""


class _Moved:
    """A clock that can be moved on."""

    def __init__(self, clock):
        self._clock = clock
        self.ahead = 0.0

    def __call__(self):
        return self._clock() + self.ahead


def _move(owner, name, seconds):
    clock = getattr(owner, name)
    if not isinstance(clock, _Moved):
        clock = _Moved(clock)
        setattr(owner, name, clock)
    clock.ahead += seconds


def turn_here():
    """The turn of the caller, an agent or its client."""
    return current_turn() or current_call().turn


def pass_time(seconds, *, board=None):
    """Move the clocks on by which a parallel step measures; by default that of the caller, an agent or its client."""
    board = board or turn_here().board
    moved = Future()

    def move():
        _move(board.loop, "time", seconds)
        _move(board, "clock", seconds)
        board.loop.call_soon(lambda: None)  # so that the loop looks at its timers
        moved.set_result(None)

    board.call(move)  # after the pauses of timers that were sent before
    moved.result(PATIENCE)


async def until(happened):
    """Wait for what happens on another thread."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "It does not happen."
        await asyncio.sleep(0)


async def until_decided(n):
    """Wait until `n` agents of the caller's step have decided."""
    model = turn_here().agent.model
    await until(lambda: progress_of(model).decided >= n)


async def until_others_wait():
    """Wait until the caller's agent is the only one whose time to decide runs: the others have decided, or are queued."""
    mine = turn_here()
    await until_queued(turn for turn in turns_beside(mine) if turn is not mine)


def turns_beside(turn):
    """The turns of an agent's parallel step."""
    return progress._running[id(turn.agent.model)][-1].__self__.turns


async def until_queued(turns):
    """Wait until the time to decide runs for none of these agents."""
    turns = tuple(turns)
    await until(lambda: all(turn._timer is None or turn._timer._n_pauses for turn in turns))


async def outlast_the_others(seconds):
    """What a script does for the one agent that is not answered in time: the time passes when all others have decided."""
    await until_decided(progress_of(turn_here().agent.model).agents - 1)
    pass_time(seconds)
    await asyncio.Event().wait()


def pass_time_of_transport(seconds):
    """Move the clock of the transport loop on, by which clients measure their timeouts and limits their rates."""
    loop = transport_loop.get().loop
    if transport_loop.is_running_here():
        _move(loop, "time", seconds)
        return
    moved = Future()
    loop.call_soon_threadsafe(lambda: moved.set_result(_move(loop, "time", seconds)))
    moved.result(PATIENCE)


def timing_out(answer):
    """A script for a server: the answer comes a minute after the request."""

    def script(body):
        pass_time_of_transport(MINUTE)
        return answer

    return script


class Together(AsyncClient):
    """Passes requests on when so many are there."""

    def __init__(self, inner, n):
        self.inner = inner
        self._gate = Gate(n, PATIENCE)

    async def complete(self, request):
        await self._gate.wait()
        return await self.inner.agenerate(request)
