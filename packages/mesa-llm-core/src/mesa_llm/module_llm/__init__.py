"""One agent's handle on a language model."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.module_llm.connect import connect, shared_client
from mesa_llm.module_llm.dialogue import Dialogue, aconverse, converse
from mesa_llm.module_llm.module_llm import ModuleLLM
from mesa_llm.module_llm.offered_tool import OfferedTool
from mesa_llm.module_llm.sampling import SamplingOptions
from mesa_llm.module_llm.structured import ask_structured, read_structured
from mesa_llm.module_llm.tool_modes import ToolMode

__all__ = [
    "Dialogue",
    "ModuleLLM",
    "OfferedTool",
    "SamplingOptions",
    "ToolMode",
    "aconverse",
    "ask_structured",
    "connect",
    "converse",
    "read_structured",
    "shared_client",
]
