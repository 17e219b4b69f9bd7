"""The sets of tools that mesa-llm's main branch names. All of them are empty there, and so they are here.

They keep models importable that are written for it. Tools of this package are in `mesa_llm.tools.inbuilt_tools`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def default_tools() -> tuple[Callable[..., Any], ...]:
    """No tools."""
    return ()


environment_tools = external_tools = math_tools = social_query_tools = spatial_tools = default_tools
