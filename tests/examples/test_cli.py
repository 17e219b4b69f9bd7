"""The command as a newcomer runs it: its output, its errors, its exit status.

A process of its own, which imports Mesa itself, where that matters; `main` in the test's process elsewhere.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers.rules import at_ease

from mesa_llm.testing import FakeOpenAIServer, Fault

COMMAND = shutil.which("mesa-llm-examples", path=Path(sys.executable).parent)
SMALL = ("run", "civil-violence", "--citizens", "6", "--cops", "2", "--steps", "2", "--seed", "42")
ONCE = ["--max-attempts", "1"]
AGENTS = 8
WITHOUT_KEYS = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")} | {"COLUMNS": "100"}


def command(*arguments):
    return subprocess.run([COMMAND, *arguments], env=WITHOUT_KEYS, capture_output=True, text=True, check=False)


def one_line(status, output, errors):
    """The one line that a failing command writes."""
    assert status == 2
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in output + errors
    return errors


def states(output):
    """The table of the summary, without the times."""
    return re.findall(r"^ +(\d+) +(\d+) +(\d+) +(\d+) *(\d*)", output, re.MULTILINE)


def test_list():
    result = command("list")
    assert result.returncode == 0
    assert "civil-violence" in result.stdout
    assert result.stderr == ""


def test_without_arguments_it_helps():
    result = command()
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_listing_does_not_wait_for_mesa():
    code = "import sys, mesa_llm_examples.cli; print([name for name in ('mesa', 'litellm') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_run_without_a_model():
    result = command(*SMALL, "--latency", "0.1")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "6 citizens, 2 cops, seed 42" in result.stdout
    assert "no LLM is called" in result.stdout
    assert re.search(r"^ +step +active +quiet +jailed +calls +seconds$", result.stdout, re.MULTILINE)
    assert [row[0] for row in states(result.stdout)] == ["0", "1", "2"]
    assert states(result.stdout)[1][4] == str(2 * AGENTS)
    assert "calls, up to 8 at the same time" in result.stdout
    assert re.search(r"^32 answers took 3\.20 s, added up \(simulated, 0\.1 s each\)\.$", result.stdout, re.MULTILINE)
    assert "as long" not in result.stdout


def test_modes_and_latencies_do_not_show_in_the_states(here):
    _, in_threads, _ = here(*SMALL, "--mode", "threading", "--max-workers", "2", "--latency", "0.002")
    _, in_asyncio, _ = here(*SMALL, "--latency", "0")
    assert states(in_threads) == states(in_asyncio) != []


def test_one_agent_at_a_time(here):
    status, output, errors = here(*SMALL, "--mode", "off", "--latency", "0")
    assert status == 0
    assert errors == ""
    assert "up to 1 at the same time" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing command"),
        (["run", "nothing"], "No such command 'nothing'"),
        (["run", "civil-violence", "--speed", "9"], "No such option: --speed"),
        (["run", "civil-violence", "--citizens", "many"], "--citizens"),
        (["run", "civil-violence", "--steps", "0"], "--steps"),
        (["run", "civil-violence", "--mode", "fast"], "'fast' is not one of"),
        (["run", "civil-violence", "--max-workers", "2"], "--max-workers needs --mode threading"),
        (["run", "civil-violence", "--latency", "1", "--llm", "openai/x"], "--latency is for runs without --llm"),
        (["run", "civil-violence", "--api-base", "http://127.0.0.1:1"], "--api-base needs --llm"),
        (["run", "civil-violence", "--timeout", "5"], "--timeout needs --llm"),
        (["run", "civil-violence", "--max-attempts", "5"], "--max-attempts needs --llm"),
        (["run", "civil-violence", "--citizens", "-3"], "citizens must be a whole number >= 0, got -3"),
        (["run", "civil-violence", "--width", "3", "--height", "3"], "do not fit on 3 x 3 = 9 cells"),
    ],
)
def test_bad_arguments(here, arguments, message):
    assert message in one_line(*here(*arguments))


def test_a_missing_key():
    result = command(*SMALL, "--llm", "openai/gpt-4o-mini")
    line = one_line(result.returncode, result.stdout, result.stderr)
    assert "needs an API key" in line
    assert line.endswith("Set the environment variable OPENAI_API_KEY.\n")  # no way out that a command has not
    assert result.stdout == ""  # nothing of a run that never was


def test_one_agent_at_a_time_the_first_failure_is_the_only_one(here):
    line = one_line(*here(*SMALL, "--llm", "openai/gpt-4o-mini", "--mode", "off"))
    assert "needs an API key" in line
    assert "agents failed" not in line


def test_the_option_for_an_llm_has_its_earlier_name_too(here):
    line = one_line(*here(*SMALL, "--model", "openai/gpt-4o-mini"))
    assert "openai/gpt-4o-mini needs an API key" in line


@pytest.mark.parametrize(
    "path", [(), ("run",), ("compare",), ("app",), ("report",), ("run", "opinion"), ("compare", "opinion")]
)
def test_every_help_has_an_example(here, path):
    status, output, _ = here(*path, "-h")
    assert status == 0
    assert f"For example: mesa-llm-examples {path[0] if path else 'run'} " in output


def test_the_version(here):
    assert here("--version") == (0, f"mesa-llm-examples {version('mesa-llm-examples')}\n", "")


def test_an_unknown_model(here):
    assert "litellm has no provider 'nobody'" in one_line(*here(*SMALL, "--llm", "nobody/some-model"))


@pytest.mark.parametrize("mode", ["asyncio", "threading", "off"])
def test_an_endpoint_where_nobody_answers(here, mode, closed_port):
    endpoint = f"http://127.0.0.1:{closed_port}/v1"
    line = one_line(*here(*SMALL, "--llm", "openai/some-model", "--api-base", endpoint, "--mode", mode, *ONCE))
    assert f"{endpoint} cannot be reached" in line


def test_a_server_that_never_answers(here):
    with FakeOpenAIServer(Fault.hang()) as server:
        line = one_line(*here(*SMALL, "--llm", "openai/some-model", "--api-base", server.url, "--timeout", "1", *ONCE))
    assert "did not answer within 1 s" in line


def test_a_run_on_a_model_server():
    with FakeOpenAIServer(at_ease, hold_until=AGENTS, patience=60) as server:
        result = command(*SMALL, "--llm", "openai/some-model", "--api-base", server.url)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"Decisions: openai/some-model at {server.url}" in result.stdout
    assert len(server.requests) == 2 * 2 * AGENTS
    assert server.peak_concurrency == AGENTS
    assert "32 calls, up to 8 at the same time" in result.stdout
    assert "input tokens" in result.stdout


def test_a_server_that_fails(here):
    with FakeOpenAIServer(Fault(status=500, body="out of memory")) as server:
        line = one_line(*here(*SMALL, "--llm", "openai/some-model", "--api-base", server.url, *ONCE))
        assert "out of memory" in line
        assert len(server.requests) == AGENTS


def test_a_server_that_fails_for_a_moment_is_asked_again():
    failures = iter([Fault(status=503, retry_after=0.0)] * 3)
    with FakeOpenAIServer(lambda body: next(failures, None) or at_ease(body)) as server:
        result = command(*SMALL, "--llm", "openai/some-model", "--api-base", server.url)
    assert result.returncode == 0, result.stderr
    assert len(server.requests) == 2 * 2 * AGENTS + 3


def test_ctrl_c():
    asked = threading.Event()

    def never_answer(body):
        asked.set()
        return Fault.hang()

    with FakeOpenAIServer(never_answer) as server:
        arguments = [*SMALL, "--llm", "openai/some-model", "--api-base", server.url]
        process = subprocess.Popen(
            [COMMAND, *arguments], env=WITHOUT_KEYS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "mesa-llm-examples: Interrupted in step 1 of 2.\n"
