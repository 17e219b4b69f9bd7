"""The numbers of a run, as they stand on the page."""

import pytest

from mesa_llm.clients import CallCounts
from mesa_llm.parallel_stepping import AgentReport, CallSpan, StepReport
from mesa_llm_examples.apps.views import call_counters, last_step


def agent(number, *, source="model", **more):
    """Its calls took longer than its answers: they waited in a limit."""
    calls = tuple(CallSpan("decide", 0.0, 9.0, source=source, latency_s=seconds) for seconds in (1.5, 0.5))
    return AgentReport(agent_id=number, agent_class="Cop", outcome="acted", model_calls=calls, **more)


def report(*agents, step=3, wall_s=2.25):
    return StepReport(
        step=step, started=0.0, mode="asyncio", activation="simultaneous", wall_s=wall_s, decide_s=2.0, act_s=0.1,
        settle_s=0.0, agents=agents,
    )  # fmt: skip


def test_calls_with_those_in_flight():
    counts = CallCounts(
        calls=1234,
        failures=2,
        in_flight=7,
        peak_in_flight=50,
        prompt_tokens=98765,
        completion_tokens=4321,
        cost=0.01239,
    )
    always = [("calls in flight", "7"), ("calls", "1,234"), ("conflicts", "3")]
    assert list(call_counters(counts, conflicts=3, llm=False).items()) == always
    assert list(call_counters(counts, conflicts=3, llm=True).items()) == [
        *always,
        ("at the same time (peak)", "50"),
        ("failed calls", "2"),
        ("input tokens", "98,765"),
        ("output tokens", "4,321"),
        ("cost", "$0.0124"),
    ]


NOT_ANSWERED = (CallSpan("decide", 0.0, 4.0, error="no key"),)
FAILED = AgentReport(agent_id=1, agent_class="Cop", outcome="failed", error="no key", model_calls=NOT_ANSWERED)
CALLED_OFF = AgentReport(agent_id=2, agent_class="Cop", outcome="called off")
REPLAYED = AgentReport(
    agent_id=3, agent_class="Cop", outcome="acted", model_calls=(CallSpan("decide", 0.0, 0.1, source="journal"),)
)


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([], ""),
        ([report(agent(1), agent(2))], "Step 3: 2 agents in 2.25 s; 4 answers took 4.00 s, added up."),
        ([report(agent(1, source="rule"))], "Step 3: 1 agent in 2.25 s; 2 answers took 2.00 s, added up (simulated)."),
        ([report(REPLAYED)], "Step 3: 1 agent in 2.25 s."),
        (
            [report(FAILED), report(agent(2, conflicts=("a", "b")))],
            "Step 3: 2 agents in 4.50 s; 2 answers took 2.00 s, added up. 1 agent failed. 2 conflicts.",
        ),
        ([report(FAILED, FAILED)], "Step 3: 2 of 2 agents failed. Nothing has changed. no key"),
        ([report(FAILED, CALLED_OFF)], "Step 3: 1 of 2 agents failed. Nothing has changed. no key"),
        ([report(FAILED)], "Step 3: 1 of 1 agent failed. Nothing has changed. no key"),
    ],
)
def test_the_last_step(reports, words):
    assert last_step(reports) == words
