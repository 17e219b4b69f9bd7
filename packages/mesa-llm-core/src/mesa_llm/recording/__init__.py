"""What happened in a simulation, event by event: recorded to a file while it runs, read and shown afterwards."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.recording.agent_viewer import AgentViewer, quick_agent_view
from mesa_llm.recording.event import SimulationEvent
from mesa_llm.recording.load import load_recording, recording_to_dataframe
from mesa_llm.recording.record_model import record_model
from mesa_llm.recording.simulation_recorder import SimulationRecorder

__all__ = [
    "AgentViewer",
    "SimulationEvent",
    "SimulationRecorder",
    "load_recording",
    "quick_agent_view",
    "record_model",
    "recording_to_dataframe",
]
