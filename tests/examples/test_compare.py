"""`compare`: the same run one agent at a time, on threads and on asyncio."""

import io
import json
import random
import re

import pytest
from helpers.rules import at_ease
from rich.console import Console

from mesa_llm.clients import CallCounts
from mesa_llm.testing import FakeOpenAIServer
from mesa_llm_examples.compare import ModeRun, differing, in_words, measured_on, table_of
from mesa_llm_examples.setting import Mode, ModelConnection

SMALL = ("compare", "civil-violence", "--citizens", "6", "--cops", "2", "--seed", "42", "--latency", "0")


def mode_run(mode, digest):
    return ModeRun(mode=mode, seconds=1.0, counts=CallCounts(calls=1), digest=digest)


def test_both_parallel_modes_give_the_same_run_and_one_after_the_other_gives_another(here):
    status, output, errors = here(*SMALL[:-1], "0.02", "--json")
    assert (status, errors) == (0, "")
    told = json.loads(output)
    assert told["parallel_modes_agree"] is True
    assert told["simulated_latency_s"] == 0.02
    digests = {run["mode"]: run["digest"] for run in told["runs"]}
    assert list(digests) == ["off", "threading", "asyncio"]
    assert digests["threading"] == digests["asyncio"] != digests["off"]
    assert all(run["decisions"] == run["tool_calls"] == run["calls"] for run in told["runs"])
    assert all(0 <= run["refused_tool_calls"] <= run["tool_calls"] for run in told["runs"])
    peaks = {run["mode"]: run["peak_in_flight"] for run in told["runs"]}
    assert peaks["off"] == 1 < min(peaks["threading"], peaks["asyncio"])


def test_a_table_shows_the_modes_side_by_side(here):
    status, output, _ = here(*SMALL, "--mode", "threading", "--mode", "asyncio", "--steps", "1")
    assert status == 0
    rows = [line.split() for line in output.splitlines()]
    assert ["threading", "its", "own"] in [row[:1] + row[-2:] for row in rows if row]
    assert ["asyncio", "as", "threading"] in [row[:1] + row[-2:] for row in rows if row]
    assert "threading and asyncio gave the same run, request for request." in output
    assert "off" not in output
    assert re.search(
        r"^With threading and asyncio, 16 decisions; \d+ of 16 actions refused, 0 ",
        output,
        re.MULTILINE,
    )


def test_another_seed_is_another_run(here):
    def digest(seed):
        _, output, _ = here(*SMALL[:-4], "--latency", "0", "--seed", seed, "--mode", "asyncio", "--json")
        return json.loads(output)["runs"][0]["digest"]

    assert digest(1) == digest(1) != digest(2)


def test_modes_that_should_agree_and_do_not_are_exit_status_3(here, monkeypatch):
    unlucky = iter(["This once", *["Now"] * 1000])
    rule = lambda request: at_ease(request, rationale=next(unlucky))  # noqa: E731
    monkeypatch.setattr("mesa_llm_examples.civil_violence.policy", rule)
    status, output, errors = here(*SMALL, "--mode", "threading", "--mode", "asyncio")
    assert status == 3
    assert "should have given the same run, and did not" in output
    assert errors == ""


def test_a_model_that_answers_as_it_likes_is_no_failure(here):
    draw = random.Random(1)
    with FakeOpenAIServer(lambda body: at_ease(body, rationale=str(draw.random()))) as server:
        arguments = (*SMALL[:-2], "--llm", "openai/some-model", "--api-base", server.url, "--steps", "1")
        status, output, _ = here(*arguments, "--mode", "threading", "--mode", "asyncio")
    assert status == 0
    assert "does not always give the same answer" in output
    assert "tokens" in output


@pytest.mark.parametrize(
    ("digests", "different"),
    [("abb", []), ("aab", ["asyncio"]), ("abc", ["asyncio"])],
)
def test_only_parallel_modes_are_held_to_each_other(digests, different):
    runs = [mode_run(mode, digest) for mode, digest in zip(["off", "threading", "asyncio"], digests, strict=True)]
    assert differing([ModeRun(mode=Mode(run.mode), **_rest(run)) for run in runs]) == different


def _rest(run):
    return {"seconds": run.seconds, "counts": run.counts, "digest": run.digest}


def test_of_one_mode_nothing_is_said():
    assert in_words([mode_run(Mode.ASYNCIO, "a")], same_answers=True) == ""


@pytest.mark.parametrize(
    ("modes", "is_said"),
    [
        (["off", "asyncio"], True),
        (["asyncio", "off", "threading"], True),
        (["off"], False),
        (["asyncio"], False),
        (["threading", "asyncio"], False),
    ],
)
def test_faster_is_said_only_of_what_was_run_both_ways_and_on_which_answers(modes, is_said):
    seconds = {"off": 9.0, "threading": 3.0, "asyncio": 2.0}
    runs = [ModeRun(mode=Mode(mode), seconds=seconds[mode], counts=CallCounts(), digest="a") for mode in modes]
    console = Console(file=io.StringIO(), width=100)
    console.print(table_of(runs))
    shown = console.file.getvalue()
    said = measured_on(runs, 2, "simulated answers, 0.05 s each")
    assert ("times as fast" in shown) == is_said == bool(said)
    if is_said:
        ratios = {row.split()[0]: row.split()[2] for row in shown.splitlines()[1:]}
        assert ratios == {mode: f"{9.0 / seconds[mode]:.1f}" for mode in modes}
        assert said == (
            '"Times as fast" compares the wall time of 2 steps with that of off, on simulated answers, 0.05 s each.'
        )


@pytest.mark.parametrize(
    ("connection", "answers"),
    [
        (ModelConnection(latency=0.2), "simulated answers, 0.2 s each"),
        (ModelConnection(), "simulated answers, 0.05 s each"),
        (ModelConnection(latency=0), "simulated answers, 0 s each"),
        (ModelConnection(model="openai/x", api_base="http://h"), "answers of openai/x at http://h"),
    ],
    ids=["rule", "default", "at once", "model"],
)
def test_it_is_said_whose_answers_were_measured(connection, answers):
    assert connection.answers == answers
    assert ("simulated" in str(connection)) == ("simulated" in answers)


@pytest.mark.parametrize(("api_base", "imports"), [(None, True), ("http://127.0.0.1:1", False)])
def test_the_first_mode_does_not_pay_for_an_import(monkeypatch, api_base, imports):
    loaded = []

    async def load(secrets):
        loaded.append(True)

    monkeypatch.setattr("mesa_llm.clients.litellm_module.load_litellm", load)
    ModelConnection(model="openai/x", api_base=api_base).prepare()
    ModelConnection().prepare()
    assert bool(loaded) == imports


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-workers", "2", "--mode", "asyncio"], "--max-workers needs --mode threading"),
        (["--mode", "fast"], "'fast' is not one of"),
        (["--steps", "0"], "--steps"),
        (["--citizens", "-3"], "citizens must be a whole number >= 0, got -3"),
        (["--api-base", "http://127.0.0.1:1"], "--api-base needs --llm"),
    ],
)
def test_bad_arguments(here, arguments, message):
    status, _, errors = here(*SMALL[:2], *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors
