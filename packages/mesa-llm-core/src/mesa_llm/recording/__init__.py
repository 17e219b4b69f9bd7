"""What happened in a simulation, event by event: recorded to a file while it runs, read and shown afterwards."""

from typing import TYPE_CHECKING

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.recording.events import SimulationEvent, load_recording, recording_to_dataframe
from mesa_llm.recording.record_model import record_model, record_run
from mesa_llm.recording.simulation_recorder import SimulationRecorder
from mesa_llm.recording.state import state_difference, state_hash

if TYPE_CHECKING:
    from mesa_llm.recording.agent_analysis import AgentViewer, quick_agent_view

__all__ = [
    "AgentViewer",
    "SimulationEvent",
    "SimulationRecorder",
    "load_recording",
    "quick_agent_view",
    "record_model",
    "record_run",
    "recording_to_dataframe",
    "state_difference",
    "state_hash",
]

if not TYPE_CHECKING:  # to a type checker, a module with `__getattr__` has every name

    def __getattr__(name: str) -> object:
        if name not in ("AgentViewer", "quick_agent_view"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from mesa_llm.recording import agent_analysis  # noqa: PLC0415 - imports rich, which only viewers need

        return getattr(agent_analysis, name)
