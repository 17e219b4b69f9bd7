"""What was recorded of a run is read back, and what is no such record is refused with a line that says so."""

import json

import pytest

from mesa_llm.errors import RecordingError
from mesa_llm_examples.reports.run_file import read_run


def test_what_was_written_is_read(recorded):
    run = read_run(recorded)
    assert run.run.headline == "Five & one"
    assert run.run.options["citizens"] == 5
    assert [line.step for line in run.steps] == [0, 1, 2, 3]
    assert [sum(line.states.values()) for line in run.steps] == [5] * 4
    assert [report.failures for report in run.reports()] == [0, 1, 0]
    assert run.end.calls == sum(line.calls for line in run.steps)
    assert run.status == "completed"


def test_a_run_without_an_end_is_unfinished(recorded, changed, lines):
    run = read_run(changed(lines[:-2]))
    assert [line.step for line in run.steps] == [0, 1, 2]
    assert run.end is None
    assert run.status == "unfinished"


def test_a_line_that_was_cut_is_left_out(recorded, tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_text(recorded.read_text()[:-200])
    assert [line.step for line in read_run(path).steps] == [0, 1, 2, 3]
    assert read_run(path).end is None


def test_a_line_that_was_cut_within_a_character_is_left_out(changed, lines, tmp_path):
    lines[-1]["result"] = "Zwölf"
    data = json.dumps(lines[-1], ensure_ascii=False).encode()
    path = changed(lines[:-1])
    with path.open("ab") as stream:
        stream.write(data[: data.index("ö".encode()) + 1])
    assert [line.step for line in read_run(path).steps] == [0, 1, 2, 3]
    assert read_run(path).end is None


def test_a_last_line_without_its_line_break_is_read(recorded, tmp_path):
    path = tmp_path / "whole.jsonl"
    path.write_text(recorded.read_text().rstrip("\n"))
    assert read_run(path) == read_run(recorded)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("hello\n", "is no run"),
        ('{"type": "step", "step": 1, "states": {}}\n', "does not begin as a run does"),
        ('{"simulation_id": "1f2e3d4c", "schema_version": 1}\n', "is a recording of what agents did"),
        ("half a li", "does not begin as a run does"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, text, message):
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError, match=message) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "run NAME --record FILE" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        read_run(tmp_path / "nothing.jsonl")


def test_a_picture_is_no_run(tmp_path):
    path = tmp_path / "run.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(RecordingError, match="is no run"):
        read_run(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.pop("step"), "line 3, cannot be read: step.step: Field required"),
        (lambda line: line["states"].update(quiet="many"), "line 3, cannot be read: step.states.quiet"),
        (lambda line: line["reports"][0].pop("agents"), "line 3, cannot be read: .*no step report"),
        (lambda line: line.update(type="other"), "line 3, cannot be read"),
    ],
)
def test_a_line_that_is_wrong_is_named(changed, lines, change, message):
    change(lines[2])
    with pytest.raises(RecordingError, match=message):
        read_run(changed(lines))


def test_a_newer_file_is_refused(changed, lines):
    lines[0]["schema_version"] = 2
    with pytest.raises(RecordingError, match="schema_version"):
        read_run(changed(lines))


def test_what_a_later_version_adds_is_passed_over(changed, lines):
    lines[1]["weather"] = "fine"
    assert read_run(changed(lines)).steps[0].step == 0
