"""Recordings read back: whole, torn, broken, foreign; and as data frames."""

import json
import pickle

import pandas as pd
import pytest
from helpers.recorded import make_talkers

from mesa_llm.errors import RecordingError
from mesa_llm.recording import load_recording, recording_to_dataframe


@pytest.fixture
def path(tmp_path):
    model = make_talkers(tmp_path)(2)
    model.step()
    model.recorder.close()
    return model.recorder.path


def test_what_was_recorded_is_read_one_by_one(path):
    events = load_recording(path)
    assert next(events).event_type == "simulation_start"
    *_, last = events
    assert last.event_type == "simulation_end"
    assert last.timestamp.utcoffset().total_seconds() == 0


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_last_line_is_left_out_and_logged(path, cut, caplog):
    whole = list(load_recording(path))
    path.write_bytes(path.read_bytes()[: -1 - cut])
    assert list(load_recording(path)) == whole[:-1]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"the last line ({len(whole) + 1}) is incomplete" in record.message


def test_a_last_line_that_lacks_its_line_break_alone_is_read(path, caplog):
    whole = list(load_recording(path))
    path.write_bytes(path.read_bytes()[:-1])
    assert list(load_recording(path)) == whole
    assert not caplog.records


def test_a_broken_line_in_the_middle_is_an_error_that_says_where(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"event_id": "torn\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(RecordingError, match=r"line 4 is not an event: .*torn"):
        list(load_recording(path))


@pytest.mark.parametrize("event", [{}, {"event_id": 1, "timestamp": "yesterday"}])
def test_an_event_that_lacks_something_is_an_error(path, event):
    with path.open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(RecordingError, match=r"event \d+ cannot be read"):
        list(load_recording(path))


@pytest.mark.parametrize("content", ["", "text", "[1]\n", "3", '{"a": 1}\n{"b": 2}\n', '{"a": 1}'])
def test_a_file_that_is_no_recording_is_refused_at_once(tmp_path, content):
    (tmp_path / "x").write_text(content)
    with pytest.raises(RecordingError, match="is not a recording"):
        load_recording(tmp_path / "x")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_recording(tmp_path / "x")


class Exploding:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_no_pickle_is_read(tmp_path):
    (tmp_path / "old.pkl").write_bytes(pickle.dumps({"metadata": Exploding(), "events": []}))
    with pytest.raises(RecordingError, match=r"is a pickle, .* Save the recording in mesa-llm 0.3 with format='json'"):
        load_recording(tmp_path / "old.pkl")


def test_a_recording_of_a_later_version_is_refused(path):
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2', 1))
    with pytest.raises(RecordingError, match="schema version 2, and this version of mesa-llm-core reads 1: update"):
        load_recording(path)


OF_0_3 = {
    "metadata": {"simulation_id": "ca45dffb", "model_class": "Town", "total_steps": 1},
    "events": [
        {
            "event_id": "ca45dffb_000000",
            "timestamp": "2025-06-23 05:06:20.123456+00:00",
            "step": 1,
            "agent_id": 1,
            "event_type": "message",
            "content": {"message": "hi", "recipient_ids": [2]},
            "metadata": None,
        }
    ],
    "agent_summaries": {},
}


@pytest.mark.parametrize("indent", [None, 2])
def test_what_mesa_llm_0_3_has_saved_is_read(tmp_path, indent):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(OF_0_3, indent=indent))
    (event,) = load_recording(path)
    assert (event.agent_id, event.metadata, event.timestamp.year) == (1, {}, 2025)


def test_as_a_data_frame(path):
    frame = recording_to_dataframe(path)
    assert list(frame) == ["event_id", "timestamp", "step", "agent_id", "event_type", "content", "metadata"]
    assert len(frame) == len(list(load_recording(path)))
    assert isinstance(frame["timestamp"].dtype, pd.DatetimeTZDtype)
    assert (frame["step"].dtype, frame["agent_id"].dtype) == ("int64", "Int64")
    assert frame["agent_id"].isna().sum() == 4  # of the model
    assert frame.groupby("agent_id")["event_id"].count().to_dict() == {1: 6, 2: 6}
    messages = pd.json_normalize(frame[frame.event_type == "message"]["content"].to_list())
    assert set(messages["sender"]) == {1, 2}


def test_a_recording_without_events_is_an_empty_frame(path):
    path.write_text(path.read_text().splitlines()[0] + "\n")
    frame = recording_to_dataframe(path)
    assert frame.empty
    assert frame["agent_id"].dtype == "Int64"
