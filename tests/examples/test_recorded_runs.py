"""Each example is recorded as a whole, made again in another mode and another process, and compared to the very call."""

import importlib
import subprocess
import sys
from dataclasses import replace

import pytest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.recording import record_run
from mesa_llm.runs import describe, diff, replay

EXAMPLES = {
    "civil_violence.CivilViolence": {"citizens": 8, "cops": 2},
    "negotiation.Negotiation": {"buyers": 3, "sellers": 3},
    "sugarscape.Sugarscape": {"traders": 6},
    "opinion.Opinion": {"people": 10},
}
STEPS = 3


def record(example, path, changed=None):
    """Record an example; the answer in its second step to the agent whose id is `changed` has another text."""
    package, name = example.split(".")
    module = importlib.import_module(f"mesa_llm_examples.{package}")

    def answer(request):
        answered = module.policy(request)
        origin = request.call.origin
        if changed is None or (origin.agent_id, origin.model_step, origin.call) != (changed, 2, 1):
            return answered
        return replace(answered, content=f"{answered.content} I have thought twice.", tool_calls=answered.tool_calls)

    enable_automatic_parallel_stepping()
    model_class = getattr(module, name)
    parameters = {**EXAMPLES[example], "seed": 5, "client": RuleBasedClient(answer)}
    with record_run(model_class, parameters, path=path) as model:
        for _ in range(STEPS):
            model.step()
    return model_class


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_made_again_in_the_other_mode_with_the_same_states(example, tmp_path):
    model_class = record(example, tmp_path / "run.sqlite")
    replayed = replay(tmp_path / "run.sqlite", model_class, mode="threading")
    assert (replayed.steps, replayed.compared) == (STEPS, STEPS + 1)
    described = describe(tmp_path / "run.sqlite").data
    assert replayed.calls == described["calls"]["calls"] > 0
    assert described["decisions"]["decisions"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_made_again_in_another_process(example, tmp_path):
    record(example, tmp_path / "run.sqlite")
    program = "import sys; from mesa_llm.runs.cli import main; sys.exit(main(sys.argv[1:]))"
    model = f"mesa_llm_examples.{example.replace('.', ':')}"
    arguments = ["runs", "replay", tmp_path / "run.sqlite", model, "--mode", "threading"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.endswith(f"the state was equal {STEPS + 1} times.\n")


@pytest.mark.parametrize("example", EXAMPLES)
def test_two_runs_of_an_example_part_at_the_call_whose_answer_is_another_one(example, tmp_path):
    paths = tmp_path / "one.sqlite", tmp_path / "two.sqlite"
    changed = 2
    record(example, paths[0])
    record(example, paths[1], changed=changed)
    found = diff(*paths)
    assert (found.call.kind, found.call.model_step, found.call.first.agent_id) == ("answer", 2, changed)
    assert "I have thought twice." in str(found)
    assert found.settings == ()
