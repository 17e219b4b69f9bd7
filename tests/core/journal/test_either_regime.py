"""A call has one identity, whoever steps its agent: what one regime has recorded, the others replay."""

import pytest
from helpers.journals import Reporting, Twice
from helpers.speakers import digest

from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

REGIMES = {
    "off": False,
    "asyncio": ParallelStepping(),
    "threading": ParallelStepping(mode="threading"),
    "eager": ParallelStepping(activation="eager"),
}


class Alone(Twice):
    """Sees nobody, so that its requests do not depend on when the others act."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.vision = 0


def simulate(client, regime):
    enable_automatic_parallel_stepping()
    model = Reporting(4, client, Alone, parallel=REGIMES[regime])
    for number in range(3):
        if number == 1:  # its own steps are not the model's
            Alone(model, client)
        model.step()
        next(iter(model.agents)).llm.generate("between steps")
    return sorted(model.log), [[str(entry) for entry in agent.memory.entries] for agent in model.agents]


@pytest.mark.parametrize("replayed", REGIMES)
@pytest.mark.parametrize("recorded", REGIMES)
def test_a_run_is_replayed_in_another_regime(path, recorded, replayed):
    with JournaledClient(ScriptedLLM(digest), path) as client:
        state = simulate(client, recorded)
    with JournaledClient(None, path, mode="replay") as client:
        assert simulate(client, replayed) == state
        assert client.replayed == 4 * 9 + 6 + 3


@pytest.mark.parametrize("regime", REGIMES)
def test_a_run_is_gone_on_with_in_another_regime(path, regime):
    asked = []

    def answer(request):
        asked.append(request)
        return digest(request) if len(asked) <= 20 else ConnectionResetError("lost")

    with JournaledClient(ScriptedLLM(answer), path) as client, pytest.raises(ConnectionResetError):
        simulate(client, "off")
    with JournaledClient(ScriptedLLM(digest), path, mode="resume") as client:
        state = simulate(client, regime)
        assert client.replayed == 20
    with JournaledClient(ScriptedLLM(digest), path, run="whole") as client:
        assert simulate(client, "off") == state


def test_the_steps_of_the_model_are_kept_beside_it(path):
    with JournaledClient(ScriptedLLM(digest), path) as client:
        simulate(client, "asyncio")
    late = {(call.step, call.model_step) for call in Journal(path).calls() if call.agent_id == 5}
    assert late == {(1, 2), (2, 3)}
    assert Journal(path).run().steps == 3
    assert {"step", "model_step"} <= set(Journal(path).to_dataframe().columns)
