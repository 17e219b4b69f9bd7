"""A model that is recorded, and its recording read, as users do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_type

import pandas as pd
from mesa import Model

from mesa_llm.journal import Journal, RecordedStep
from mesa_llm.llm_agent import LLMAgent, ask
from mesa_llm.recording import (
    AgentViewer,
    SimulationEvent,
    SimulationRecorder,
    load_recording,
    quick_agent_view,
    record_model,
    record_run,
    recording_to_dataframe,
)
from mesa_llm.runs import Replayed, RunDifference, describe, diff, export_run, replay


@record_model
class Town(Model[LLMAgent, Any]):
    recorder: SimulationRecorder


@record_model(output_dir=Path("runs"), auto_save_interval=100, record_state_changes=False)
class Village(Model[LLMAgent, Any]):
    recorder: SimulationRecorder


def read(town: Town) -> None:
    assert_type(Village(), Village)
    recorder = town.recorder
    recorder.record_event("election", {"winner": 3}, agent_id=3, metadata={"by": "hand"}, recipient_ids=[1])
    recorder.record_model_event("weather", {"rain": True})
    path = recorder.save("town.json", format="json")
    assert_type(path, Path)
    assert_type(recorder.events[0], SimulationEvent)
    assert_type(recorder.events[:2], Sequence[SimulationEvent])
    assert_type(recorder.get_stats(), dict[str, Any])
    for event in load_recording(path):
        print(event.step, event.content["message"])
    frame: pd.DataFrame = recording_to_dataframe("town.json")
    print(len(frame))
    AgentViewer(path).view_agent_timeline(1)
    quick_agent_view(path, 1, "decisions")


def recorder_of(agent: LLMAgent) -> SimulationRecorder | None:
    return agent.recorder


def runs() -> None:
    with record_run(Town, {"people": 3}, path="town.sqlite", mode="resume", run="1", metadata={"note": "x"}) as town:
        assert_type(town, Town)
        frame: pd.DataFrame = ask(town.agents, "How are you?", {"type": "object"})
        print(frame.columns)
    for step in Journal("town.sqlite").steps():
        assert_type(step, RecordedStep)
    replayed = replay("town.sqlite", Town, mode="threading")
    assert_type(replayed, Replayed)
    assert_type(diff("a.sqlite", Path("b.sqlite"), other_run="2"), RunDifference | None)
    assert_type(describe("town.sqlite").odd(), str)
    assert_type(export_run("town.sqlite", "csv", to="tables"), Path)


def misuse(recorder: SimulationRecorder) -> None:
    """What a type checker must find."""
    recorder.save(format="pickle")  # type: ignore[arg-type]
    record_model(folder="x")  # type: ignore[call-overload]
    export_run("town.sqlite", "xml")  # type: ignore[arg-type]
    replay("town.sqlite", "Town")  # type: ignore[arg-type]
