"""The numbers of a run, as they stand on the page."""

from mesa_llm.clients import CallCounts
from mesa_llm.parallel_stepping import AgentReport, CallSpan, StepReport
from mesa_llm_examples.apps.counters import call_counters, last_step


def agent(number, **more):
    calls = (CallSpan("decide", 0.0, 1.5), CallSpan("decide", 1.5, 2.0))
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
    assert [tuple(counter) for counter in call_counters(counts)] == [
        ("calls in flight", "7"),
        ("most at once", "50"),
        ("calls", "1,234"),
        ("failed calls", "2"),
        ("tokens read", "98,765"),
        ("tokens written", "4,321"),
        ("cost", "$0.0124"),
    ]


def test_the_last_step():
    assert last_step([report(agent(1), agent(2))]) == "Step 3: 2 agents in 2.25 s; calls one at a time: 4.00 s."


def test_the_last_step_in_several_sets_with_what_went_wrong():
    failed = AgentReport(agent_id=1, agent_class="Cop", outcome="failed", error="no")
    reports = [report(failed), report(agent(2, conflicts=("a", "b")))]
    assert last_step(reports) == "Step 3: 2 agents in 4.50 s; calls one at a time: 2.00 s. 1 agent failed. 2 conflicts."


def test_a_step_that_did_not_run_in_parallel_has_no_line():
    assert last_step([]) == ""
