"""The command `report`."""

import shutil
import subprocess
import sys
import webbrowser

import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from mesa_llm_examples import cli


def test_a_page_and_a_picture_are_made_beside_the_file(here, recorded, tmp_path):
    path = shutil.copy(recorded, tmp_path)
    status, output, errors = here("report", path)
    assert (status, errors) == (0, "")
    assert output.split() == [str(tmp_path / "run.html"), str(tmp_path / "run.png")]
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "Five &amp; one" in (tmp_path / "run.html").read_text()


def test_they_are_made_in_another_folder(here, recorded, tmp_path):
    status, _, _ = here("report", recorded, "--output", tmp_path / "new" / "folder")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["run.html", "run.png"]


def test_the_slowest_step_is_drawn_or_the_one_that_is_chosen(here, changed, lines):
    for line in lines[1:-1]:
        line["seconds"] = 9.0 if line["step"] == 2 else 1.0
    path = changed(lines)
    page = path.with_suffix(".html")
    here("report", path)
    assert "Step 2, the slowest one." in page.read_text()
    here("report", path, "--step", "3")
    assert "Step 3. A lane" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "9"], "--step 9 cannot be drawn agent by agent. Steps 1 to 3 can."),
        (["--output", "/dev/null/nowhere"], "cannot be written: Not a directory"),
    ],
)
def test_bad_arguments(here, recorded, arguments, message):
    status, _, errors = here("report", recorded, *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors


def test_a_step_of_a_run_one_agent_at_a_time_cannot_be_chosen(here, changed, lines):
    for line in lines[1:-1]:
        line["reports"] = []
    status, _, errors = here("report", changed(lines), "--step", "1")
    assert status == 2
    assert "No step ran in parallel." in errors


def test_a_file_that_is_no_run_is_one_line(here, tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    status, _, errors = here("report", tmp_path / "notes.txt")
    assert status == 2
    assert "notes.txt is no run" in errors


def test_a_record_is_not_overwritten_by_its_report(here, recorded, tmp_path):
    path = shutil.copy(recorded, tmp_path / "run.html")
    status, _, errors = here("report", path)
    assert status == 2
    assert f"would overwrite {path}" in errors
    assert path.read_text() == recorded.read_text()


def test_without_matplotlib_it_says_what_to_install(here, recorded, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    status, _, errors = here("report", recorded)
    assert status == 2
    assert 'pip install "mesa-llm-examples[report]"' in errors


@pytest.mark.parametrize(("flags", "opened"), [([], False), (["--open"], True)])
def test_a_browser_shows_the_page_only_on_request(here, recorded, tmp_path, monkeypatch, flags, opened):
    shown = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    here("report", recorded, "--output", tmp_path, *flags)
    assert shown == ([(tmp_path / "run.html").as_uri()] if opened else [])


def test_what_the_command_records_can_be_reported(here, tmp_path):
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-m", "mesa_llm_examples", "run", "opinion", "--people", "8", "--neighbors", "2"]
    subprocess.run(
        [*command, "--steps", "2", "--latency", "0", "--record", path], check=True, stdout=subprocess.DEVNULL
    )
    status, _, errors = here("report", path)
    assert (status, errors) == (0, "")
