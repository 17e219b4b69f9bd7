"""Loops and threads that carry the work."""

import asyncio
import contextvars
import gc
import os
import threading
import warnings

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


def test_an_interrupt_before_it_begins_leaves_no_coroutine_behind(monkeypatch):
    def interrupted(self, coroutine, *, context):
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio.Runner, "run", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            calling_loop.run(where())
        gc.collect()


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
    assert transport_loop.submit(where()).result()[1] != threading.get_ident()
