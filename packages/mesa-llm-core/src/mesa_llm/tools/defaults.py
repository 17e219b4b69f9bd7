"""The sets of tools that mesa-llm's main branch names. All of them are empty there, and so they are here.

They keep models importable that are written for it. Tools of this package are in `mesa_llm.tools.inbuilt_tools`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

type Tools = tuple[Callable[..., Any], ...]


def default_tools() -> Tools:
    """The tools of any agent: none."""
    return ()


def environment_tools() -> Tools:
    """The tools for looking at the environment: none."""
    return ()


def external_tools() -> Tools:
    """The tools that reach outside of the model: none."""
    return ()


def math_tools() -> Tools:
    """The tools for calculating: none."""
    return ()


def social_query_tools() -> Tools:
    """The tools for asking about other agents: none."""
    return ()


def spatial_tools() -> Tools:
    """The tools for looking at the space: none."""
    return ()
