"""What happened in a simulation, event by event: recorded to a file while it runs, read and shown afterwards."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.recording.agent_viewer import AgentViewer, quick_agent_view
from mesa_llm.recording.events import SimulationEvent, load_recording, recording_to_dataframe
from mesa_llm.recording.record_model import record_model
from mesa_llm.recording.simulation_recorder import SimulationRecorder
from mesa_llm.recording.state import StateDifference, state_difference, state_hash

__all__ = [
    "AgentViewer",
    "SimulationEvent",
    "SimulationRecorder",
    "StateDifference",
    "load_recording",
    "quick_agent_view",
    "record_model",
    "recording_to_dataframe",
    "state_difference",
    "state_hash",
]
