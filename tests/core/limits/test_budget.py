"""A budget is not overrun: not by one call, and not by many at once."""

import asyncio
import copy
import pickle
import re
import threading

import pytest
from helpers.busy_endpoint import request
from helpers.virtual_time import now, run_in_virtual_time
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients import LLMResponse, Message, RuleBasedClient, Usage, price_of
from mesa_llm.errors import BudgetExhaustedError, ConfigurationError, ModelCallError
from mesa_llm.limits import Budget, BudgetClient, FallbackClient
from mesa_llm.testing import ScriptedLLM


def answer(tokens=0, cost=None, **more):
    return LLMResponse(message=Message("assistant", "ok"), model="m", usage=Usage(0, tokens), cost=cost, **more)


def wants(tokens, text="", **more):
    """A request that is estimated at so many tokens."""
    return request(text, max_tokens=tokens - 4 - len(text), **more)


async def ask(client, *requests):
    return await asyncio.gather(*map(client.agenerate, requests), return_exceptions=True)


def outcomes(results):
    return [type(result) if isinstance(result, Exception) else "ok" for result in results]


def test_it_lasts_to_the_last_token():
    budget = Budget(tokens=1000)
    inner = ScriptedLLM(answer(250))
    results = run_in_virtual_time(ask(BudgetClient(inner, budget), *[wants(250)] * 6))
    assert outcomes(results) == ["ok"] * 4 + [BudgetExhaustedError] * 2
    assert len(inner.requests) == 4
    assert (budget.spent_tokens, budget.reserved_tokens) == (1000, 0)


def test_the_error_says_what_was_spent():
    budget = Budget(tokens=1000)

    async def main():
        await ask(BudgetClient(ScriptedLLM(answer(800, cost=0.5)), budget), wants(1000))
        return await ask(BudgetClient(ScriptedLLM(answer()), budget), wants(201))

    (error,) = run_in_virtual_time(main())
    assert (error.spent_tokens, error.spent_cost) == (800, 0.5)
    assert str(error) == (
        "A call of about 201 tokens would overrun the budget of 1000 tokens, so it was not sent. Spent are 800 tokens "
        "and 0.5 US dollars, calls in flight included as estimated. Give a larger Budget, or bound what an answer may "
        "take by max_tokens."
    )


def test_in_the_error_calls_in_flight_count_as_estimated():
    async def main():
        budget = Budget(tokens=1000)
        client = BudgetClient(ScriptedLLM(answer(1), latency=1.0), budget)
        _, error = await ask(client, wants(300), wants(1001))
        return error

    assert run_in_virtual_time(main()).spent_tokens == 300


def test_who_may_fit_waits_for_what_the_others_take():
    async def main():
        budget = Budget(tokens=1000)
        client = BudgetClient(ScriptedLLM(answer(100), latency=1.0), budget)
        results = await ask(client, *[wants(600)] * 6)
        return outcomes(results), budget.spent_tokens, now()

    results, spent, seconds = run_in_virtual_time(main())
    assert results == ["ok"] * 5 + [BudgetExhaustedError]  # at 500 spent, 600 more do not fit
    assert (spent, seconds) == (500, 5.0)


def test_a_failed_or_cancelled_call_gives_its_reservation_back():
    async def main():
        budget = Budget(tokens=1000)
        failing = BudgetClient(ScriptedLLM(ConnectionResetError("reset")), budget)
        slow = BudgetClient(ScriptedLLM(answer(1), latency=60.0), budget)
        await ask(failing, wants(1000))
        call = asyncio.create_task(slow.agenerate(wants(700)))
        await asyncio.sleep(1.0)
        assert budget.reserved_tokens == 700
        waiting = asyncio.create_task(slow.agenerate(wants(1000)))
        await asyncio.sleep(1.0)
        call.cancel()
        await waiting
        return budget.spent_tokens, budget.reserved_tokens

    assert run_in_virtual_time(main()) == (1, 0)


def test_an_answer_that_does_not_tell_took_what_was_estimated():
    budget = Budget(tokens=1000)
    run_in_virtual_time(ask(BudgetClient(ScriptedLLM("hello"), budget), wants(400)))
    assert budget.spent_tokens == 400


@pytest.mark.parametrize("source", ["journal", "shared"])
def test_an_answer_that_no_model_gave_took_nothing(source):
    budget = Budget(tokens=1000, cost=1.0)
    run_in_virtual_time(ask(BudgetClient(ScriptedLLM(answer(source=source)), budget), wants(400)))
    assert (budget.spent_tokens, budget.spent_cost) == (0, 0.0)


def test_completions_are_learnt():
    async def main():
        budget = Budget(tokens=1000)
        client = BudgetClient(ScriptedLLM(answer(6)), budget)
        return outcomes(await ask(client, *[request("")] * 90)), budget.spent_tokens

    results, spent = run_in_virtual_time(main())
    assert (set(results), spent) == ({"ok"}, 540)


def test_money():
    async def main():
        budget = Budget(cost=0.3)
        client = BudgetClient(ScriptedLLM(answer(100, cost=0.1), latency=1.0), budget)
        results = outcomes(await ask(client, *[wants(100)] * 4))
        return results, budget.spent_cost, budget.spent_tokens, now()

    results, cost, tokens, seconds = run_in_virtual_time(main())
    assert results == ["ok"] * 3 + [BudgetExhaustedError]
    assert (cost, tokens) == (pytest.approx(0.3), 300)
    assert seconds == 2.0, "the first call goes alone, as nothing is known of prices; then two at once"


def test_the_estimate_is_the_models_mean_price_of_a_token():
    async def main():
        budget = Budget(cost=10.0)
        prices = {"a/b": 0.01, "c/d": 1.0}
        inner = ScriptedLLM(lambda asked: answer(100, cost=prices[asked.model]), latency=1.0)
        client = BudgetClient(inner, budget)
        await ask(client, wants(100), wants(100, model="c/d"))
        calls = [asyncio.create_task(ask(client, wants(200, model=model))) for model in ("a/b", "c/d")]
        await asyncio.sleep(0.5)
        reserved = budget.reserved_cost
        await asyncio.gather(*calls)
        return reserved, budget.reserved_cost

    assert run_in_virtual_time(main()) == (pytest.approx(2.02), 0.0)


def test_a_price_function_estimates_and_prices_what_has_no_price():
    asked_for = []

    def price(model, usage):
        asked_for.append((model, usage.prompt_tokens, usage.completion_tokens))
        return (usage.prompt_tokens + 4 * usage.completion_tokens) / 1000

    async def main():
        budget = Budget(cost=1.1)
        client = BudgetClient(ScriptedLLM(answer(50), latency=1.0), budget, price=price)
        results = outcomes(await ask(client, *[wants(104)] * 5))
        return results, budget.spent_cost, now()

    results, cost, seconds = run_in_virtual_time(main())
    assert results == ["ok"] * 4 + [BudgetExhaustedError]
    assert cost == pytest.approx(4 * 0.2)
    assert seconds == 3.0, "two of an estimated 0.404 at once, and not the first one alone"
    assert set(asked_for) == {("a/b", 4, 100), ("a/b", 0, 50)}


def test_an_answer_that_tells_no_tokens_is_priced_as_estimated():
    budget = Budget(cost=1.0)
    client = BudgetClient(ScriptedLLM("hello"), budget, price=lambda model, usage: usage.completion_tokens / 1000)
    run_in_virtual_time(ask(client, wants(104)))
    assert budget.spent_cost == pytest.approx(0.1)


def test_the_price_that_an_answer_tells_counts_before_the_function():
    budget = Budget(cost=1.0)
    client = BudgetClient(ScriptedLLM(answer(10, cost=0.25)), budget, price=lambda model, usage: 0.5)
    run_in_virtual_time(ask(client, wants(104)))
    assert budget.spent_cost == 0.25


def test_without_a_price_a_budget_of_money_says_so_once_it_knows():
    budget = Budget(cost=1.0)
    inner = ScriptedLLM(answer(10), latency=1.0)
    client = BudgetClient(inner, budget, price=lambda model, usage: None)
    results = run_in_virtual_time(ask(client, *[wants(100)] * 3))
    assert outcomes(results) == [ConfigurationError] * 3
    assert "a/b answers without a price" in str(results[0])
    assert "Budget(tokens=...)" in str(results[0])
    assert len(inner.requests) == 1, "the others wait for the first, and are not sent"
    assert (budget.spent_tokens, budget.reserved_tokens) == (10, 0)


def test_a_budget_of_tokens_needs_no_price():
    budget = Budget(tokens=1000)
    assert outcomes(run_in_virtual_time(ask(BudgetClient(ScriptedLLM(answer(10)), budget), wants(100)))) == ["ok"]
    assert budget.spent_cost == 0.0


def test_money_that_is_all_spent_lets_nobody_try():
    async def main():
        budget = Budget(cost=0.5)
        await ask(BudgetClient(ScriptedLLM(answer(10, cost=0.5)), budget), wants(100))
        return await ask(BudgetClient(ScriptedLLM(answer(10, cost=0.5)), budget), wants(100))

    (error,) = run_in_virtual_time(main())
    assert isinstance(error, BudgetExhaustedError)
    assert "the budget of 0.5 US dollars" in str(error)


def test_a_rule_that_answers_in_place_of_a_model_spends_no_money_and_teaches_no_price():
    async def main():
        budget = Budget(cost=1.0)
        calls = [ModelCallError("down"), *[answer(100, cost=0.5)] * 9]
        model = ScriptedLLM(calls, latency=1.0)
        client = BudgetClient(FallbackClient((model, None), (RuleBasedClient(say_hello), "rules/v1")), budget)
        first = await ask(client, wants(100))
        results = outcomes(await ask(client, *[wants(100)] * 4))
        return first[0].cost, results, budget.spent_cost, now()

    cost, results, spent, seconds = run_in_virtual_time(main())
    assert (cost, spent) == (0.0, 1.0)
    assert results == ["ok", "ok", BudgetExhaustedError, BudgetExhaustedError]
    assert seconds == 3.0, "the price is not known yet, so the next call goes alone too"


def test_a_free_model_is_learnt_as_free():
    async def main():
        client = BudgetClient(ScriptedLLM(answer(100, cost=0.0), latency=1.0), Budget(cost=1.0))
        await ask(client, *[wants(100)] * 9)
        return now()

    assert run_in_virtual_time(main()) == 2.0, "the first one alone, then all the others at once"


def test_the_list_price_keeps_a_budget_of_money():
    budget = Budget(cost=2 * 100 * 6e-7)
    model = "openai/gpt-4o-mini"
    client = BudgetClient(ScriptedLLM(answer(100)), budget, price=price_of)
    results = run_in_virtual_time(ask(client, *[wants(100, model=model, text="")] * 3))
    assert outcomes(results)[-1] is BudgetExhaustedError
    assert 0 < budget.spent_cost <= 2 * 100 * price_of(model, Usage(0, 1))


def test_both_limits_hold():
    async def main(**limits):
        client = BudgetClient(ScriptedLLM(answer(100, cost=0.1)), Budget(**limits))
        return outcomes(await ask(client, *[wants(100)] * 9)).count("ok")

    assert run_in_virtual_time(main(tokens=300, cost=100.0)) == 3
    assert run_in_virtual_time(main(tokens=10**9, cost=0.2)) == 2


calls = st.lists(
    st.tuples(st.integers(5, 400), st.floats(0, 1), st.floats(0, 3), st.sampled_from(["answer", "fail", "cancel"])),
    min_size=1,
    max_size=30,
)


@given(calls, st.integers(1, 2000))
def test_together_they_never_overrun_it_and_what_is_spent_is_what_was_taken(calls, tokens):
    budget = Budget(tokens=tokens)
    taken = []

    def reply(asked):
        used = int(asked.messages[0].content)
        if used < 0:
            return ConnectionResetError("reset")
        taken.append(used)
        return answer(used)

    async def call(client, estimate, share, delay, fate):
        used = -1 if fate == "fail" else max(1, int(share * estimate))
        text = str(used)
        task = asyncio.create_task(client.agenerate(request(text, max_tokens=max(1, estimate - 5))))
        if fate == "cancel":
            asyncio.get_running_loop().call_later(delay / 2, task.cancel)
        try:
            await task
        except (asyncio.CancelledError, BudgetExhaustedError, ConnectionResetError):
            pass
        finally:
            assert budget.spent_tokens + budget.reserved_tokens <= tokens

    async def main():
        inner = ScriptedLLM(reply, latency=1.0)
        client = BudgetClient(inner, budget)
        await asyncio.gather(*(call(client, *one) for one in calls))

    run_in_virtual_time(main())
    assert budget.spent_tokens == sum(taken) <= tokens
    assert budget.reserved_tokens == 0


def test_it_can_be_read_from_another_thread_while_calls_are_in_flight():
    budget = Budget(tokens=1000)
    arrived, read = threading.Event(), threading.Event()

    def reply(asked):
        arrived.set()
        assert read.wait(30)
        return answer(10)

    thread = threading.Thread(target=BudgetClient(ScriptedLLM(reply), budget).generate, args=(wants(100),))
    thread.start()
    assert arrived.wait(30)
    assert (budget.spent_tokens, budget.reserved_tokens) == (0, 100)
    read.set()
    thread.join()
    assert (budget.spent_tokens, budget.reserved_tokens) == (10, 0)


def test_a_copy_of_a_client_spends_from_the_same_budget_and_a_pickle_from_one_of_its_own():
    client = BudgetClient(RuleBasedClient(say_hello), Budget(tokens=1000))
    copy.deepcopy(client).generate(wants(100))
    assert client.budget.spent_tokens == 100
    pickled = pickle.loads(pickle.dumps(client))
    pickled.generate(wants(100))
    assert (client.budget.spent_tokens, pickled.budget.spent_tokens) == (100, 200)


def say_hello(asked):
    return "hello"


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({}, "Budget needs tokens, cost or both. Use no Budget for no limit."),
        ({"tokens": 0}, "tokens must be an integer >= 1, got 0. Use None for no limit."),
        ({"cost": 0}, "cost must be > 0 US dollars, got 0. Use None for no limit."),
    ],
)
def test_limits_that_cannot_work_are_refused(limits, says):
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        Budget(**limits)
