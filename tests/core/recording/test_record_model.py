"""A recorded model: which events of its steps and of its agents there are, on whatever Mesa, in whatever order."""

import gc
import weakref

import mesa
import pytest
from helpers.left_over import soon
from helpers.recorded import Talker, make_talkers, told
from helpers.speakers import seen_by
from inline_snapshot import snapshot
from mesa import Agent, Model

from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.recording import SimulationRecorder, load_recording, record_model
from mesa_llm.recording.record_model import record_model as as_in_0_3
from mesa_llm.testing import ScriptedLLM

on_mesa_3_4 = mesa.__version__.startswith("3.4")


@pytest.fixture
def talkers(tmp_path):
    return make_talkers(tmp_path)


def of_model(recorder):
    return [(e.event_type, e.step) for e in recorder.events if e.agent_id is None]


def kinds_of(recorder):
    return [e.event_type for e in recorder.events]


def of_agents(recorder, *types):
    return [(e.agent_id, e.event_type) for e in recorder.events if e.agent_id and (not types or e.event_type in types)]


def test_every_event_of_every_agent_is_recorded_in_the_order_in_which_it_happened(talkers):
    model = talkers(2)
    model.step()
    assert [(*t[:4], t[4].get("direction")) for t in told(model.recorder.events)] == snapshot(
        [
            (0, None, "simulation_start", {"step": 0}, None),
            (1, None, "step_start", {"step": 1}, None),
            (
                1,
                1,
                "state_change",
                {"internal_state": {"before": None, "after": {"words": 0}}},
                None,
            ),
            (
                1,
                2,
                "state_change",
                {"internal_state": {"before": None, "after": {"words": 0}}},
                None,
            ),
            (
                1,
                1,
                "observation",
                {
                    "self_state": {
                        "agent_unique_id": 1,
                        "location": None,
                        "internal_state": {"words": 0},
                    },
                    "local_state": {"Talker 2": {"position": None, "internal_state": {"words": 0}}},
                },
                None,
            ),
            (
                1,
                1,
                "action",
                {"tool": "say", "arguments": {"words": "I am 1"}, "result": "said"},
                None,
            ),
            (
                1,
                2,
                "message",
                {"message": "I am 1", "sender": 1, "recipient_ids": [2]},
                "received",
            ),
            (1, 1, "message", {"message": "I am 1", "sender": 1, "recipient_ids": [2]}, "sent"),
            (
                1,
                2,
                "observation",
                {
                    "self_state": {
                        "agent_unique_id": 2,
                        "location": None,
                        "internal_state": {"words": 0},
                    },
                    "local_state": {"Talker 1": {"position": None, "internal_state": {"words": 1}}},
                },
                None,
            ),
            (
                1,
                2,
                "action",
                {"tool": "say", "arguments": {"words": "I am 2"}, "result": "said"},
                None,
            ),
            (
                1,
                1,
                "message",
                {"message": "I am 2", "sender": 2, "recipient_ids": [1]},
                "received",
            ),
            (1, 2, "message", {"message": "I am 2", "sender": 2, "recipient_ids": [1]}, "sent"),
            (
                1,
                1,
                "state_change",
                {"internal_state": {"before": {"words": 0}, "after": {"words": 1}}},
                None,
            ),
            (
                1,
                2,
                "state_change",
                {"internal_state": {"before": {"words": 0}, "after": {"words": 1}}},
                None,
            ),
            (1, None, "step_end", {"step": 1}, None),
        ]
    )


def test_each_step_is_recorded_once_however_it_is_called(talkers):
    model = talkers()
    model.step()
    if on_mesa_3_4:
        model.step()
        model.step()
    else:
        model.run_for(2)
    steps = [(name, step) for step in (1, 2, 3) for name in ("step_start", "step_end")]
    assert of_model(model.recorder) == [("simulation_start", 0), *steps]


def test_a_subclass_is_recorded_once_whether_it_calls_its_parents_step_or_not(talkers):
    class Calls(talkers):
        def step(self):
            super().step()

    class CallsNot(talkers):
        def step(self):
            self.stepped = True

    class Inherits(talkers): ...

    for cls in (Calls, CallsNot, Inherits):
        model = cls()
        model.step()
        assert of_model(model.recorder) == [("simulation_start", 0), ("step_start", 1), ("step_end", 1)]
        assert model.recorder.simulation_metadata["model_class"] == cls.__name__


def test_a_subclass_that_is_decorated_again_has_its_own_options(talkers, tmp_path):
    @record_model(output_dir=tmp_path / "mine", record_state_changes=False)
    class Mine(talkers):
        def step(self):
            super().step()

    model = Mine()
    model.step()
    assert model.recorder.path.parent == tmp_path / "mine"
    assert of_model(model.recorder) == [("simulation_start", 0), ("step_start", 1), ("step_end", 1)]
    assert not model.recorder.get_events_by_type("state_change")


def test_classes_that_have_an_init_subclass_keep_it(tmp_path):
    seen = []

    @record_model(output_dir=tmp_path)
    class Named(Model):
        def __init_subclass__(cls, *, name="none", **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append(name)

    class Sub(Named, name="sub"): ...

    class SubSub(Sub): ...

    assert seen == ["sub", "none"]


def test_a_step_within_a_step_is_one_of_its_own(talkers):
    class Twice(talkers):
        def step(self):
            if not self.log:
                self.log.append("once")
                Model._wrapped_step(self)

    model = Twice(0)
    model.step()
    assert [name for name, _ in of_model(model.recorder)][1:].count("step_start") == (2 if on_mesa_3_4 else 1)


def test_it_works_without_options_and_by_the_path_of_0_3(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @as_in_0_3
    class Plain(Model):
        """Steps as Mesa's own does."""

    model = Plain()
    assert isinstance(model.recorder, SimulationRecorder)
    model.step()
    model.recorder.flush()
    (file,) = (tmp_path / "recordings").iterdir()
    assert file == model.recorder.path
    assert Plain.__init__.__name__ == "__init__"
    assert Plain.step.__name__ == "step"


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="folder"):
        record_model(folder="x")


def test_an_init_that_raises_leaves_no_file_behind(tmp_path):
    @record_model(output_dir=tmp_path / "recordings")
    class Broken(Model):
        def __init__(self):
            super().__init__()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Broken()
    gc.collect()
    assert not (tmp_path / "recordings").exists()


def test_a_recorder_that_init_makes_itself_stays(tmp_path):
    @record_model(output_dir=tmp_path)
    class Own(Model):
        def __init__(self, recorder):
            super().__init__()
            self.recorder = SimulationRecorder(self, tmp_path / "own") if recorder else None

    assert Own(True).recorder.output_dir == tmp_path / "own"
    assert isinstance(Own(False).recorder, SimulationRecorder)


def test_agents_made_later_or_in_init_are_recorded_too(talkers):
    model = talkers(1)
    model.step()
    Talker(model, next(iter(model.agents)).llm.client)
    model.step()
    assert (2, "observation") in of_agents(model.recorder)
    assert [a.recorder for a in model.agents] == [model.recorder] * 2


def test_an_agent_may_have_a_recorder_of_its_own(talkers, tmp_path):
    model = talkers(2)
    first, second = model.agents
    first.recorder = mine = SimulationRecorder(model, tmp_path / "mine")
    model.step()
    assert {agent_id for agent_id, _ in of_agents(mine)} == {1}
    assert {agent_id for agent_id, _ in of_agents(model.recorder, "observation", "message")} == {2}
    first.recorder = None
    assert first.recorder is second.recorder is model.recorder


def test_agents_without_a_recorder_are_not_recorded(talkers):
    unrecorded = Model()
    unrecorded.log = []
    agent = Talker(unrecorded, ScriptedLLM("x"))
    unrecorded.recorder = "the user's own idea of a recorder"
    assert agent.recorder is None
    agent.memory.add_to_memory("note", {"w": 1})
    model = talkers(1)
    Agent(model)
    model.step()
    assert {agent_id for agent_id, _ in of_agents(model.recorder)} == {1}


def test_states_are_recorded_as_they_change(talkers):
    class Gone(talkers):
        def step(self):
            first, second = list(self.agents)[:2]
            first.internal_state["words"] += 1
            if len(self.agents) == 3:
                second.remove()

    model = Gone(3)
    model.step()
    model.step()
    changes = [(e.step, e.agent_id, e.content) for e in model.recorder.get_events_by_type("state_change")]

    def words(before, after):
        return {"internal_state": {"before": before, "after": {"words": after}}}

    assert changes == [
        *((1, agent_id, words(None, 0)) for agent_id in (1, 2, 3)),
        (1, 1, words({"words": 0}, 1)),
        (2, 1, words({"words": 1}, 2)),
    ]


def test_a_step_that_fails_is_recorded_and_on_disk_and_the_model_steps_on(talkers):
    class Failing(talkers):
        def step(self):
            if len(self.log) == 0:
                self.log.append("failed")
                raise KeyError("oh")

    model = Failing()
    with pytest.raises(KeyError):
        model.step()
    events = list(load_recording(model.recorder.path))
    assert [e.event_type for e in events if e.agent_id is None] == ["simulation_start", "step_start", "error"]
    assert events[-1].content == {"step": 1, "error": "KeyError", "message": "'oh'"}
    model.recorder.close()
    assert list(load_recording(model.recorder.path))[-1].content["status"] == "failed"


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_the_same_events_whatever_the_latencies(talkers, mode):
    enable_automatic_parallel_stepping(mode=mode)

    def run(latency):
        client = ScriptedLLM(lambda request: f"I am {seen_by(request)}", latency=latency)
        model = talkers(5, client, parallel=True)
        for _ in range(3):
            model.step()
        return told(model.recorder.events)

    slow_first = run(lambda request: 0.02 / seen_by(request))
    slow_last = run(lambda request: 0.004 * seen_by(request))
    assert slow_first == slow_last
    assert [e[2] for e in slow_first].count("action") == 15


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_parallel_steps_record_what_sequential_ones_do_per_agent(talkers, mode):
    enable_automatic_parallel_stepping(mode=mode)
    parallel, one_by_one = talkers(4, parallel=True), talkers(4)
    for model in (parallel, one_by_one):
        model.step()
    types = "observation", "action"
    assert sorted(of_agents(parallel.recorder, *types)) == sorted(of_agents(one_by_one.recorder, *types))


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_a_decision_that_is_called_off_leaves_no_events(talkers, mode):
    enable_automatic_parallel_stepping(mode=mode)

    def answer(request):
        return ValueError("no") if seen_by(request) == 2 and not model.log else "yes"

    model = talkers(3, ScriptedLLM(answer), parallel=True)
    with pytest.raises(ParallelStepError):
        model.step()
    assert of_agents(model.recorder, "observation", "action", "message") == []
    model.log.append("go on")
    model.step()
    assert {agent_id for agent_id, _ in of_agents(model.recorder, "observation")} == {1, 2, 3}


def test_the_model_can_be_collected_and_its_file_is_complete_then(talkers):
    model = talkers()
    model.step()
    path, gone = model.recorder.path, weakref.ref(model)
    count = len(model.recorder.events)
    del model
    assert soon(lambda: gone() is None)
    *_, step_end, end = load_recording(path)
    assert step_end.event_type == "step_end"
    assert end.event_type == "simulation_end"
    assert end.content == {"status": "completed", "final_step": 1, "total_events": count}
    assert end.event_id.endswith(f"_{count:06d}")


def test_a_model_without_its_recorder_is_not_recorded(talkers):
    model = talkers()
    recorder, model.recorder = model.recorder, None
    model.step()
    assert len(model.log) == 2
    assert kinds_of(recorder) == ["simulation_start"]
    with pytest.raises(ConfigurationError, match="Talkers is not recorded: its recorder is None"):
        model.save_recording()


def test_save_recording_is_on_the_model(talkers, tmp_path):
    model = talkers()
    model.step()
    assert model.save_recording() == next(tmp_path.glob("*.json"))
    assert model.save_recording("mine.jsonl", format="jsonl") == tmp_path / "mine.jsonl"
