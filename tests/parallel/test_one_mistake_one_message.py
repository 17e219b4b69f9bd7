"""Agents that fail in the same way are one message: in the error, in the log, on the terminal."""

import logging
import runpy
import sys
import traceback

import pytest
from helpers.speakers import Speaker, SpeakersModel, seen_by
from mesa import Agent

from mesa_llm.clients import tool_call
from mesa_llm.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DecisionError,
    EndpointUnreachableError,
    JournalError,
    MissingAPIKeyError,
    ModelCallError,
    ModelTimeoutError,
    RateLimitedError,
    TurnError,
    UnknownModelError,
)
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.parallel_stepping.failures import names_of
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM

MODES = ["asyncio", "threading"]


@pytest.fixture(params=MODES)
def mode(request):
    enable_automatic_parallel_stepping()
    return request.param


def fails_with(errors):
    """Answers an agent with the error that it finds under its id, if there is one."""
    return ScriptedLLM(lambda request: errors.get(seen_by(request), "hello"))


def failed(errors, n=6, **settings):
    model = SpeakersModel(n, fails_with(errors), parallel=ParallelStepping(**settings))
    with pytest.raises(ParallelStepError) as caught:
        model.agents.do("step")
    return caught.value


def test_what_differs_only_in_ids_and_durations_is_one_exception(mode):
    errors = {i: ConnectionResetError(f"reset for agent {i} after {i / 7:.2f} s") for i in (1, 2, 3, 5)}
    error = failed(errors | {4: LookupError("nothing for 4"), 6: LookupError("nothing for 66")}, mode=mode)
    assert list(error.exceptions) == [errors[1], error.exceptions[1], error.exceptions[2]]
    assert [error.ids_of(each) for each in error.exceptions] == [(1, 2, 3, 5), (4,), (6,)]
    assert [each.__notes__ for each in error.exceptions] == [
        ["While 4 agents were deciding: Speaker 1-3, 5."],
        ["While Speaker 4 was deciding."],
        ["While Speaker 6 was deciding."],
    ]
    assert error.agent_ids == (1, 2, 3, 4, 5, 6)
    assert error.message == (
        "6 of 6 agents could not decide, and nobody has acted: Speaker 1-6. ConnectionResetError: reset for agent 1 "
        "after 0.14 s (4 agents; the group holds 2 other errors)"
    )
    lookups, others = error.split(LookupError)
    assert (lookups.agent_ids, others.agent_ids) == ((4, 6), (1, 2, 3, 5))
    assert others.ids_of(others.exceptions[0]) == (1, 2, 3, 5)
    assert error.ids_of(KeyError()) == ()


def test_the_same_error_in_another_line_is_another_one(mode):
    class Fails(Speaker):
        def generate_obs(self):
            if self.unique_id == 1:
                raise LookupError
            raise LookupError

    model = SpeakersModel(3, ScriptedLLM("hello"), Fails, parallel=ParallelStepping(mode=mode))
    with pytest.raises(ParallelStepError) as caught:
        model.agents.do("step")
    assert [caught.value.ids_of(error) for error in caught.value.exceptions] == [(1,), (2, 3)]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([], ""),
        ([4], "Speaker 4"),
        ([4, 5], "Speaker 4, 5"),
        ([6, 4, 5], "Speaker 4-6"),
        ([1, 2, 3, 7, 9, 10, 12, 11], "Speaker 1-3, 7, 9-12"),
        (range(1, 200, 2), ", ".join(["Speaker 1", *map(str, range(3, 40, 2))]) + ", …"),
    ],
)
def test_names_are_short(ids, names):
    model = SpeakersModel(200, None)
    agents = {agent.unique_id: agent for agent in model.agents}
    assert names_of(agents[i] for i in ids) == names


def test_names_are_by_class():
    model = SpeakersModel(3, None)
    cop = Agent(model)
    assert names_of([*model.agents_by_type[Speaker], cop]) == "Speaker 1-3, Agent 4"


def test_skipped_agents_are_one_line_a_kind(mode, caplog):
    errors = {i: ConnectionResetError(f"reset for {i}") for i in (1, 2, 3)} | {5: ModelTimeoutError("too late")}
    model = SpeakersModel(6, fails_with(errors), parallel=ParallelStepping(mode=mode, on_error="skip"))
    with caplog.at_level(logging.WARNING, "mesa_llm"):
        model.agents.do("step")
    assert [record.getMessage() for record in caplog.records] == [
        "Speaker 1-3 could not decide: ConnectionResetError: reset for 1",
        "Speaker 5 could not decide: ModelTimeoutError: too late",
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_a_programming_error_that_is_skipped_is_logged_with_its_place(mode, caplog):
    def rule(request):
        return undefined_name if seen_by(request) < 3 else "hello"  # noqa: F821

    model = SpeakersModel(6, ScriptedLLM(rule), parallel=ParallelStepping(mode=mode, on_error="skip"))
    with caplog.at_level(logging.WARNING, "mesa_llm"):
        model.agents.do("step")
    (record,) = caplog.records
    assert record.getMessage() == "Speaker 1, 2 could not decide: NameError: name 'undefined_name' is not defined"
    assert record.exc_info[2].tb_next is None or "in rule" in "".join(traceback.format_exception(record.exc_info[1]))


@pytest.mark.parametrize("parallel", ["asyncio", "threading", "off"])
def test_a_tool_that_fails_alike_for_all_is_logged_once_a_step_with_a_count(parallel, caplog):
    def walk(agent) -> str:
        """Walk."""
        raise LookupError("no way")

    enable_automatic_parallel_stepping()
    model = SpeakersModel(0, None, parallel=parallel != "off" and ParallelStepping(mode=parallel))
    for _ in range(5):
        client = ScriptedLLM(lambda request: [tool_call("walk")])
        LLMAgent(model, OneCallReasoning, client=client, step_prompt="?", tools=[walk])
    with caplog.at_level(logging.WARNING, "mesa_llm"):
        for _ in range(2):
            model.step()
    lines = [record.getMessage() for record in caplog.records]
    failed, again = "the tool 'walk' failed: LookupError: no way", "4 more times in step"
    assert [line.partition(": ")[2] for line in lines if again not in line] == [failed, failed]
    assert [line.partition(":")[0] for line in lines if again in line] == [
        f"{again} {step}" for step in ((1, 2) if parallel != "off" else (1,))
    ]
    assert all("in walk" in "".join(traceback.format_exception(r.exc_info[1])) for r in caplog.records if r.exc_info)


# What cannot pass.

HOPELESS = {
    "missing key": MissingAPIKeyError("no key"),
    "401": ModelCallError("wrong key", status=401),
    "402": ModelCallError("no money", status=402),
    "403": ModelCallError("not for you", status=403),
    "404": UnknownModelError("no such model", status=404),
    "quota": RateLimitedError("quota spent", status=429),
    "configuration": ConfigurationError("no price"),
    "turn": TurnError("not now"),
}
ALWAYS = {"budget": BudgetExhaustedError("spent"), "journal": JournalError("damaged")}
MAY_PASS = {
    "429": RateLimitedError("slower", status=429, is_transient=True),
    "500": ModelCallError("oops", status=500, is_transient=True),
    "400": ModelCallError("too long", status=400),
    "unreachable": EndpointUnreachableError("down"),
    "timeout": ModelTimeoutError("late", is_transient=True),
    "no decision": DecisionError("what?"),
    "own": LookupError("own"),
}


@pytest.mark.parametrize("activation", ["simultaneous", "eager"])
@pytest.mark.parametrize("name", [*HOPELESS, *ALWAYS, *MAY_PASS])
def test_skip_passes_over_what_may_pass_and_nothing_else(mode, activation, name):
    error = (HOPELESS | ALWAYS | MAY_PASS)[name]
    config = ParallelStepping(mode=mode, activation=activation, on_error="skip", max_failures=5)
    model = SpeakersModel(6, fails_with({2: error}), parallel=config)
    if name in MAY_PASS:
        model.agents.do("step")
        assert len(model.log) == 5
        return
    with pytest.raises(ParallelStepError) as caught:
        model.agents.do("step")
    assert caught.value.exceptions == (error,)
    assert len(model.log) == (5 if activation == "eager" else 0)


@pytest.mark.parametrize("name", [*HOPELESS, *ALWAYS])
def test_a_function_gets_what_cannot_pass_but_no_spent_budget_and_no_damaged_journal(mode, name):
    got = []
    config = ParallelStepping(mode=mode, on_error=lambda agent, error: got.append((agent.unique_id, error)))
    error = (HOPELESS | ALWAYS)[name]
    model = SpeakersModel(3, fails_with({2: error}), parallel=config)
    if name in HOPELESS:
        model.agents.do("step")
        assert got == [(2, error)]
    else:
        with pytest.raises(ParallelStepError):
            model.agents.do("step")
        assert got == []


@pytest.mark.parametrize("parallel", ["asyncio", "threading", "off"])
@pytest.mark.parametrize("name", [*HOPELESS, *ALWAYS])
def test_what_cannot_pass_is_no_result_of_a_tool(parallel, name):
    def ask(agent) -> str:
        """Ask."""
        raise error

    error = (HOPELESS | ALWAYS)[name]
    enable_automatic_parallel_stepping()
    model = SpeakersModel(0, None, parallel=parallel != "off" and ParallelStepping(mode=parallel, on_error="skip"))
    LLMAgent(model, OneCallReasoning, client=ScriptedLLM([tool_call("ask")]), step_prompt="?", tools=[ask])
    with pytest.raises(type(error)) as caught:
        model.step()
    assert caught.value is error


def test_a_step_in_which_nobody_could_decide_warns(mode):
    model = SpeakersModel(3, ScriptedLLM(ConnectionResetError("reset")), parallel=ParallelStepping(on_error="skip"))
    with pytest.warns(RuntimeWarning, match=r"SpeakersModel: not one of 3 agents could decide .*reset"):
        model.agents.do("step")


# What a terminal shows.

PROGRAM = """
import sys

from mesa import Model

from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping, step_agents_parallel_sync
from mesa_llm.reasoning import CoTReasoning

what, mode = sys.argv[1:]


def rule(request):
    if what == "rule":
        return moood
    return [tool_call("walk")] if what == "tool" and request.tools and request.tool_choice != "none" else "I stay."


def walk(agent) -> str:
    "Walk."
    return agnet.unique_id


class Citizen(LLMAgent):
    def step(self):
        plan = self.reasoning.plan(obs=self.generate_obs())
        if what == "step":
            self.mood = plan.strp()
        self.apply_plan(plan)


class Town(Model):
    def __init__(self):
        super().__init__(rng=1)
        self.parallel_stepping = mode in ("asyncio", "threading") and ParallelStepping(mode=mode)
        for _ in range(72):
            Citizen(self, CoTReasoning, client=RuleBasedClient(rule), step_prompt="?", tools=[walk])

    def step(self):
        if mode == "by hand":
            step_agents_parallel_sync(self.agents)
        else:
            self.agents.shuffle_do("step")


enable_automatic_parallel_stepping()
Town().step()
"""


@pytest.mark.parametrize("mode", ["asyncio", "threading", "by hand", "off"])
@pytest.mark.parametrize(
    ("what", "line", "error"),
    [
        ("rule", "return moood", "NameError: name 'moood' is not defined"),
        ("tool", "return agnet.unique_id", "NameError: name 'agnet' is not defined"),
        ("step", "self.mood = plan.strp()", "AttributeError: 'Plan' object has no attribute 'strp'"),
    ],
)
def test_a_typo_is_found_in_the_last_lines_of_what_is_shown(tmp_path, monkeypatch, caplog, what, mode, line, error):
    program = tmp_path / "town.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(program), what, mode])
    try:
        runpy.run_path(str(program))
        shown = caplog.text
    except Exception as raised:
        shown = "".join(traceback.format_exception(raised))
    lines = [each for each in shown.splitlines() if "runpy" not in each]
    assert len(lines) < 40
    last = "\n".join(lines[-8:])
    assert line in last
    assert error in last
    ours = [each for each in lines if each.lstrip(" |").startswith("File ") and "/src/mesa_llm/" in each]
    assert len(ours) <= 2
