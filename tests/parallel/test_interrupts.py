"""Ctrl-C and SIGTERM end a step at once, wherever it blocks; none is lost, and the next step works."""

import asyncio
import contextlib
import signal
import threading

import pytest
from helpers.speakers import Speaker, SpeakersModel

from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

SETTINGS = {
    "asyncio": ParallelStepping(),
    "threading": ParallelStepping(mode="threading"),
    "sequential": ParallelStepping(activation="sequential", max_waste=None),
    "off": False,
}


@pytest.fixture(params=SETTINGS)
def parallel(request):
    enable_automatic_parallel_stepping()
    return SETTINGS[request.param]


class Hangs:
    """A language model that sends a signal when the last of so many has asked, and answers nobody before `release`."""

    def __init__(self, n, signum=signal.SIGINT):
        self.n, self.signum = n, signum
        self.asked = 0
        self.in_flight = 0
        self.all_cancelled = threading.Event()
        self.released = False
        self.client = ScriptedLLM(self.answer)

    async def answer(self, request):
        if self.released:
            return "hello"
        self.asked += 1
        self.in_flight += 1
        if self.asked == self.n:
            signal.pthread_kill(threading.main_thread().ident, self.signum)
        try:
            await asyncio.Event().wait()
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.all_cancelled.set()


def stepped_in(main):
    """The ways in which a program that has an event loop steps a model without awaiting anything."""

    async def agent_of_a_loop():  # another task than that which `asyncio.run` cancels
        await asyncio.create_task(asyncio.to_thread(lambda: None))
        return await asyncio.ensure_future(main())

    return {"main task": main, "other task": agent_of_a_loop}


@pytest.mark.parametrize("where", ["main task", "other task"])
def test_ctrl_c_under_asyncio_run_ends_a_blocking_step(parallel, where):
    language_model = Hangs(3 if parallel else 1)
    model = SpeakersModel(3, language_model.client, parallel=parallel)

    async def main():
        model.step()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(stepped_in(main)[where]())
    assert model.log == []
    assert language_model.all_cancelled.wait(30)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if parallel:
        language_model.released = True
        model.step()
        assert len(model.log) == 3


@pytest.mark.parametrize("end", ["cancels", "exits"])
def test_sigterm_under_asyncio_run_ends_a_blocking_step(parallel, end, monkeypatch):
    language_model = Hangs(3 if parallel else 1, signal.SIGTERM)
    model = SpeakersModel(3, language_model.client, parallel=parallel)

    async def main():
        task = asyncio.current_task()

        def handle(signum, frame):
            if end == "exits":
                raise SystemExit(3)
            task.cancel()

        signal.signal(signal.SIGTERM, handle)
        try:
            model.step()
        finally:
            assert signal.getsignal(signal.SIGTERM) is handle

    usual = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit if end == "exits" else asyncio.CancelledError):
            asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert model.log == []
    assert language_model.all_cancelled.wait(30)


def test_a_signal_that_asks_for_nothing_now_lets_the_step_end(parallel):
    """A handler that only takes a note, as servers have it."""
    noted = []
    model = SpeakersModel(
        3, ScriptedLLM(lambda request: (signal.raise_signal(signal.SIGTERM), "hello")[1]), parallel=parallel
    )

    async def main():
        model.step()

    usual = signal.signal(signal.SIGTERM, lambda signum, frame: noted.append(signum))
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert len(model.log) == 3
    assert set(noted) == {signal.SIGTERM}


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_an_interrupt_in_the_last_moment_of_a_step_is_not_lost(mode):
    """The step has ended as it would have, and the program is interrupted all the same."""
    enable_automatic_parallel_stepping()
    config = ParallelStepping(mode=mode, on_report=lambda report: signal.raise_signal(signal.SIGINT))
    model = SpeakersModel(3, ScriptedLLM("hello"), parallel=config)
    with pytest.raises(KeyboardInterrupt):
        model.step()
    assert len(model.log) == 3
    model.parallel_stepping = ParallelStepping(mode=mode)
    model.step()
    model.step()
    assert len(model.log) == 9


def test_an_agent_that_ignores_being_cancelled_is_left_behind_by_name():
    enable_automatic_parallel_stepping()
    may_end = asyncio.Event()

    class Interrupts(Speaker):
        async def astep(self):
            signal.raise_signal(signal.SIGINT)

    class Ignores(Speaker):
        async def astep(self):
            while not may_end.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await may_end.wait()

    model = SpeakersModel(1, ScriptedLLM("hello"), Ignores)
    Interrupts(model, ScriptedLLM("hello"))
    with pytest.warns(RuntimeWarning, match="Ignores 1 .*was left behind"), pytest.raises(KeyboardInterrupt):
        model.agents.do("step")
    may_end.set()
    model.agents.do("remove")
    Speaker(model, ScriptedLLM("hello"))
    model.step()  # on the same loop, where the agent ends too
    assert len(model.log) == 1


def test_a_step_that_an_agent_begins_after_it_was_called_off_asks_nobody():
    enable_automatic_parallel_stepping(mode="threading")
    go_on, ended, asked = threading.Event(), threading.Event(), []

    class Chief(Speaker):
        def say(self, plan):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            go_on.wait(30)
            asked.clear()
            try:
                self.model.agents_by_type[Speaker].do("step")
            finally:
                ended.set()

    client = ScriptedLLM(lambda request: (asked.append(request), "hello")[1])
    model = SpeakersModel(1, client, Chief)
    Speaker(model, client)
    with pytest.warns(RuntimeWarning, match="Chief 1"), pytest.raises(KeyboardInterrupt):
        model.agents_by_type[Chief].do("step")
    go_on.set()
    assert ended.wait(30)
    assert model.log == []
