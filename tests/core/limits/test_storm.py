"""More calls at once than an endpoint takes: all are answered, each once, and few are refused."""

import asyncio
import random

import pytest
from helpers.busy_endpoint import BusyEndpoint, request
from helpers.virtual_time import now, run_in_virtual_time

from mesa_llm.limits import AdaptiveConcurrency, LimitedClient, RetryingClient

N = 200


def storm(endpoint, client):
    """Ask everything at once; how long it takes."""

    async def main():
        answers = await asyncio.gather(*(client.agenerate(request(str(number))) for number in range(N)))
        assert [answer.message.content for answer in answers] == [str(number) for number in range(N)]
        assert sum(answer.retries for answer in answers) == endpoint.refused.total()
        return now()

    seconds = run_in_virtual_time(main())
    assert set(endpoint.answered.values()) == {1}
    assert len(endpoint.answered) == N
    return seconds


def retrying(client, **settings):
    return RetryingClient(client, clock=now, jitter=lambda ceiling: seeded.uniform(0, ceiling), **settings)


seeded = random.Random(1)


@pytest.mark.parametrize("retry_after", [None, 2.0])
@pytest.mark.parametrize("capacity", [1, 3, 10, 50])
def test_an_adaptive_limit_keeps_refusals_far_below_those_of_retries_alone(capacity, retry_after):
    alone = BusyEndpoint(capacity, retry_after=retry_after)
    storm(alone, retrying(alone.client, max_attempts=10**6, max_elapsed=float("inf")))

    limited = BusyEndpoint(capacity, retry_after=retry_after)
    seconds = storm(limited, retrying(LimitedClient(limited.client, max_concurrency="adaptive")))

    assert limited.refused.total() < N / 4
    assert limited.refused.total() < alone.refused.total() / 8
    assert seconds < 1.5 * N / capacity + 10, "and the endpoint is kept busy"


def test_a_start_that_is_too_high_costs_one_refusal_a_call():
    endpoint = BusyEndpoint(10)
    limited = LimitedClient(endpoint.client, max_concurrency=AdaptiveConcurrency(start=1000))
    storm(endpoint, retrying(limited))
    assert endpoint.refused.total() < N + 10
