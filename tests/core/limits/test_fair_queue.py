"""A fair queue: first come, first served, and nothing lost."""

import asyncio
import math

import pytest
from helpers.virtual_time import now, run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.activation.call import ModelCall
from mesa_llm.limits.fair_queue import FairQueue


class Store:
    """Holds so many of something; items are how many are wanted."""

    def __init__(self, held):
        self.held = held
        self.admitted = []
        self.queue = FairQueue(self.take, self.put)

    def take(self, wanted):
        if wanted > self.held:
            return math.inf
        self.held -= wanted
        self.admitted.append(wanted)
        return 0.0

    def put(self, amount):
        self.held += amount


def test_who_is_first_is_not_overtaken_by_who_wants_less():
    async def main():
        store, served = Store(1), []

        async def want(n):
            await store.queue.enter(n, ModelCall())
            served.append(n)

        waiting = [asyncio.create_task(want(n)) for n in (3, 1, 2)]
        await asyncio.sleep(0)
        assert served == []
        for _ in range(3):
            store.put(2)
            store.queue.move()
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        return served

    assert run_in_virtual_time(main()) == [3, 1, 2]


def test_calls_that_agents_wait_for_go_before_those_asked_ahead():
    async def main():
        store, served = Store(0), []

        async def want(n, call):
            await store.queue.enter(1, call)
            served.append(n)

        calls = [ModelCall() for _ in range(5)]
        for call, lane in zip(calls, (2, 1, 2, 0, 1), strict=True):
            call.lane = lane
        waiting = [asyncio.create_task(want(n, call)) for n, call in enumerate(calls)]
        await asyncio.sleep(0)
        calls[2].lane = 0  # its agent waits for it now
        for _ in calls:
            store.put(1)
            store.queue.move()
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        return served

    assert run_in_virtual_time(main()) == [2, 3, 1, 4, 0]


def test_admission_is_in_order_and_who_comes_meanwhile_need_not_wait_for_others_to_resume():
    async def main():
        store, resumed = Store(0), []

        async def want(wanted):
            await store.queue.enter(wanted, ModelCall())
            resumed.append(wanted)

        first = asyncio.create_task(want(1))
        await asyncio.sleep(0)
        store.put(3)
        store.queue.move()  # the first is admitted here, and resumes in the next pass of the loop
        await want(2)
        await first
        return store.admitted, resumed

    assert run_in_virtual_time(main()) == ([1, 2], [2, 1])


def test_a_place_goes_back_whatever_ends_the_wait():
    def fail(waits):
        if not waits:
            raise LookupError("a listener fails")

    async def want(store):
        call = ModelCall()
        with call.watched(fail):
            await store.queue.enter(1, call)

    async def main():
        store = Store(0)
        waiting = [asyncio.create_task(want(store)) for _ in range(3)]
        await asyncio.sleep(0)
        store.put(1)
        store.queue.move()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [LookupError] * 3
        return store.held

    assert run_in_virtual_time(main()) == 1


def test_it_tries_again_when_it_was_told_to():
    async def main():
        queue = FairQueue(lambda opens: max(0.0, opens - now()), lambda item: None)
        await asyncio.gather(
            queue.enter(3.0, ModelCall()), queue.enter(2.0, ModelCall()), queue.enter(5.0, ModelCall())
        )
        return now()

    assert run_in_virtual_time(main()) == 5.0


def test_a_failure_to_take_is_the_callers_and_the_next_one_goes_on():
    def take(item):
        if item == "bad" and now() > 0:
            raise LookupError(item)
        return max(0.0, 1.0 - now())

    async def main():
        queue = FairQueue(take, lambda item: None)
        return await asyncio.gather(
            *(queue.enter(item, ModelCall()) for item in ("good", "bad", "good")), return_exceptions=True
        )

    first, second, third = run_in_virtual_time(main())
    assert (first, str(second), third) == (None, "bad", None)


def test_a_place_that_is_given_in_the_moment_of_cancellation_goes_to_the_next():
    async def main():
        store = Store(0)
        first, second = (asyncio.create_task(store.queue.enter(1, ModelCall())) for _ in range(2))
        await asyncio.sleep(0)
        store.put(1)
        store.queue.move()
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        return store.held

    assert run_in_virtual_time(main()) == 0


def test_a_failure_in_the_moment_of_cancellation_is_nobodys():
    def take(item):
        if failing:
            raise LookupError
        return math.inf

    async def main():
        queue = FairQueue(take, lambda item: pytest.fail("it has taken nothing"))
        waiting = asyncio.create_task(queue.enter(1, ModelCall()))
        await asyncio.sleep(0)
        failing.append(True)
        queue.move()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    failing = []
    run_in_virtual_time(main())


def test_when_the_first_gives_up_the_next_is_tried():
    async def main():
        store = Store(1)
        big, small = (
            asyncio.create_task(store.queue.enter(5, ModelCall())),
            asyncio.create_task(store.queue.enter(1, ModelCall())),
        )
        await asyncio.sleep(0)
        big.cancel()
        await small

    run_in_virtual_time(main())


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3), st.floats(0, 4), st.none() | st.floats(0, 6)), max_size=30),
    st.integers(3, 5),
)
def test_whoever_comes_and_gives_up_nothing_is_lost_and_the_order_is_kept(visits, size):
    """Each comes at some time, wants so many, keeps them for so long; some are cancelled at some time."""
    came, admitted, served = [], [], set()

    class Wanted(int):
        number: int

    async def visit(store, number, arrival, amount, kept):
        await asyncio.sleep(arrival)
        came.append(number)
        wanted = Wanted(amount)
        wanted.number = number
        await store.queue.enter(wanted, ModelCall())
        served.add(number)
        assert store.held >= 0
        try:
            await asyncio.sleep(kept)
        finally:
            store.put(wanted)
            store.queue.move()

    async def main():
        store = Store(size)
        store.admitted = admitted
        tasks = []
        for number, (arrival, wanted, kept, until) in enumerate(visits):
            tasks.append(asyncio.create_task(visit(store, number, arrival, wanted, kept)))
            if until is not None:
                asyncio.get_running_loop().call_later(until, tasks[-1].cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert store.held == size
        return results

    results = run_in_virtual_time(main())
    order = [wanted.number for wanted in admitted]
    assert [number for number in came if number in order] == order
    assert served <= set(order)
    for number, (_, _, _, until) in enumerate(visits):
        assert number in served or until is not None
        assert isinstance(results[number], asyncio.CancelledError | None)
