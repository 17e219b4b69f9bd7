import asyncio

import pytest
from helpers.moved_clock import MINUTE, pass_time_of_transport, until

from mesa_llm.clients import LLMRequest, Message, tool_call
from mesa_llm.errors import ConfigurationError
from mesa_llm.testing import ScriptedLLM


def request(text="hi"):
    return LLMRequest(model="m", messages=(Message("user", text),))


def texts(llm, count):
    return [llm.generate(request()).message.content for _ in range(count)]


def test_single_answer_lasts_for_ever():
    assert texts(ScriptedLLM("yes"), 3) == ["yes"] * 3
    assert ScriptedLLM(tool_call("go")).generate(request()).message.tool_calls == (tool_call("go"),)


def test_answers_in_order_then_a_clear_error():
    llm = ScriptedLLM(["one", [tool_call("go"), tool_call("stop")]])
    assert texts(llm, 1) == ["one"]
    assert llm.generate(request()).message.tool_calls == (tool_call("go"), tool_call("stop"))
    with pytest.raises(AssertionError, match="The script has 2 answers, and this is call 3"):
        llm.generate(request())


async def test_order_is_that_of_arrival_whatever_the_latency():
    llm = ScriptedLLM(["one", "two"], latency=lambda request: 0.02 if request.messages[0].content == "slow" else 0.0)
    slow = asyncio.create_task(llm.agenerate(request("slow")))
    fast = asyncio.create_task(llm.agenerate(request("fast")))
    assert [(await slow).message.content, (await fast).message.content] == ["one", "two"]


def test_function_plain_and_async():
    async def shout(request):
        return request.messages[0].content.upper()

    assert ScriptedLLM(shout).generate(request("hi")).message.content == "HI"
    assert ScriptedLLM(lambda request: request.model).generate(request()).message.content == "m"


def test_exceptions_are_raised():
    def broken(request):
        raise ValueError("raised")

    with pytest.raises(ValueError, match="raised"):
        ScriptedLLM(broken).generate(request())
    with pytest.raises(OSError, match="returned"):
        ScriptedLLM(lambda request: OSError("returned")).generate(request())
    with pytest.raises(OSError, match="single"):
        ScriptedLLM(OSError("single")).generate(request())


def test_remembers_requests():
    llm = ScriptedLLM("ok")
    llm.generate(request("a"))
    llm.generate(request("b"))
    assert llm.requests == [request("a"), request("b")]
    assert (llm.in_flight, llm.peak_in_flight) == (0, 1)


async def test_hold_until_passes_when_calls_overlap_batch_by_batch():
    llm = ScriptedLLM("ok", hold_until=10)
    for _ in range(2):
        await asyncio.gather(*(llm.agenerate(request()) for _ in range(10)))
    assert (llm.peak_in_flight, llm.in_flight, len(llm.requests)) == (10, 0, 20)


async def test_hold_until_fails_every_call_of_a_batch_that_stays_too_small():
    llm = ScriptedLLM("ok", hold_until=5, patience=MINUTE)
    calls = [asyncio.create_task(llm.agenerate(request())) for _ in range(3)]
    await until(lambda: llm.in_flight == 3)
    pass_time_of_transport(MINUTE)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [AssertionError] * 3
    assert len({id(result) for result in results}) == 3
    assert "hold_until=5: after 60 s only 3 calls were in flight at once" in str(results[0])
    assert llm.in_flight == 0
    # The next batch starts afresh.
    assert len(await asyncio.gather(*(llm.agenerate(request()) for _ in range(5)))) == 5


async def test_cancelled_call_does_not_count_as_held():
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watched(ScriptedLLM):
        async def complete(self, request):
            loop.call_soon_threadsafe(arrived.set)
            return await super().complete(request)

    llm = Watched("ok", hold_until=2)
    first = asyncio.create_task(llm.agenerate(request()))
    await arrived.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answers = await asyncio.gather(llm.agenerate(request()), llm.agenerate(request()))
    assert len(answers) == 2
    assert llm.peak_in_flight == 2


def test_bad_arguments():
    with pytest.raises(ConfigurationError, match="hold_until must be an integer >= 1, got 0"):
        ScriptedLLM("ok", hold_until=0)
    with pytest.raises(ConfigurationError, match="latency must be >= 0 seconds, got -1"):
        ScriptedLLM("ok", latency=-1)
