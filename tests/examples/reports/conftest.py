"""Runs that were recorded, as files."""

import json
from types import SimpleNamespace

import pytest
from helpers.rules import at_ease

from mesa_llm.clients import LLMResponse, Message, MeteredClient, RuleBasedClient, Usage
from mesa_llm.parallel_stepping import ParallelStepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.civil_violence import CivilViolence, policy
from mesa_llm_examples.reports.run_file import LineWriter, read_run
from mesa_llm_examples.setting import Mode, ModelConnection, stepping
from mesa_llm_examples.simulation import simulate

OPTIONS = {"citizens": 5, "note": "<script>alert(1)</script>", "width": None}


def setting(headline, llm_model=None):
    """What is run, as the first line says it."""
    return SimpleNamespace(
        example=SimpleNamespace(name="civil-violence"),
        headline=headline,
        options=OPTIONS,
        connection=ModelConnection(model=llm_model),
    )


def record(path, client, citizens, cops, *, headline="Five & one", llm_model=None, movement=True):
    """Three steps of civil violence; agents that cannot decide are skipped."""
    metered = MeteredClient(client)
    model = CivilViolence(
        citizens,
        cops,
        movement=movement,
        seed=3,
        client=metered,
        parallel_stepping=ParallelStepping(on_error="skip"),
    )
    with (
        path.open("w") as stream,
        stepping(Mode.ASYNCIO),
        LineWriter(stream, model, metered, setting(headline, llm_model)) as writer,
    ):
        simulate(model, metered, 3, on_step=writer.ended)
    return path


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The file of a run of 5 citizens and a cop in 3 steps, in which nobody moves and the first call of the second fails."""

    def answer(request):
        calls.append(request)
        if len(calls) == 7:  # the first call of the second step: 6 agents ask once a step
            raise ConnectionResetError("reset by <peer>")
        return LLMResponse(message=Message("assistant", at_ease(request)), model="m", usage=Usage(100, 10), cost=0.001)

    calls = []
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    return record(path, ScriptedLLM(answer, latency=0.002), 5, 1, llm_model="openai/m", movement=False)


@pytest.fixture(scope="session")
def crowded(tmp_path_factory):
    """The file of a run of 60 citizens and 12 cops in 3 steps, decided by the rule: some want the same cell."""
    path = tmp_path_factory.mktemp("runs") / "crowded.jsonl"
    return record(path, RuleBasedClient(policy), 60, 12, headline="Sixty and twelve")


@pytest.fixture
def run(recorded):
    return read_run(recorded)


@pytest.fixture
def lines(recorded):
    """The lines of `recorded`, to be changed."""
    return [json.loads(line) for line in recorded.read_text().splitlines()]


@pytest.fixture
def changed(tmp_path):
    """Write lines to a new file."""

    def write(lines):
        path = tmp_path / "changed.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
