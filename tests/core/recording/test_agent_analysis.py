"""What a recording looks like in the terminal."""

import io
import json
import runpy
import sys

import pytest
from helpers.recorded import make_talkers
from inline_snapshot import snapshot
from rich.console import Console

from mesa_llm.clients import RuleBasedClient
from mesa_llm.errors import ConfigurationError, RecordingError
from mesa_llm.recording import AgentViewer, SimulationRecorder, quick_agent_view
from mesa_llm.recording.agent_analysis import AgentViewer as ViewerOf03
from mesa_llm.recording.agent_analysis import main


@pytest.fixture
def path(tmp_path):
    model = make_talkers(tmp_path)(2)
    model.step()
    model.recorder.close()
    return model.recorder.path


def viewer_of(path):
    return AgentViewer(path, console=Console(file=io.StringIO(), width=80, color_system=None))


def shown(view, *arguments):
    view(*arguments)
    return view.__self__.console.file.getvalue()


def without_times(text):
    return "\n".join(line.rstrip() for line in text.splitlines() if "·" not in line).strip()


def test_the_timeline_shows_all_events_in_order(path):
    text = shown(viewer_of(path).view_agent_timeline, 1)
    titles = [line.split("·")[2].split()[0] for line in text.splitlines() if "·" in line]
    assert titles == ["state_change", "observation", "action", "message", "message", "state_change"]
    assert without_times(text) == snapshot("""\
Timeline of agent 1
│ internal_state: none → words 0                                               │
╰──────────────────────────────────────────────────────────────────────────────╯
│ self_state:                                                                  │
│   agent_unique_id: 1                                                         │
│   location: none                                                             │
│   internal_state: words 0                                                    │
│ local_state:                                                                 │
│   Talker 2: position none, internal_state words 0                            │
╰──────────────────────────────────────────────────────────────────────────────╯
│ tool: say                                                                    │
│ arguments:                                                                   │
│   words: I am 1                                                              │
│ result: said                                                                 │
╰──────────────────────────────────────────────────────────────────────────────╯
│ message: I am 1                                                              │
│ sender: 1                                                                    │
│ recipient_ids: [2]                                                           │
╰──────────────────────────────────────────────────────────────────────────────╯
│ message: I am 2                                                              │
│ sender: 2                                                                    │
│ recipient_ids: [1]                                                           │
╰──────────────────────────────────────────────────────────────────────────────╯
│ internal_state: words 0 → words 1                                            │
╰──────────────────────────────────────────────────────────────────────────────╯\
""")


def test_conversations_show_both_sides(path):
    text = shown(viewer_of(path).view_agent_conversations, 1)
    assert [line.split("·")[2].strip(" ─╮") for line in text.splitlines() if "·" in line] == ["to 2", "from 2"]
    assert "I am 1" in text
    assert "I am 2" in text


def test_decisions_show_what_was_seen_and_done_step_by_step(path):
    text = shown(viewer_of(path).view_agent_decisions, 2)
    assert text.index("Step 1") < text.index("observation") < text.index("action")
    assert "state_change" not in text


def test_a_summary_counts(path):
    assert without_times(shown(viewer_of(path).view_agent_summary, 1)) == snapshot("""\
Agent 1
events             6
active steps       1
messages sent      1
messages received  1
action             1
message            2
observation        1
state change       2\
""")


def test_the_simulation_and_its_agents(path):
    viewer = viewer_of(path)
    text = shown(viewer.show_simulation_info)
    assert f"Simulation {viewer.metadata['simulation_id']}" in text
    assert "Talkers" in text
    assert "0.00 minutes" in text
    assert "completed" in text
    assert "2 agents" in text
    assert [row.split("│")[1:3] for row in text.splitlines() if row.startswith("│")] == [
        [f" {agent_id}     ", " 6      "] for agent_id in (1, 2)
    ]


def test_a_run_that_has_not_ended_says_so(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "not ended: still running, or crashed" in shown(viewer_of(path).show_simulation_info)


def test_an_agent_that_is_not_there_is_named_with_those_that_are(path):
    viewer = viewer_of(path)
    for view in (
        viewer.view_agent_timeline,
        viewer.view_agent_conversations,
        viewer.view_agent_decisions,
        viewer.view_agent_summary,
    ):
        assert "no events of an agent 9. Agents in it: 1, 2." in shown(view, 9)
        assert "agent 9\n" not in viewer.console.file.getvalue()
        viewer.console.file.truncate(0)


def test_what_models_write_is_shown_as_it_is_and_cannot_work_the_terminal(tmp_path):
    written = "[bold]x[/bold] [/nonsense] \x1b[2J \x07 \x9b31m \u202egnp \u200b \r :smile:"
    client = RuleBasedClient(lambda request: written)
    model = make_talkers(tmp_path)(2, client)
    model.step()
    model.recorder.record_event(written, {written: {written: [written]}}, agent_id=1)
    model.recorder.close()
    viewer = AgentViewer(model.recorder.path, console=Console(file=io.StringIO(), width=400, force_terminal=True))
    for view in (viewer.view_agent_timeline, viewer.view_agent_conversations, viewer.view_agent_summary):
        view(1)
    viewer.show_simulation_info()
    text = viewer.console.file.getvalue()
    assert r"[bold]x[/bold] [/nonsense] \x1b[2J \x07 \x9b31m \u202egnp \u200b \r :smile:" in text
    assert not {"\x07", "\x9b", "\u202e", "\u200b", "\r"} & set(text)
    assert "\x1b[2J" not in text


def test_messages_recorded_by_hand_or_by_0_3_are_the_senders_and_stand_for_all(tmp_path):
    model = make_talkers(tmp_path)(2)
    model.recorder.record_event("message", "by hand", agent_id=1, recipient_ids=[2, 3])
    model.recorder.close()
    viewer = viewer_of(model.recorder.path)
    assert viewer.agent_ids == [1, 2, 3]
    assert "to 2, 3" in shown(viewer.view_agent_conversations, 1)
    assert "from 1" in shown(viewer.view_agent_conversations, 3)
    assert "messages received  1" in shown(viewer.view_agent_summary, 2)


def test_an_agent_without_messages(tmp_path):
    model = make_talkers(tmp_path)(1)
    model.step()
    model.recorder.close()
    assert "neither sent nor received" in shown(viewer_of(model.recorder.path).view_agent_conversations, 1)


def test_interactive_mode_answers_until_quit(path, monkeypatch):
    commands = iter(
        ["list", "info", "2", "summary 2", "summary two", "summary", "", "help", "timeline 9", "quit", "list"]
    )
    monkeypatch.setattr("builtins.input", lambda: next(commands))
    text = shown(viewer_of(path).interactive_mode)
    assert text.count("2 agents") == 4  # the simulation and its agents at first, then as asked
    assert text.count("Agent 2\n") == 2
    assert "There is no command 'summary'. Commands:" in " ".join(text.split())
    assert "An agent is named by its number, not 'two'." in text
    assert " ".join(text.split()).count("Commands: info, list, an agent's number, summary AGENT") == 4
    assert "no events of an agent 9" in text
    assert next(commands) == "list"


@pytest.mark.parametrize("ending", [EOFError, KeyboardInterrupt])
def test_interactive_mode_ends_with_its_input(path, monkeypatch, ending):
    def read():
        raise ending

    monkeypatch.setattr("builtins.input", read)
    viewer_of(path).interactive_mode()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "2 agents"),
        ((1,), "Agent 1"),
        ((1, "timeline"), "Timeline of agent 1"),
        ((1, "conversations"), "Conversations of agent 1"),
        ((1, "decisions"), "Decisions of agent 1"),
        ((1, "info"), "2 agents"),
    ],
)
def test_quick_view(path, arguments, expected):
    console = Console(file=io.StringIO(), width=80)
    quick_agent_view(path, *arguments, console=console)
    assert expected in console.file.getvalue()


def test_a_quick_view_that_is_not_there_is_an_error(path):
    with pytest.raises(RecordingError, match=r"no events of an agent 9. Agents in it: 1, 2."):
        quick_agent_view(path, 9)
    with pytest.raises(ConfigurationError, match=r"view_type must be 'summary', .* or 'info', got 'film'"):
        quick_agent_view(path, 1, "film")


def test_the_command_line(path, capsys, tmp_path):
    assert main([str(path), "--agent", "1", "--view", "conversations"]) == 0
    assert "Conversations of agent 1" in capsys.readouterr().out
    assert main([str(path), "--agent", "9"]) == 1
    assert "no events of an agent 9" in capsys.readouterr().err
    assert main([str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_the_command_line_asks(path, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda: "q")
    assert main([str(path), "--interactive"]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_it_runs_as_a_module(path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["agent_analysis", str(path)])
    monkeypatch.delitem(sys.modules, "mesa_llm.recording.agent_analysis")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("mesa_llm.recording.agent_analysis", run_name="__main__")
    assert ended.value.code == 0
    assert "2 agents" in capsys.readouterr().out


def test_what_mesa_llm_0_3_has_saved_is_shown(tmp_path):
    event = {"event_id": "x_0", "timestamp": "2025-06-23 05:06:20+00:00", "step": 1, "agent_id": 1, "metadata": None}
    events = [
        event | {"event_type": "message", "content": {"message": "hi", "recipient_ids": [2]}},
        event | {"event_type": "plan", "content": {"data": "a plan"}},
    ]
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"metadata": {"simulation_id": "x", "total_agents": 2}, "events": events}))
    viewer = ViewerOf03(path, console=Console(file=io.StringIO(), width=80))
    assert "a plan" in shown(viewer.view_agent_decisions, 1)
    assert "from 1" in shown(viewer.view_agent_conversations, 2)


def test_long_lists_of_agents_are_cut(tmp_path):
    model = make_talkers(tmp_path)(0)
    recorder: SimulationRecorder = model.recorder
    for agent_id in range(30):
        recorder.record_event("note", "x", agent_id=agent_id)
    recorder.close()
    with pytest.raises(RecordingError, match=r"Agents in it: 0, 1, .*, 19, …\."):
        quick_agent_view(recorder.path, 99)
