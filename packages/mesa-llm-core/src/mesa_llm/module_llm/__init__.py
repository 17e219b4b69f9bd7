"""One agent's handle on a language model."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.module_llm.connect import connect
from mesa_llm.module_llm.module_llm import ModuleLLM
from mesa_llm.module_llm.request_fields import SamplingOptions
from mesa_llm.module_llm.tool_modes import ToolMode

__all__ = ["ModuleLLM", "SamplingOptions", "ToolMode", "connect"]
