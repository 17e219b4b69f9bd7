"""The recorder itself: what it writes, how it is read back, copies, and what happens if the disk does not play along."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from helpers.recorded import Talker, make_talkers
from mesa import Model

from mesa_llm.errors import ConfigurationError
from mesa_llm.recording import SimulationEvent, SimulationRecorder, load_recording, record_model
from mesa_llm.recording.events import open_recording
from mesa_llm.recording.writer import EventWriter


@pytest.fixture
def recorder(tmp_path):
    recorder = SimulationRecorder(Model(), tmp_path / "recordings")
    yield recorder
    recorder.close()


def lines(recorder):
    return recorder.path.read_text().splitlines()


def kinds(events):
    return [event.event_type for event in events]


def test_nothing_is_on_disk_before_the_first_event(recorder):
    assert not recorder.output_dir.exists()
    assert list(recorder.events) == []
    recorder.record_event("note", "a")
    recorder.flush()
    assert recorder.path.parent == recorder.output_dir


def test_the_first_line_says_what_is_recorded_with_what(recorder):
    recorder.record_event("note", "a")
    recorder.flush()
    metadata = json.loads(lines(recorder)[0])["metadata"]
    assert metadata == recorder.simulation_metadata
    assert metadata["simulation_id"] == recorder.simulation_id
    assert metadata["start_time"] == recorder.start_time.isoformat()
    assert metadata["model_class"] == "Model"
    assert metadata["schema_version"] == 1
    assert metadata["versions"].keys() >= {"mesa", "mesa-llm-core", "mesa-llm-parallel", "python"}


def test_two_recorders_have_two_files_and_none_is_overwritten(tmp_path, caplog):
    first, second = (SimulationRecorder(Model(), tmp_path) for _ in range(2))
    assert first.path != second.path
    second.path.write_text("somebody's")
    second.record_event("note", "a")
    second.flush()
    assert second.path.read_text() == "somebody's"
    assert isinstance(second.error, FileExistsError)
    assert "somebody" not in caplog.text


def test_contents_are_recorded_as_in_0_3(recorder):
    recorder.record_event("note", "text", agent_id=3, metadata={"by": "hand"})
    recorder.record_event("note", {"a": 1})
    recorder.record_event("note")
    recorder.record_event("message", "hi", agent_id=3, recipient_ids=[4])
    recorder.record_event("message", {"nested": True}, agent_id=3)
    recorder.record_model_event("weather", {"rain": True})
    assert [(e.agent_id, e.content, e.metadata) for e in recorder.events[1:]] == [
        (3, {"data": "text"}, {"by": "hand"}),
        (None, {"a": 1}, {}),
        (None, {"data": None}, {}),
        (3, {"message": "hi", "recipient_ids": [4]}, {}),
        (3, {"message": {"nested": True}, "recipient_ids": []}, {}),
        (None, {"rain": True}, {"source": "model"}),
    ]
    assert [e.event_id for e in recorder.events[:2]] == [f"{recorder.simulation_id}_00000{n}" for n in (0, 1)]


def test_events_are_read_from_the_file_and_not_held(recorder):
    for number in range(1000):
        recorder.record_event("note", f"{number} " + "x" * 1000)
    events = recorder.events
    assert len(events) == 1001
    assert events[-1].content["data"].startswith("999 ")
    assert [e.content["data"][:2] for e in events[1:6:2]] == ["0 ", "2 ", "4 "]
    assert events[0] in events
    with pytest.raises(IndexError):
        events[1001]
    held = [o for o in gc.get_objects() if isinstance(o, SimulationEvent)]
    assert len(held) < 10
    assert not recorder._writer._held


def test_reading_while_recording_sees_what_was_there(recorder):
    recorder.record_event("note", 1)
    seen = iter(recorder.events)
    recorder.record_event("note", 2)
    recorder.flush()
    assert len(list(seen)) == 2
    assert len(list(recorder.events)) == 3


def test_events_are_found_by_agent_type_and_step(recorder):
    recorder.record_event("note", 1, agent_id=3)
    recorder.record_event("plan", 2, agent_id=3)
    recorder.record_event("note", 3, agent_id=4)
    assert [e.content["data"] for e in recorder.get_agent_events(3)] == [1, 2]
    assert [e.content["data"] for e in recorder.get_events_by_type("note")] == [1, 3]
    assert len(recorder.get_events_by_step(0)) == 4
    assert recorder.get_events_by_step(1) == []
    exported = recorder.export_agent_memory(3)
    assert [e["content"] for e in exported["events"]] == [{"data": 1}, {"data": 2}]
    first, last = (e["timestamp"].isoformat() for e in exported["events"])
    assert exported["agent_id"] == 3
    assert exported["summary"] == {
        "total_events": 2,
        "event_types": ["note", "plan"],
        "active_steps": [0],
        "first_event": first,
        "last_event": last,
    }
    assert recorder.export_agent_memory(5)["summary"]["first_event"] is None


def test_stats(recorder):
    recorder.record_event("note", 1, agent_id=3)
    recorder.record_event("note", 2, agent_id=3)
    stats = recorder.get_stats()
    assert isinstance(stats.pop("recording_duration_minutes"), float)
    assert stats == {
        "total_events": 3,
        "lost_events": 0,
        "unique_agents": 1,
        "event_types": ["note", "simulation_start"],
        "simulation_steps": 0,
        "events_per_agent": {3: 2},
    }


@dataclass
class Point:
    x: int
    y: object


class Rude:
    def __str__(self):
        raise RuntimeError("no")


def test_whatever_is_recorded_becomes_json_and_nothing_raises(recorder):
    loop = []
    loop.append(loop)
    agent = Talker(type("M", (Model,), {"log": []})(), None)
    content = {
        "numpy": [np.int64(3), np.float64(0.5), np.array([[1, 2]]), np.bool_(True)],
        "set": {"b", "a", 2},
        "tuple": (1, None, True),
        ("key", 1): MappingProxyType({2: "two"}),
        "nan": [float("nan"), float("inf")],
        "dataclass": Point(1, "y"),
        "agent": agent,
        "class": Point,
        "surrogate": "\ud800 ü 🙂",
        "lines": "a\nb\u2028c",
    }
    recorder.record_event("note", content)
    recorder.record_event("note", {"loop": loop, "rude": Rude()})
    recorder.flush()
    first, second = recorder.events[1:]
    assert first.content == {
        "numpy": [3, 0.5, [[1, 2]], True],
        "set": [2, "a", "b"],
        "tuple": [1, None, True],
        "['key', 1]": {"2": "two"},
        "nan": ["nan", "inf"],
        "dataclass": {"x": 1, "y": "y"},
        "agent": "Talker 1",
        "class": "Point",
        "surrogate": "\ud800 ü 🙂",
        "lines": "a\nb\u2028c",
    }
    assert second.content == {"loop": ["…"], "rude": "Rude"}
    assert recorder.path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("interval", [0, -3])
def test_an_interval_is_at_least_one_event(tmp_path, interval):
    with pytest.raises(ConfigurationError, match=f"at least 1 event, got {interval}"):
        SimulationRecorder(Model(), tmp_path, auto_save_interval=interval)


def test_events_are_on_disk_after_the_interval_at_the_latest(tmp_path):
    recorder = SimulationRecorder(Model(), tmp_path, auto_save_interval=2)
    recorder.record_event("note", 1)
    assert len(lines(recorder)) == 3
    recorder.record_event("note", 2)
    assert len(lines(recorder)) == 3
    recorder.record_event("note", 3)
    assert len(lines(recorder)) == 5


def test_events_are_on_disk_at_the_end_of_each_step(tmp_path):
    model = make_talkers(tmp_path)(1)
    assert not model.recorder.path.exists()
    model.step()
    assert len(lines(model.recorder)) == len(model.recorder.events) + 1


def test_close_ends_the_simulation_and_a_later_event_goes_on_with_it(recorder):
    recorder.record_event("note", 1)
    recorder.close()
    recorder.close()
    assert kinds(load_recording(recorder.path)) == ["simulation_start", "note", "simulation_end"]
    recorder.record_event("note", 2)
    recorder.flush()
    assert kinds(load_recording(recorder.path)) == ["simulation_start", "note", "note"]
    recorder.close()
    assert kinds(load_recording(recorder.path)) == ["simulation_start", "note", "note", "simulation_end"]


@pytest.mark.parametrize(("steps", "status"), [(1, "interrupted"), (2, "completed")])
def test_a_model_that_knows_its_last_step_is_completed_or_interrupted(tmp_path, steps, status):
    model = make_talkers(tmp_path)(1)
    model.max_steps = 2
    for _ in range(steps):
        model.step()
    saved = json.loads(model.save_recording("x.json").read_text())
    assert saved["metadata"]["completion_status"] == status
    model.recorder.close()
    assert list(load_recording(model.recorder.path))[-1].content["status"] == status


def test_saved_as_one_document_as_in_0_3(tmp_path):
    model = make_talkers(tmp_path)(2)
    model.step()
    path = model.save_recording()
    saved = json.loads(path.read_text())
    assert path.suffix == ".json"
    assert saved.keys() == {"metadata", "events", "agent_summaries"}
    count = len(model.recorder.events)
    assert saved["metadata"]["total_events"] == count == len(saved["events"]) - 1
    assert (saved["metadata"]["total_steps"], saved["metadata"]["total_agents"]) == (1, 2)
    assert saved["metadata"]["completion_status"] == "unknown"
    assert {"end_time", "duration_minutes", "simulation_id", "start_time", "model_class"} <= saved["metadata"].keys()
    assert saved["agent_summaries"]["1"] == model.recorder.export_agent_memory(1)["summary"]
    assert saved["events"][-1]["event_type"] == "simulation_end"
    assert list(load_recording(path))[:-1] == list(model.recorder.events)


def test_saved_as_json_lines(recorder, tmp_path):
    recorder.record_event("note", 1)
    path = recorder.save(tmp_path / "copy.jsonl", format="jsonl")
    assert path == tmp_path / "copy.jsonl"
    *copied, end = load_recording(path)
    assert copied == list(recorder.events)
    assert end.event_type == "simulation_end"
    assert open_recording(path).metadata["total_events"] == 2
    assert kinds(recorder.events)[-1] == "note"  # the recording itself goes on


def test_saving_twice_replaces_the_file_and_leaves_nothing_else(recorder, tmp_path):
    for number in range(2):
        recorder.record_event("note", number)
        recorder.save(tmp_path / "saved" / "x.json")
    assert [file.name for file in (tmp_path / "saved").iterdir()] == ["x.json"]
    assert kinds(load_recording(tmp_path / "saved" / "x.json")).count("note") == 2


@pytest.mark.parametrize("name", ["pickle", "csv"])
def test_no_pickle_is_written(recorder, name):
    recorder.record_event("note", 1)
    with pytest.raises(ConfigurationError, match=f"must be 'json' or 'jsonl', got '{name}'") as error:
        recorder.save(format=name)
    assert ("run any code" in str(error.value)) == (name == "pickle")


def test_the_recording_is_not_saved_onto_itself(recorder):
    recorder.record_event("note", 1)
    with pytest.raises(ConfigurationError, match="choose another name"):
        recorder.save(recorder.path.name, format="jsonl")
    assert len(recorder.events) == 2


def test_a_folder_that_cannot_be_made_does_not_end_the_simulation(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    model = make_talkers(tmp_path / "file")(2)
    model.step()
    model.step()
    assert len(model.log) == 4
    assert isinstance(model.recorder.error, OSError)
    assert model.recorder.lost_events > 20
    assert model.recorder.get_stats()["lost_events"] == model.recorder.lost_events
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "cannot be written, so this and all later events are lost" in record.message
    assert list(model.recorder.events) == []
    path = model.save_recording(tmp_path / "x.json")
    assert json.loads(path.read_text())["metadata"]["lost_events"] == model.recorder.lost_events


class FullDisk:
    """A file on a disk that takes so many bytes more, in small pieces."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        count = self.file.write(data[: min(10, self.room)])
        self.room -= count
        return count

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_on_a_full_disk_whole_events_stay_and_the_rest_is_counted(recorder, caplog):
    recorder.record_event("note", "kept")
    recorder.flush()
    recorder._writer._file = FullDisk(recorder._writer._file, room=250)
    recorder.record_event("note", "lost")
    recorder.record_event("note", "lost")
    recorder.flush()
    recorder.record_event("note", "lost")
    recorder.flush()
    recorder.close()
    assert kinds(load_recording(recorder.path)) == kinds(recorder.events) == ["simulation_start", "note"]
    assert (recorder.lost_events, recorder.error.errno, len(caplog.records)) == (3, 28, 1)


def test_an_end_that_does_not_fit_is_left_out(recorder, caplog):
    recorder.record_event("note", "kept")
    recorder.flush()
    recorder._writer._file = FullDisk(recorder._writer._file, room=20)
    recorder.close()
    assert kinds(load_recording(recorder.path)) == ["simulation_start", "note"]
    assert recorder.error is not None


def test_several_threads_record_at_once_without_mixing_lines(recorder):
    def record(number):
        for _ in range(200):
            recorder.record_event("note", "x" * 500, agent_id=number)

    threads = [threading.Thread(target=record, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = list(recorder.events)
    assert len(events) == 801
    assert [int(e.event_id.split("_")[1]) for e in events] == list(range(801))


@record_model
class Picklable(Model):
    def __init__(self):
        super().__init__()
        self.log = []
        Talker(self, None)

    def step(self):
        for agent in self.agents:
            agent.memory.add_to_memory("note", {"w": "x"})


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_records_to_a_file_of_its_own(tmp_path, monkeypatch, copied):
    monkeypatch.chdir(tmp_path)
    model = Picklable()
    model.step()
    before = list(model.recorder.events)
    other = copied(model)
    assert other.recorder.model is other
    assert not other.recorder.path.exists()
    other.step()
    model.step()
    assert other.recorder.path != model.recorder.path
    assert open_recording(other.recorder.path).metadata["copied_from"] == model.recorder.simulation_id
    assert kinds(other.recorder.events) == ["simulation_start", "step_start", "note", "step_end"]
    assert {e.step for e in other.recorder.events} == {2}
    assert list(model.recorder.events)[: len(before)] == before
    assert kinds(model.recorder.events) == [*kinds(before), "step_start", "note", "step_end"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_records_to_a_file_of_its_own(tmp_path):
    """In a process of its own: forking one that has threads warns."""
    program = textwrap.dedent(
        """
        import gc, os, sys
        from mesa import Model
        from mesa_llm.recording import SimulationRecorder
        recorder = SimulationRecorder(Model(), sys.argv[1])
        recorder.record_event("note", "before")
        recorder.flush()
        recorder.record_event("note", "held back at the fork")
        child = os.fork()
        recorder.record_event("note", "child" if child == 0 else "parent")
        if child == 0:
            recorder.close()
            os._exit(0)
        os.waitpid(child, 0)
        """
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    recorded = {
        tuple(e.content["data"] for e in load_recording(file) if e.event_type == "note") for file in tmp_path.iterdir()
    }
    assert recorded == {("before", "held back at the fork", "parent"), ("child",)}


def test_at_the_end_of_the_process_the_file_is_complete(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from mesa import Model
        from mesa_llm.recording import record_model
        Town = record_model(output_dir=sys.argv[1])(type("Town", (Model,), {}))
        town = Town()
        town.step()
        town.recorder.record_event("note", "the last")
        """
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    (file,) = tmp_path.iterdir()
    assert kinds(load_recording(file))[-3:] == ["step_end", "note", "simulation_end"]


def test_what_a_killed_process_has_recorded_up_to_its_last_step_can_be_read(tmp_path):
    program = textwrap.dedent(
        """
        import os, sys
        from mesa import Model
        from mesa_llm.recording import record_model
        Town = record_model(output_dir=sys.argv[1])(type("Town", (Model,), {}))
        town = Town()
        town.step()
        town.recorder.record_event("note", "held back")
        os.kill(os.getpid(), 9)
        """
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    (file,) = tmp_path.iterdir()
    assert kinds(load_recording(file)) == ["simulation_start", "step_start", "step_end"]


def test_reading_recordings_imports_neither_mesa_nor_rich_nor_pandas():
    program = "import sys, mesa_llm.recording; print([m for m in ('mesa', 'rich', 'pandas') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"


def test_a_writer_without_events_leaves_no_file(tmp_path):
    writer = EventWriter(tmp_path / "x.jsonl", {"simulation_id": "x"})
    writer.flush()
    writer.close()
    assert not writer.path.exists()
