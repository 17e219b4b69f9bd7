"""`compare`: the same run one agent at a time, on threads and on asyncio."""

import json
import random

import pytest

from mesa_llm.clients import CallCounts
from mesa_llm.testing import FakeOpenAIServer
from mesa_llm_examples.cli import main
from mesa_llm_examples.comparing import ModeRun, differing, in_words
from mesa_llm_examples.stepping import Mode

SMALL = ("compare", "civil-violence", "--citizens", "6", "--cops", "2", "--seed", "42", "--latency", "0")


@pytest.fixture
def here(capsys, monkeypatch):
    """Run the command in this process: gives exit status, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(list(map(str, arguments)))
        return exit_.value.code, *capsys.readouterr()

    return run


def mode_run(mode, digest):
    return ModeRun(mode=mode, seconds=1.0, counts=CallCounts(calls=1), digest=digest)


def test_both_parallel_modes_give_the_same_run_and_one_after_the_other_gives_another(here):
    status, output, errors = here(*SMALL[:-1], "0.02", "--json")
    assert (status, errors) == (0, "")
    told = json.loads(output)
    assert told["parallel_modes_agree"] is True
    digests = {run["mode"]: run["digest"] for run in told["runs"]}
    assert list(digests) == ["off", "threading", "asyncio"]
    assert digests["threading"] == digests["asyncio"] != digests["off"]
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


def test_another_seed_is_another_run(here):
    def digest(seed):
        _, output, _ = here(*SMALL[:-4], "--latency", "0", "--seed", seed, "--mode", "asyncio", "--json")
        return json.loads(output)["runs"][0]["digest"]

    assert digest(1) == digest(1) != digest(2)


def test_modes_that_should_agree_and_do_not_are_exit_status_3(here, monkeypatch):
    unlucky = iter(["Action: I move North.", *["Action: I stay."] * 1000])
    monkeypatch.setattr("mesa_llm_examples.civil_violence.policy", lambda request: next(unlucky))
    status, output, errors = here(*SMALL, "--mode", "threading", "--mode", "asyncio")
    assert status == 3
    assert "should have given the same run, and did not" in output
    assert errors == ""


def test_a_model_that_answers_as_it_likes_is_no_failure(here):
    draw = random.Random(1)
    with FakeOpenAIServer(lambda body: f"Action: {draw.random()}") as server:
        arguments = (*SMALL[:-2], "--model", "openai/some-model", "--api-base", server.url, "--steps", "1")
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
    ("arguments", "message"),
    [
        (["--max-workers", "2", "--mode", "asyncio"], "--max-workers needs --mode threading"),
        (["--mode", "fast"], "'fast' is not one of"),
        (["--steps", "0"], "--steps"),
        (["--citizens", "-3"], "citizens must be a whole number >= 0, got -3"),
        (["--api-base", "http://127.0.0.1:1"], "--api-base needs --model"),
    ],
)
def test_bad_arguments(here, arguments, message):
    status, _, errors = here(*SMALL[:2], *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors
