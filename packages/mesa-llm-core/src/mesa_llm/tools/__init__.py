"""Tools: functions that a model can call."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.tools import inbuilt_tools  # noqa: F401 - its tools are global
from mesa_llm.tools.defaults import default_tools as default_tools
from mesa_llm.tools.defaults import environment_tools as environment_tools
from mesa_llm.tools.defaults import external_tools as external_tools
from mesa_llm.tools.defaults import math_tools as math_tools
from mesa_llm.tools.defaults import social_query_tools as social_query_tools
from mesa_llm.tools.defaults import spatial_tools as spatial_tools
from mesa_llm.tools.tool_decorator import tool
from mesa_llm.tools.tool_manager import ToolManager
from mesa_llm.tools.tool_manager import ToolResult as ToolResult
from mesa_llm.tools.visible import FreeDirection, VisibleAgent, VisibleAgentId, VisibleCell

__all__ = ["FreeDirection", "ToolManager", "VisibleAgent", "VisibleAgentId", "VisibleCell", "tool"]
