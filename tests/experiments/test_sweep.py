"""Studies: all combinations, results that depend on nothing but the runs, one set of limits, nothing asked twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments.towns import Town, study
from mesa import DataCollector, Model

from mesa_llm.clients import AsyncClient, LLMResponse, Message, RuleBasedClient, Usage
from mesa_llm.errors import BudgetExhaustedError, ConfigurationError
from mesa_llm.experiments import Limits, Run, Sweep, SweepProgress, SweepResult
from mesa_llm.journal import Journal
from mesa_llm.limits import Budget
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import disable_automatic_parallel_stepping, enable_automatic_parallel_stepping
from mesa_llm.parallel_stepping.patch import is_enabled
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import state_hash
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM

GRID = {"people": [2, 3], "mood": ["calm", "angry"]}
SAME = ["run", "people", "mood", "rng", "step", "said", "draw"]


class Answers(AsyncClient):
    """Answers by who asks; keeps the requests; fails when `fails` says so."""

    def __init__(self, fails=lambda n, request: None):
        self.requests, self.origins = [], []
        self._fails = fails

    async def complete(self, request):
        """Answer."""
        self.requests.append(request)
        self.origins.append(request.call.origin)
        error = self._fails(len(self.requests), request)
        if error is not None:
            raise error
        text = f"{request.call.origin.agent_id} goes for the {request.call.origin.step}th time."
        return LLMResponse(message=Message("assistant", text), model=request.model, usage=Usage(90, 10), cost=0.01)


def sweep(folder, client=None, **changes):
    settings = {"rng": range(2), "steps": 2, "client": client or Answers()} | changes
    return Sweep(Town, settings.pop("parameters", GRID), folder=folder, **settings)


def run_by_hand(run, steps=2):
    town = Town(**run.parameters, rng=run.rng, client=Answers())
    enable_automatic_parallel_stepping()
    for _ in range(steps):
        town.step()
    disable_automatic_parallel_stepping()
    return town


def test_a_study_has_every_combination_and_the_results_of_runs_made_by_hand(tmp_path):
    made = sweep(tmp_path).run(progress=False)
    frame = made.frame()
    assert len(made.done) == 8
    assert list(frame.groupby(["people", "mood", "rng"]).size()) == [2] * 8
    of_runs = made.frame("runs").set_index("run")
    for run in made.done:
        town = run_by_hand(run)
        rows = frame[frame.run == run.key]
        expected = town.datacollector.get_model_vars_dataframe()
        assert list(rows.step) == [1, 2]
        assert list(rows.said) == list(expected.said)
        assert list(rows.draw) == list(expected.draw)
        assert of_runs.loc[run.key, "calls"] == 2 * run.parameters["people"]
        assert of_runs.loc[run.key, "tokens"] == 200 * run.parameters["people"]
        assert of_runs.loc[run.key, "cost"] == pytest.approx(0.02 * run.parameters["people"])
    agents = made.frame("agents")
    assert len(agents) == 2 * 2 * (2 + 3) * 2
    assert list(agents.columns[-3:]) == ["step", "agent", "entries"]
    assert not is_enabled()


def test_results_do_not_depend_on_how_many_runs_are_made_at_once(tmp_path):
    one, many = (sweep(tmp_path / str(n), runs_at_once=n).run(progress=False) for n in (1, 8))
    pd.testing.assert_frame_equal(one.frame()[SAME], many.frame()[SAME])
    assert list(one.frame("runs").state_hash) == list(many.frame("runs").state_hash)
    assert len(set(one.frame("runs").state_hash)) == 8


def test_the_record_of_each_run_is_in_the_folder(tmp_path):
    study = sweep(tmp_path, parameters={"people": 2}, rng=[7])
    study.run(progress=False)
    (path,) = (tmp_path / "journals").iterdir()
    recorded = Journal(path).run()
    assert (recorded.status, recorded.calls, recorded.metadata) == ("completed", 4, {"people": 2, "rng": 7})
    assert state_hash(run_by_hand(study.runs[0])) == study.result.frame("runs").state_hash[0]


def test_finished_runs_are_not_run_again_and_a_study_can_grow(tmp_path):
    sweep(tmp_path, rng=[0]).run(progress=False)
    client = Answers()
    larger = sweep(tmp_path, client, rng=[0, 1])
    assert len(larger.left()) == 4
    assert len(larger.run(progress=False).done) == 8
    assert len(client.requests) == 2 * (2 + 3) * 2
    assert larger.left() == []
    larger.run(progress=False)
    assert len(client.requests) == 20


def test_points_may_be_the_rows_of_a_data_frame(tmp_path):
    points = pd.DataFrame({"people": [2, 3], "mood": ["calm", "angry"]})
    runs = sweep(tmp_path, parameters=points).runs
    assert [(run.parameters["people"], run.parameters["mood"], run.rng) for run in runs] == [
        (2, "calm", 0),
        (2, "calm", 1),
        (3, "angry", 0),
        (3, "angry", 1),
    ]


def test_arms_reach_the_model(tmp_path):
    client = Answers()
    arms = {"llm_models": ["openai/a", "ollama/b"], "activations": ["simultaneous", "sequential", "eager"]}
    made = sweep(tmp_path, client, parameters={}, rng=[1], **arms).run(progress=False)
    assert len(made.done) == 6
    assert {request.model for request in client.requests} == {"openai/a", "ollama/b"}
    identities = [Journal(path).run().identity for path in (tmp_path / "journals").glob("*.db")]
    assert sorted(identity["activation"]["activation"] for identity in identities) == sorted(arms["activations"] * 2)


def test_a_function_may_make_the_models(tmp_path):
    class Plain(Model):
        """Takes no client."""

    def make(run, client):
        plain = Plain(rng=run.rng)
        LLMAgent(plain, OneCallReasoning, client=client, step_prompt=run.parameters["what"])
        return plain

    client = Answers()
    made = Sweep(Plain, {"what": ["Run?", "Rest?"]}, steps=2, folder=tmp_path, client=client, make=make)
    assert len(made.run(progress=False).done) == 2
    assert client.requests == []  # its step does nothing
    assert made.result.frame().empty


@pytest.mark.parametrize("how", ["the budget", "Ctrl-C"])
def test_a_study_that_broke_off_goes_on_inside_a_step(tmp_path, how):
    def spent(n, request):
        return (
            BudgetExhaustedError("Spent.", spent_tokens=0, spent_cost=0.0) if how == "the budget" and n > 17 else None
        )

    def interrupt(progress):
        if how == "Ctrl-C" and progress.done >= 2:
            raise KeyboardInterrupt

    first, second = Answers(spent), Answers()
    with pytest.raises(BudgetExhaustedError if how == "the budget" else KeyboardInterrupt):
        sweep(tmp_path, first, runs_at_once=2).run(progress=interrupt)
    again = sweep(tmp_path, second)
    assert 0 < len(again.left()) < 8
    answered = sum(
        call.state == "answered" for path in (tmp_path / "journals").glob("*.db") for call in Journal(path).calls()
    )
    resumed = again.run(progress=False)
    assert answered + len(second.requests) == 40  # nothing recorded is asked again
    unbroken = sweep(tmp_path / "unbroken").run(progress=False)
    pd.testing.assert_frame_equal(resumed.frame()[SAME], unbroken.frame()[SAME])
    assert list(resumed.frame("runs").state_hash) == list(unbroken.frame("runs").state_hash)
    assert list(resumed.frame("runs").calls) == list(unbroken.frame("runs").calls)


def test_a_study_that_was_killed_goes_on(tmp_path):
    reached, bodies = threading.Event(), []

    def said(body):
        bodies.append(body)
        if len(bodies) == 20:
            reached.set()
        return f"After {len(body['messages'][-1]['content'])} characters I go home."

    with FakeOpenAIServer(said) as server:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-m", "experiments.towns", str(tmp_path / "killed"), server.url]
        process = subprocess.Popen(command, env=environment)
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        paths = list((tmp_path / "killed" / "journals").iterdir())
        answered = sum(
            call.state == "answered" for path in paths if path.suffix == ".db" for call in Journal(path).calls()
        )
        before = len(server.requests)
        resumed = study(tmp_path / "killed", server.url).run(progress=False)
        assert len(server.requests) - before == 48 - answered
        assert server.peak_concurrency <= 3
        unbroken = study(tmp_path / "unbroken", server.url).run(progress=False)
    pd.testing.assert_frame_equal(resumed.frame()[SAME], unbroken.frame()[SAME])
    assert list(resumed.frame("runs").state_hash) == list(unbroken.frame("runs").state_hash)


def test_a_budget_holds_for_all_sessions(tmp_path):
    with pytest.raises(BudgetExhaustedError):
        sweep(tmp_path, Answers(), limits=Limits(budget=Budget(tokens=1500))).run(progress=False)
    second = Answers()
    with pytest.raises(BudgetExhaustedError):
        sweep(tmp_path, second, limits=Limits(budget=Budget(tokens=1500))).run(progress=False)
    assert len(second.requests) <= 1
    more = sweep(tmp_path, Answers(), limits=Limits(budget=Budget(tokens=50_000)))
    assert len(more.run(progress=False).done) == 8
    assert more.limits.budget.spent_tokens == 40 * 100


def test_a_model_that_catches_errors_does_not_go_on_without_answers(tmp_path):
    class Patient(LLMAgent):
        def step(self):
            try:
                super().step()
            except Exception:
                self.model.excuses += 1

    class Careless(Model):
        def __init__(self, client=None, rng=None):
            super().__init__(rng=rng)
            self.parallel_stepping = False
            self.excuses = 0
            Patient(self, OneCallReasoning, "openai/fake", client=client, step_prompt="Where do you go?")
            self.datacollector = DataCollector({"excuses": "excuses"})

        def step(self):
            self.agents.shuffle_do("step")
            self.datacollector.collect(self)

    def careless(client, **changes):
        return Sweep(Careless, rng=range(4), steps=3, folder=tmp_path, client=client, runs_at_once=2, **changes)

    async def hang(request):
        await asyncio.Event().wait()

    with pytest.raises(BudgetExhaustedError):
        careless(Answers(), limits=Limits(budget=Budget(tokens=700))).run(progress=False)

    stuck = Answers()
    stuck.complete = hang

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        careless(stuck).run(progress=interrupt)
    made = careless(Answers()).run(progress=False)
    assert list(made.frame().excuses) == [0] * 12


def test_the_budget_counts_what_failed_runs_and_priced_models_have_taken(tmp_path):
    class Priced(Answers):
        async def complete(self, request):
            return replace(await super().complete(request), cost=None)

    def priced(fails, on_error="continue"):
        limits = Limits(budget=Budget(cost=1))
        return sweep(
            tmp_path,
            Priced(fails),
            parameters={"people": 2},
            llm_models=["openai/gpt-4o-mini"],
            limits=limits,
            on_error=on_error,
        )

    def fails_in(step, error):
        return lambda n, request: error if request.call.origin.step == step else None

    first = priced(fails_in(2, RuntimeError("a bug")))
    assert len(first.run(progress=False).failed) == 2
    second = priced(lambda n, request: RuntimeError("a bug") if n == 4 else None, on_error="raise")
    with pytest.raises(Exception, match="a bug"):
        second.run(progress=False)
    taken = first.limits.budget.spent_cost * second.limits.budget.spent_tokens / first.limits.budget.spent_tokens
    third = priced(lambda n, request: None)
    third._count_what_is_spent()
    assert third.limits.budget.spent_tokens == second.limits.budget.spent_tokens > 400
    assert third.limits.budget.spent_cost == pytest.approx(taken)


def test_a_study_without_seeds_goes_on_where_it_broke_off(tmp_path):
    def spent(n, request):
        return BudgetExhaustedError("Spent.", spent_tokens=0, spent_cost=0.0) if n > 8 else None

    with pytest.raises(BudgetExhaustedError):
        sweep(tmp_path, Answers(spent), rng=[None]).run(progress=False)
    assert len(sweep(tmp_path, rng=[None]).run(progress=False).done) == 4


class Odd(Model):
    """Collects what is no number, has a column named after a parameter, and no agents."""

    def __init__(self, cost=1, client=None, rng=None):
        super().__init__(rng=rng)
        self.cost = cost
        self.datacollector = DataCollector(
            {"share": lambda odd: float("nan"), "most": lambda odd: np.float32("inf"), "cost": lambda odd: "\ud83d"},
            {"name": "unique_id"},
        )

    def step(self):
        """Step."""
        self.datacollector.collect(self)


def test_what_is_collected_may_be_odd(tmp_path):
    made = Sweep(Odd, {"cost": [1, 2]}, rng=np.arange(2), steps=1, folder=tmp_path, client=Answers())
    frame = made.run(progress=False).frame()
    assert (frame.share.dtype, frame.most.dtype) == (float, float)
    assert frame.share.isna().all()
    assert np.isinf(frame.most).all()
    assert list(frame.cost) == [1, 1, 2, 2]
    assert list(frame.cost_collected) == ["\ud83d"] * 4
    assert list(made.result.frame("runs").cost) == [1, 1, 2, 2]
    assert made.result.frame("agents").empty


def test_an_arm_may_be_one_value(tmp_path):
    (run,) = sweep(tmp_path, parameters={"mood": {"calm": 1}}, rng=3, llm_models="openai/a", activations="eager").runs
    assert run == Run({"mood": {"calm": 1}}, 3, "openai/a", "eager")


def test_what_goes_wrong_after_the_last_step_fails_the_run_alone(tmp_path):
    class Broken(Odd):
        def step(self):
            super().step()
            if self.cost == 2:
                self.datacollector.model_vars["share"] = [1.0] * 5

    study = Sweep(Broken, {"cost": [1, 2]}, rng=[1], steps=1, folder=tmp_path, client=Answers(), on_error="continue")
    made = study.run(progress=False)
    assert (len(made.done), len(made.failed)) == (1, 1)


def test_arms_that_are_none_or_lists_are_compared(tmp_path):
    made = sweep(tmp_path / "none", parameters={}, activations=[None, "sequential"]).run(progress=False)
    assert list(made.paired("activation", "draw").pairs) == [2]
    made = sweep(tmp_path / "lists", parameters={"mood": [["calm"], ["angry", "sad"]], "people": 2}).run(progress=False)
    (row,) = made.paired("mood", "draw").to_dict("records")
    assert (row["compared_with"], row["mood"], row["pairs"]) == ('["calm"]', '["angry", "sad"]', 2)


def test_failed_runs_are_left_in_the_table_and_tried_again(tmp_path):
    def fails(n, request):
        return RuntimeError("the rule has a bug") if "angry" in request.messages[-1].content else None

    made = sweep(tmp_path, Answers(fails), on_error="continue").run(progress=False)
    assert (len(made.done), len(made.failed)) == (4, 4)
    assert all(run.parameters["mood"] == "angry" and "the rule has a bug" in why for run, why in made.failed.items())
    assert set(made.frame("runs").status) == {"done", "failed"}
    assert set(made.frame().mood) == {"calm"}
    assert len(sweep(tmp_path).run(progress=False).done) == 8
    with pytest.raises(Exception, match="the rule has a bug") as caught:
        sweep(tmp_path / "strict", Answers(fails)).run(progress=False)
    assert "mood='angry'" in caught.value.__notes__[-1]


def test_arms_have_the_seeds_of_their_calls_in_common(tmp_path):
    def seeds(folder, **changes):
        client = Answers()
        sweep(tmp_path / folder, client, **({"llm_seed": 5, "parameters": {"people": 2}, "rng": [1]} | changes)).run(
            progress=False
        )
        return {
            (origin.agent_id, origin.step): request.options.get("seed")
            for origin, request in zip(client.origins, client.requests, strict=True)
        }

    usual = seeds("usual")
    assert len(set(usual.values())) == 4
    assert seeds("angry", parameters={"people": 2, "mood": "angry"}, activations=["sequential"]) == usual
    assert set(seeds("other", rng=[2]).values()).isdisjoint(usual.values())
    assert set(seeds("another", llm_seed=6).values()).isdisjoint(usual.values())
    assert set(seeds("none", llm_seed=None).values()) == {None}


def test_an_estimate_is_what_is_taken(tmp_path):
    rule = RuleBasedClient(lambda request: "I stay at home, as I did yesterday and the day before.")
    study = sweep(
        tmp_path, rule, limits=Limits(requests_per_minute=20, budget=Budget(cost=1)), llm_models=["openai/gpt-4o-mini"]
    )
    estimate = study.estimate(answer_tokens=30)
    assert (estimate.runs, estimate.calls, estimate.completion_tokens) == (8, 40, 1200)
    assert estimate.minutes == 2.0
    assert estimate.cost == pytest.approx(estimate.prompt_tokens * 0.15e-6 + 1200 * 0.6e-6)
    assert str(estimate).startswith("8 runs: 40 calls, ")
    assert not (tmp_path / "journals").exists()
    with pytest.raises(ConfigurationError, match="needs a rule"):
        Sweep(Town, GRID, steps=2, folder=tmp_path / "other").estimate()


def test_progress(tmp_path, capsys):
    seen = []
    sweep(tmp_path / "a").run(progress=seen.append)
    assert all(isinstance(each, SweepProgress) for each in seen)
    last = seen[-1]
    assert (last.runs, last.done, last.running, last.calls, last.tokens) == (8, 8, 0, 40, 4000)
    assert capsys.readouterr().err == ""
    sweep(tmp_path / "b").run()
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("8 of 8 runs done, 0 running; 40 calls, 4,000 tokens, $0.40;")
    )


def result_with(**columns):
    """A result whose last rows have these outcomes, one run each."""
    n = len(next(iter(columns.values())))
    outcomes = {}
    for number in range(n):
        row = {name: values[number] for name, values in columns.items()}
        run = Run({"arm": row["arm"]}, rng=row["rng"])
        outcomes[run] = {"status": "done", "steps": [{"step": 0, "active": -1.0}, {"step": 1, "active": row["active"]}]}
    return SweepResult(outcomes)


def test_arms_are_compared_in_pairs():
    rng = [1, 2, 3] * 2
    made = result_with(arm=["a"] * 3 + ["b"] * 3, rng=rng, active=[1.0, 5.0, 9.0, 2.0, 6.0, 10.0])
    (row,) = made.paired("arm", "active").to_dict("records")
    assert (row["arm"], row["compared_with"], row["pairs"]) == ("b", "a", 3)
    assert (row["mean_difference"], row["low"], row["high"]) == (1.0, 1.0, 1.0)
    assert row["p_value"] == 0.25  # two of the eight ways to choose three signs
    random = np.random.default_rng(1)
    noise = random.normal(size=60)
    made = result_with(
        arm=["a"] * 30 + ["b"] * 30, rng=[*range(30)] * 2, active=list(noise + np.repeat([0.0, 5.0], 30))
    )
    (row,) = made.paired("arm", "active").to_dict("records")
    assert row["low"] < 5.0 < row["high"]
    assert row["p_value"] == 1 / 10_001


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": {"peple": [1]}}, r"Town\(…\) does not take peple. Let it, or give the study make="),
        ({"parameters": {"people": []}}, "Parameters without a value: people"),
        ({"parameters": [3]}, "Point 0 must be a dict of parameters, got 3"),
        ({"rng": []}, "The study has no runs"),
        ({"rng": [1, 1]}, "the same run twice: people=2, mood='calm', rng=1"),
        ({"activations": ["parallel"]}, r"activations must be among .*, got \['parallel'\]"),
        ({"steps": 0}, "steps must be"),
        ({"runs_at_once": 0}, "runs_at_once must be"),
        ({"on_error": "skip"}, "on_error must be 'raise' or 'continue', got 'skip'"),
    ],
)
def test_a_study_that_cannot_work(tmp_path, changes, said):
    with pytest.raises(ConfigurationError, match=said):
        sweep(tmp_path, **changes)


def test_the_folder_of_another_study_is_refused(tmp_path):
    sweep(tmp_path)
    with pytest.raises(ConfigurationError, match="has a study that differs: steps 2, now 3"):
        sweep(tmp_path, steps=3)
    known = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(known | {"source": "0"}))
    with pytest.raises(ConfigurationError, match="has a study that differs: source '0', now"):
        sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("")
    with pytest.raises(ConfigurationError, match=r"sweep.json is damaged: .*Remove it if the folder has this study"):
        sweep(tmp_path)


def test_comparisons_that_cannot_be_made(tmp_path):
    made = sweep(tmp_path, parameters={}).run(progress=False)
    for arm, outcome, wrong in (("mood", "draw", "no arm 'mood'"), ("rng", "drew", "no outcome 'drew'")):
        with pytest.raises(ConfigurationError, match=wrong):
            made.paired(arm, outcome)
    with pytest.raises(ConfigurationError, match="level must be"):
        made.frame("cells")
    with pytest.raises(ConfigurationError, match="All runs have arm = 'a'"):
        result_with(arm=["a", "a"], rng=[1, 2], active=[1.0, 2.0]).paired("arm", "active")


def test_a_scripted_llm_is_a_client_too(tmp_path):
    assert len(sweep(tmp_path, ScriptedLLM("Home.")).run(progress=False).done) == 8
