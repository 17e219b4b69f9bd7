"""The parts of the command that need no process of their own."""

import io
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from rich.console import Console

from mesa_llm.clients import CallCounts, MeteredClient, RuleBasedClient
from mesa_llm.parallel_stepping import ParallelStepError, StepProgress
from mesa_llm_examples import words
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.setting import Mode, stepping
from mesa_llm_examples.simulation import (
    DecisionCounts,
    Run,
    RunProgress,
    StepRecord,
    happening,
    print_summary,
    simulate,
)


def printed(show, **console):
    stream = io.StringIO()
    show(Console(file=stream, width=100, **console))
    return stream.getvalue()


def run_of(waited, seconds, answers=17):
    records = (
        StepRecord(step=0, states={"active": 0, "quiet": 9}),
        StepRecord(step=1, states={"active": 4, "quiet": 5}, calls=18, seconds=seconds),
    )
    calls = CallCounts(
        calls=18,
        peak_in_flight=9,
        prompt_tokens=3000,
        completion_tokens=40,
        measured_calls=answers,
        waited_seconds=waited,
    )
    return Run(records=records, calls=calls)


def test_a_run_is_recorded_step_by_step():
    client = MeteredClient(RuleBasedClient(policy))
    model = CivilViolence(5, 1, seed=1, client=client)
    seen = []
    with stepping(Mode.ASYNCIO):
        run = simulate(model, client, 3, on_step=seen.append, clock=count(0, 2).__next__)
    assert [record.step for record in run.records] == [0, 1, 2, 3]
    assert list(run.records) == seen
    assert [[report.step for report in record.reports] for record in seen] == [[], [1], [2], [3]]
    assert run.seconds == 6
    assert run.records[1].calls == 12
    assert sum(record.calls for record in run.records) == run.calls.calls
    assert [sum(record.states.values()) for record in run.records] == [5] * 4


@pytest.mark.parametrize(
    ("run", "how", "said"),
    [
        (
            run_of(7.0, 0.5),
            {"in_parallel": True},
            "The steps took 0.50 s, all agents of a step together.\n17 answers took 7.00 s, added up.\n",
        ),
        (
            run_of(0.1, 0.5),
            {"in_parallel": True, "simulated": "simulated, 0.05 s each"},
            "a step together.\n17 answers took 0.10 s, added up (simulated, 0.05 s each).\n",
        ),
        (run_of(7.0, 7.5), {"in_parallel": False}, "The steps took 7.50 s, one agent at a time.\n17 answers took 7.00"),
        (run_of(0.4, 0.5, answers=1), {"in_parallel": True}, "together.\n1 answer took 0.40 s.\n"),
        (
            run_of(0.0, 0.5, answers=0),
            {"in_parallel": True, "replayed": 18},
            "no LLM was called.\nThe steps took 0.50 s, all agents of a step together.\n",
        ),
    ],
    ids=["together", "simulated", "one at a time", "one answer", "replayed"],
)
def test_the_summary_says_what_was_measured_and_claims_no_saving(run, how, said):
    text = printed(lambda console: print_summary(console, run, **how))
    assert "18 calls, up to 9 at the same time; 3,000 input tokens, 40 output tokens." in text
    assert said in text
    assert "as long" not in text


def test_the_summary_says_what_decisions_were_worth():
    run = run_of(7.0, 0.5)
    counts = DecisionCounts(decisions=9, without_call=1, tool_calls=8, refused_tool_calls=2)
    decided = replace(run, records=(run.records[0], replace(run.records[1], decided=counts)))
    said = "9 decisions, 1 of them without a valid call; 2 of 8 actions refused, 0 crashed.\n"
    assert said in printed(lambda console: print_summary(console, decided, in_parallel=True))
    assert "decision" not in printed(lambda console: print_summary(console, run, in_parallel=True))


@pytest.mark.parametrize("mode", list(Mode))
def test_decisions_are_counted_in_every_mode(mode):
    client = MeteredClient(RuleBasedClient(policy))
    with stepping(mode):
        model = CivilViolence(5, 1, seed=1, client=client, parallel_stepping=mode is not Mode.OFF)
        run = simulate(model, client, 3)
    assert [record.decided.decisions for record in run.records] == [record.calls for record in run.records]
    assert run.decided.decisions == run.decided.tool_calls == run.calls.calls > 0


def progress(console):
    client = MeteredClient(RuleBasedClient(policy))
    with RunProgress(console, object(), client, steps=2) as shown:
        shown.ended(StepRecord(step=0, states={"active": 0, "quiet": 9}))
        assert shown.step == 1
        shown.ended(StepRecord(step=1, states={"active": 4, "quiet": 5}, calls=18, seconds=0.5))
        assert shown.step == 2
        shown.ended(StepRecord(step=2, states={}, calls=3, seconds=0.1))


def test_progress_is_a_row_for_each_step_that_has_ended_well_and_no_row_comes_twice():
    table = [["step", "active", "quiet", "calls", "seconds"], ["0", "0", "9"], ["1", "4", "5", "18", "0.50"]]
    assert [line.split() for line in printed(progress).splitlines()] == table
    run = Run(records=(StepRecord(step=0, states={"active": 0}),), calls=CallCounts())
    assert "active" not in printed(lambda console: print_summary(console, run, in_parallel=True))
    summary = printed(lambda console: print_summary(console, run, in_parallel=True), force_terminal=True)
    assert "active" in summary


def test_before_the_first_step_ends_the_rest_is_being_estimated():
    def show(console):
        with RunProgress(console, object(), MeteredClient(RuleBasedClient(policy)), steps=2):
            pass

    assert "estimating the rest" in printed(show, force_terminal=True)


def test_progress_is_a_bar_on_a_terminal():
    text = printed(progress, force_terminal=True)
    assert "calls in flight" in text
    assert "active 4, quiet 5" in text


def test_while_agents_decide_the_bar_moves_and_tells_of_them(monkeypatch):
    now = StepProgress(step=2, agents=8, decided=6, acted=0, failed=1, seconds=3.0)
    monkeypatch.setattr("mesa_llm.parallel_stepping.progress_of", lambda model: now)
    stream = io.StringIO()
    client = MeteredClient(RuleBasedClient(policy))
    with RunProgress(Console(file=stream, width=100, force_terminal=True), object(), client, steps=2) as shown:
        shown.ended(StepRecord(step=1, states={"active": 4}))
        shown._bar.refresh()
        (task,) = shown._bar.tasks
        assert task.completed == 1 + 6 / 8
    assert "6 of 8 decided, 0 acted, 1 failed" in stream.getvalue()


def test_tokens_and_their_price_are_told_where_they_are_known():
    counts = CallCounts(in_flight=3, prompt_tokens=12_000, completion_tokens=345, cost=0.0213)
    assert happening(None, counts) == "3 calls in flight; 12,345 tokens, $0.0213"
    assert happening(None, CallCounts(in_flight=1)) == "1 call in flight"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  line"), "one line"),
        (ValueError(), "ValueError"),
        (ExceptionGroup("agents", [ValueError("alone")]), "alone"),
        (
            ParallelStepError.of([(SimpleNamespace(unique_id=i), ValueError("same")) for i in range(3)], 4),
            "same (3 agents failed, all with this error.)",
        ),
        (
            ExceptionGroup("agents", [ExceptionGroup("inner", [ValueError("first"), ValueError("second")])]),
            "first (2 agents failed; this is the first error.)",
        ),
    ],
)
def test_an_error_in_one_line(error, line):
    assert words.in_one_line(error) == line


@pytest.mark.parametrize(
    ("value", "shown"),
    [(4, "4"), (0.12345, "0.123"), (2.0, "2.000"), (None, "-")],
    ids=["count", "measure", "2", "none"],
)
def test_states_are_shown_as_what_they_are(value, shown):
    assert words.in_words({"state": value}) == f"state {shown}"


def test_the_summary_says_what_came_of_it():
    text = printed(lambda console: print_summary(console, run_of(7.0, 0.5), in_parallel=True, result="All are well."))
    assert "\nAll are well.\n" in text
