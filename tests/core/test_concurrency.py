"""Loops and threads that carry the work."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import Future

import pytest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.concurrency import calling_loop, transport_loop, worker_thread

variable = contextvars.ContextVar("variable", default="unset")


async def where():
    return asyncio.get_running_loop(), threading.get_ident(), variable.get()


def test_a_thread_keeps_its_loop():
    variable.set("set")
    first, second = calling_loop.run(where()), calling_loop.run(where())
    assert first == second
    assert first[1:] == (threading.get_ident(), "set")


async def test_inside_a_running_loop_a_helper_thread_runs_it():
    variable.set("set")
    loop, thread, value = calling_loop.run(where())
    assert loop is not asyncio.get_running_loop()
    assert thread != threading.get_ident()
    assert value == "set"
    assert loop.is_closed()


async def test_helper_threads_are_kept_while_they_are_to_be():
    async def where(*, leaves: bool = False):
        if leaves:
            where.left = asyncio.ensure_future(asyncio.sleep(60))
        return threading.current_thread()

    with calling_loop.keeping_helpers():
        first = calling_loop.run(where())
        assert calling_loop.run(where()) is first
        assert calling_loop.run(where(leaves=True)) is first  # and is not used again
        assert not first.is_alive()
        another = calling_loop.run(where())
        assert another.is_alive()
    assert not another.is_alive()
    assert not calling_loop.run(where()).is_alive()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
async def test_what_ends_a_process_gets_through_a_helper_thread(end):
    async def ends():
        raise end

    with pytest.raises(end):
        calling_loop.run(ends())
    assert calling_loop.run(where())[1] != threading.get_ident()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_in_a_child_task_ends_the_others_first(end, caplog):
    ended = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("waiting")

    async def ends():
        raise end

    async def main():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waits())
            tasks.create_task(ends())

    with pytest.raises(end):
        calling_loop.run(main())
    assert ended == ["waiting"]
    loop, thread, *_ = calling_loop.run(where())
    assert (thread, asyncio.all_tasks(loop)) == (threading.get_ident(), set())
    gc.collect()
    assert caplog.records == [], "such as an exception that was never retrieved"


@pytest.mark.parametrize("busy", [True, False], ids=["running", "waiting"])
def test_an_interrupt_ends_what_runs_and_what_waits(busy):
    async def waits():
        if busy:
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on after the interrupt")
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        calling_loop.run(waits())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert calling_loop.run(where())[1] == threading.get_ident()


def test_a_signal_that_does_not_wake_the_main_thread_up_is_noticed():
    future = Future()
    give_up = threading.Timer(20, future.set_exception, [AssertionError("not noticed")])
    give_up.start()

    def interrupt():
        while not future._condition._waiters:  # the main thread does not wait yet
            pass
        # Delivered to this thread: the main thread, which has to run the handler, goes on waiting for a lock.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    worker_thread.start(interrupt)  # waits for what follows
    with pytest.raises(KeyboardInterrupt):
        calling_loop.result_of(future)
    give_up.cancel()
    assert not future.done()


@pytest.mark.parametrize("outcome", [TimeoutError("its own"), ValueError("its own")])
def test_what_a_future_fails_with_is_raised(outcome):
    future = Future()
    future.set_exception(outcome)
    with pytest.raises(type(outcome), match="its own"):
        calling_loop.result_of(future)


def test_the_kept_loop_leaves_the_threads_current_loop_alone():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        calling_loop.run(where())
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_to_thread_has_room_for_everybody():
    barrier = threading.Barrier(60)

    async def meet():
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 30) for _ in range(60)))

    calling_loop.run(meet())


def test_a_thread_that_ends_closes_its_loop():
    kept = []
    thread = threading.Thread(target=lambda: kept.append(calling_loop.run(where())[0]))
    thread.start()
    thread.join()
    assert kept[0].is_closed()


def test_what_suspends_cannot_be_run_through():
    with pytest.raises(RuntimeError, match="suspended"):
        calling_loop.run_unsuspended(asyncio.sleep(0))


def test_a_worker_hands_over_whatever_ends_it():
    assert worker_thread.start(lambda: 3).result() == 3
    with pytest.raises(SystemExit):
        worker_thread.start(lambda: (_ for _ in ()).throw(SystemExit)).result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_ends_does_not_deafen_its_parent():
    """The parent's loop must still be woken up from another thread after a child has come and gone."""

    async def woken():
        await asyncio.wait_for(asyncio.to_thread(lambda: None), 30)

    stay, ready, again = threading.Event(), threading.Event(), []

    def thread():
        calling_loop.run(woken())
        ready.set()
        stay.wait(30)
        calling_loop.run(woken())
        again.append("woken")

    kept = threading.Thread(target=thread)
    kept.start()
    ready.wait(30)
    calling_loop.run(woken())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    stay.set()
    kept.join(60)
    calling_loop.run(woken())
    assert again == ["woken"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_asks_on_a_loop_of_its_own():
    client = RuleBasedClient(lambda request: "pong")
    from mesa_llm.module_llm import ModuleLLM

    llm = ModuleLLM("x/y", client=client)
    assert llm.generate("ping").message.content == "pong"
    calling_loop.run(where())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
        child = os.fork()
    if child == 0:
        ok = llm.generate("ping").message.content == "pong" and calling_loop.run(llm.agenerate("ping")) is not None
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert llm.generate("ping").message.content == "pong"
    assert transport_loop.get().submit(where()).result()[1] != threading.get_ident()


FIRST = """
import gc, weakref
from mesa import Model
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM
def run():
    model = Model()
    LLMAgent(model, OneCallReasoning, client=ScriptedLLM("x"), step_prompt="?", tools=[]).step()
    return weakref.ref(model)
gone = run()
gc.collect()
print(gone())
"""


def test_the_first_model_of_a_process_is_not_kept_by_the_loops_that_it_makes():
    output = subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "None"


def test_the_loop_of_a_thread_that_has_ended_is_closed_although_an_error_refers_to_it():
    loops, errors = [], []

    async def fail():
        loops.append(asyncio.get_running_loop())
        raise ValueError("x")

    def run():
        try:
            calling_loop.run(fail())
        except ValueError as error:
            errors.append(error)  # its frames have the loop

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert loops[0].is_closed()
    assert errors
