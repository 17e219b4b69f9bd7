"""Work and results that go from thread to loop and back: in order, together, and never lost."""

import asyncio
import contextvars
import gc
import threading
from concurrent.futures import CancelledError, Future

import pytest

from mesa_llm.concurrency import loop_thread
from mesa_llm.concurrency.loop_thread import LoopThread

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def helper():
    thread = LoopThread("helper")
    yield thread
    thread.close()


class Wakings:
    """Counts how often a loop is woken up from outside."""

    def __init__(self, loop, monkeypatch):
        self.count = 0
        wake = loop.call_soon_threadsafe

        def counted(*args, **kwargs):
            self.count += 1
            return wake(*args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)


def block(helper):
    """Stop a loop until the event that this returns is set."""
    blocked, go_on = threading.Event(), threading.Event()

    def stand_still():
        blocked.set()
        go_on.wait(30)

    helper.loop.call_soon_threadsafe(stand_still)
    assert blocked.wait(30)
    return go_on


def nothing():
    pass


def send(helper, coroutine, *, ended=nothing, context=None):
    """Run a coroutine on the helper, to be awaited here."""
    return helper.send(coroutine, context=context or contextvars.copy_context(), ended=ended)


async def value(x):
    return x


def test_calls_that_set_out_together_wake_the_loop_once_and_start_in_order(helper, monkeypatch):
    started = []

    async def start(n):
        started.append(n)
        return n

    go_on = block(helper)
    wakings = Wakings(helper.loop, monkeypatch)
    calls = [helper.submit(start(n)) for n in range(20)]
    go_on.set()
    assert [call.result(30) for call in calls] == started == list(range(20))
    assert wakings.count == 1
    assert helper.submit(value("later")).result(30) == "later"
    assert wakings.count == 2


async def test_answers_that_come_together_wake_the_loop_once_and_arrive_in_order(helper, monkeypatch):
    arrived = []

    async def listen(call):
        arrived.append(await call)

    go_on = block(helper)
    listening = [asyncio.create_task(listen(send(helper, value(n)))) for n in range(20)]
    await asyncio.sleep(0)  # all of them listen
    wakings = Wakings(asyncio.get_running_loop(), monkeypatch)
    go_on.set()
    helper.submit(asyncio.sleep(0)).result(30)  # stands still here, while they all come back
    await asyncio.gather(*listening)
    assert arrived == list(range(20))
    assert wakings.count == 1


async def test_an_answer_that_is_there_already(helper):
    call = send(helper, value(3))
    helper.submit(asyncio.sleep(0)).result(30)
    assert await call == 3


async def test_errors_arrive(helper):
    async def fail():
        raise KeyError("mood")

    with pytest.raises(KeyError, match="mood"):
        await send(helper, fail())
    with pytest.raises(KeyError, match="mood"):
        helper.submit(fail()).result(30)


async def test_a_coroutine_that_is_cancelled_where_it_runs(helper):
    async def give_up():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await send(helper, give_up())
    with pytest.raises(CancelledError):
        helper.submit(give_up()).result(30)


def test_it_runs_with_the_context_variables_of_who_made_it(helper):
    async def look():
        return variable.get()

    variable.set("mine")
    assert helper.submit(look()).result(30) == "mine"
    assert contextvars.Context().run(lambda: helper.submit(look())).result(30) == "unset"
    assert helper.submit(look(), context=contextvars.Context()).result(30) == "unset"


async def test_it_runs_in_the_context_that_it_is_given(helper):
    async def look():
        return variable.get()

    context = contextvars.copy_context()
    context.run(variable.set, "lent")
    variable.set("mine")
    assert await send(helper, look(), context=context) == "lent"


def test_cancelled_before_it_could_begin(helper):
    begun = []

    async def begin():
        begun.append(True)

    go_on = block(helper)
    call = helper.submit(begin())
    assert call.cancel()
    go_on.set()
    helper.submit(value(0)).result(30)
    assert begun == []


def test_cancelled_before_it_could_begin_it_may_begin_and_be_cancelled_where_it_waits(helper):
    met, over = [], threading.Event()

    async def ask():
        met.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            met.append("cancelled")
            raise
        finally:
            over.set()

    go_on = block(helper)
    call = helper.submit(ask(), begins_anyway=True)
    assert call.cancel()
    go_on.set()
    assert over.wait(30)
    assert met == ["begun", "cancelled"]


def test_cancelling_twice_does_not_interrupt_how_it_ends(helper):
    running, ended = threading.Event(), Future()

    async def ends_slowly():
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.set_result("in peace")

    call = helper.submit(ends_slowly())
    assert running.wait(30)
    go_on = block(helper)
    assert call.cancel()
    assert call.cancel()
    go_on.set()
    assert ended.result(30) == "in peace"


def test_a_call_that_has_ended_cannot_be_cancelled(helper):
    call = helper.submit(value(1))
    call.result(30)
    assert not call.cancel()
    assert call.result() == 1


async def test_cancelling_a_call_lets_who_waits_go_on_at_once_and_cancels_the_coroutine_once(helper):
    running, cancelled, ended = threading.Event(), [], threading.Event()

    async def wait():
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("once")
            await asyncio.sleep(0)
            raise

    call = send(helper, wait(), ended=ended.set)
    await asyncio.to_thread(running.wait, 30)
    go_on = block(helper)
    call.cancel()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call  # although the helper stands still
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 30)
    assert cancelled == ["once"]


async def test_a_call_that_is_cancelled_before_it_could_begin_begins_and_is_cancelled_where_it_waits(helper):
    met, over = [], threading.Event()

    async def ask():
        met.append("begun")
        await asyncio.Event().wait()

    go_on = block(helper)
    call = send(helper, ask(), ended=over.set)
    call.cancel()
    go_on.set()
    assert await asyncio.to_thread(over.wait, 30)
    assert met == ["begun"]


async def test_a_call_that_has_ended_can_be_cancelled_without_effect(helper):
    call = send(helper, value(1))
    assert await call == 1
    call.cancel()
    await asyncio.sleep(0)
    assert await call == 1


async def test_who_sent_a_call_is_told_of_its_end_where_it_runs(helper):
    told = []
    await send(helper, value(1), ended=lambda: told.append(threading.current_thread().name))
    assert told == ["helper"]


def test_an_interrupt_while_handing_over_loses_nothing_that_comes_later(helper, monkeypatch):
    """Ctrl-C can come in the middle: that call never runs, and the next one still wakes the loop up."""
    begun = []

    async def begin(name):
        begun.append(name)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(helper.loop, "call_soon_threadsafe", interrupt)
        with pytest.raises(KeyboardInterrupt):
            helper.submit(begin("interrupted"), begins_anyway=True)
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(_sent(helper, begin("interrupted too")))
    helper.submit(begin("next")).result(30)
    assert begun == ["next"]


async def _sent(helper, coroutine):
    return await send(helper, coroutine)


def test_a_wake_up_queue_keeps_nothing_of_the_context_of_who_puts_something_in(helper):
    """An agent's context leads to its model, and a loop may keep the one in which it was woken up for a while."""
    seen = []
    variable.set("mine")
    loop_thread.WakeUpQueue(helper.loop).put(lambda: seen.append(variable.get()))
    helper.submit(asyncio.sleep(0)).result(30)
    assert seen == ["unset"]


async def test_the_end_of_a_call_comes_in_the_context_that_it_is_given(helper):
    seen = []
    context = contextvars.copy_context()
    context.run(variable.set, "lent")
    variable.set("mine")
    await send(helper, value(1), context=context, ended=lambda: seen.append(variable.get()))
    assert seen == ["lent"]


def test_an_interrupt_in_what_is_called_does_not_lose_what_is_to_be_called_after_it(helper):
    called = []
    queue = loop_thread.WakeUpQueue(helper.loop)

    def interrupt():
        raise KeyboardInterrupt

    go_on = block(helper)
    queue.put(interrupt)
    queue.put(lambda: called.append("next"))
    go_on.set()
    helper.submit(asyncio.sleep(0)).result(30)
    assert called == ["next"]


def test_an_interrupt_while_waking_a_loop_up_does_not_strand_what_others_have_put_meanwhile(helper, monkeypatch):
    called = threading.Event()
    queue = loop_thread.WakeUpQueue(helper.loop)
    wake = helper.loop.call_soon_threadsafe

    def interrupt(*args, **kwargs):
        monkeypatch.setattr(helper.loop, "call_soon_threadsafe", wake)
        queue.put(called.set)  # another thread's, which relies on this wake-up
        raise KeyboardInterrupt

    monkeypatch.setattr(helper.loop, "call_soon_threadsafe", interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.put(nothing)
    assert called.wait(30)


def test_who_waited_on_a_loop_that_is_closed_is_left_alone(helper, caplog):
    go_on = block(helper)
    ended = threading.Event()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_only_sent(helper, ended))
    loop.close()
    go_on.set()
    assert ended.wait(30)
    helper.submit(value(0)).result(30)
    assert caplog.records == []


async def _only_sent(helper, ended):
    send(helper, value(1), ended=ended.set)


def test_a_loop_that_is_ended_while_it_stops_stays_stopped(monkeypatch):
    helper = LoopThread("ended while it stops")
    stop = helper.loop.stop

    def stop_and_end():
        stop()
        raise SystemExit

    monkeypatch.setattr(helper.loop, "stop", stop_and_end)
    assert helper.close(30)


def test_wake_up_queues_do_not_keep_loops_alive(helper):
    before = len(loop_thread._wake_up_queues)
    assert [asyncio.run(_sent(helper, value(1))) for _ in range(5)] == [1] * 5

    gc.collect()
    assert len(loop_thread._wake_up_queues) <= before
