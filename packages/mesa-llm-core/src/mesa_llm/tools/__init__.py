"""Tools: functions that a model can call."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.tools import inbuilt_tools  # noqa: F401 - its tools are global
from mesa_llm.tools.defaults import (
    default_tools,
    environment_tools,
    external_tools,
    math_tools,
    social_query_tools,
    spatial_tools,
)
from mesa_llm.tools.tool_decorator import tool
from mesa_llm.tools.tool_manager import ToolManager
from mesa_llm.tools.tool_manager import ToolResult as ToolResult
from mesa_llm.tools.visible import FreeDirection, VisibleAgent, VisibleAgentId, VisibleCell

__all__ = [
    "FreeDirection",
    "ToolManager",
    "VisibleAgent",
    "VisibleAgentId",
    "VisibleCell",
    "default_tools",
    "environment_tools",
    "external_tools",
    "math_tools",
    "social_query_tools",
    "spatial_tools",
    "tool",
]
