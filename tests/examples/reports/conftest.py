"""Runs that were recorded, as files."""

import json

import pytest

from mesa_llm.clients import LLMResponse, Message, Usage
from mesa_llm.parallel_stepping import ParallelStepping
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.civil_violence import CivilViolence
from mesa_llm_examples.reports.writing import RunWriter
from mesa_llm_examples.running import Setting
from mesa_llm_examples.simulation import simulate
from mesa_llm_examples.stepping import Mode, stepping


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The file of a run of 5 citizens and a cop in 3 steps, in which the first call of the second step fails."""
    from mesa_llm.clients import MeteredClient

    def answer(request):
        calls.append(request)
        if len(calls) == 13:  # the first call of the second step: 6 agents ask twice a step
            raise ConnectionResetError("reset by <peer>")
        return LLMResponse(message=Message("assistant", "I stay."), model="m", usage=Usage(100, 10), cost=0.001)

    calls = []
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    client = MeteredClient(ScriptedLLM(answer))
    model = CivilViolence(5, 1, seed=3, client=client, parallel_stepping=ParallelStepping(on_error="skip"))
    options = {"citizens": 5, "note": "<script>alert(1)</script>", "width": None}
    setting = Setting(example="civil-violence", headline="Five & one", options=options, steps=3)
    with path.open("w") as stream, stepping(Mode.ASYNCIO), RunWriter(stream, setting, model, client) as writer:
        simulate(model, client, 3, on_step=writer.ended)
    return path


@pytest.fixture
def lines(recorded):
    """Its lines, to be changed."""
    return [json.loads(line) for line in recorded.read_text().splitlines()]


@pytest.fixture
def changed(tmp_path):
    """Write lines to a new file."""

    def write(lines):
        path = tmp_path / "changed.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
