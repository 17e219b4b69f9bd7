"""What a terminal, a record and a report show: no password of an address, no control codes of a server or a file."""

import json

import pytest

from mesa_llm.errors import DecisionError, JournalMissError
from mesa_llm.errors.shown_text import is_control
from mesa_llm.testing import FakeOpenAIServer, Fault
from mesa_llm_examples.apps.session import Choices
from mesa_llm_examples.reports import plots
from mesa_llm_examples.reports.run_file import read_run
from mesa_llm_examples.setting import ModelConnection
from mesa_llm_examples.words import in_one_line, lines_below

PASSWORD = "hunter2-secret-password"
STEERING = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x08 \u202egnp.exe"
SMALL = ("run", "civil-violence", "--citizens", "3", "--cops", "1", "--steps", "1", "--seed", "1")


def assert_fit(text):
    assert PASSWORD not in text
    assert not [code for code in text if is_control(code) and code not in "\n\t"]


@pytest.mark.parametrize("output", [["--json"], []])
def test_neither_output_nor_files_of_a_run(output, here, tmp_path):
    record = tmp_path / "run.sqlite"
    with FakeOpenAIServer(Fault(status=400, body={"error": {"message": f"{STEERING} {PASSWORD}"}})) as server:
        base = server.url.replace("//", f"//me:{PASSWORD}@") + f"?api-key={PASSWORD}"
        way = ("--model", "openai/m", "--api-base", base, "--max-attempts", "1")
        status, *shown = here(*SMALL, *way, "--record", record, *output)
        shown = "".join(shown)
    assert status == 2
    assert "status 400: red gnp.exe ***" in shown
    assert_fit(shown)
    run = read_run(record)
    assert "http://***@127.0.0.1" in run.run.decisions
    assert_fit(run.model_dump_json())
    for path in tmp_path.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        (*SMALL, "--model", "openai/m", "--api-base", f"htp://me:{PASSWORD}@host/v1"),
        (*SMALL, "--model", "nobody/m", "--api-base", f"http://me:{PASSWORD}@127.0.0.1:9/v1"),
        ("compare", *SMALL[1:], "--mode", "off", "--model", "openai/m", "--api-base", f"me:{PASSWORD}@127.0.0.1:9"),
        (*SMALL, f"http://me:{PASSWORD}@host/v1{STEERING}"),
    ],
)
def test_an_address_that_does_not_work(arguments, here):
    status, *shown = here(*arguments)
    shown = "".join(shown)
    assert status == 2
    assert_fit(shown)


def test_a_report_of_a_file_that_somebody_else_has_written(here, tmp_path, monkeypatch):
    record = tmp_path / "run.jsonl"
    status, output, _ = here(*SMALL, "--latency", "0", "--json")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    lines[0]["decisions"] = f"openai/m at http://me:{PASSWORD}@host{STEERING}"
    lines[0]["headline"] += STEERING
    lines[0]["options"]["model"] = STEERING
    lines[-1] |= {"status": "failed", "error": f"http://h/?key={PASSWORD}{STEERING}", "result": STEERING}
    for line in lines[1:-1]:
        line["states"][f"active{STEERING}"] = line["states"].pop("active")
        for report in line["reports"]:
            report["agents"][0]["agent_class"] += STEERING
    record.write_text("\n".join(map(json.dumps, lines)))
    drawn = []
    save = plots.Figure.savefig
    monkeypatch.setattr(
        plots.Figure, "savefig", lambda figure, *args, **more: drawn.append(figure) or save(figure, *args, **more)
    )
    status, *shown = here("report", record)
    shown = "".join(shown)
    assert status == 0
    assert_fit(shown)
    assert_fit(record.with_suffix(".html").read_text())
    assert_fit("".join(text.get_text() for figure in drawn for text in figure.findobj(plots.mpl.text.Text)))
    assert "http://***@host" in read_run(record).run.decisions


def test_errors_in_one_line_and_what_is_below():
    assert in_one_line(DecisionError(f"the model says {STEERING}")) == "the model says red gnp.exe"
    assert lines_below(JournalMissError(f"missed\n+ {STEERING}\n- b")) == ["+ red gnp.exe", "- b"]


def test_what_holds_an_address_does_not_show_it():
    base = f"http://me:{PASSWORD}@host/v1"
    connection = ModelConnection(model="openai/m", api_base=base)
    assert str(connection) == "Decisions: openai/m at http://***@host/v1."
    assert_fit(repr(connection) + repr(Choices(api_base=base)))
