"""Actions: what an agent commits itself to. A model chooses exactly one, and the agent carries it out."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.actions.action_decorator import ActionMetadata, action
from mesa_llm.actions.action_manager import ActionManager
from mesa_llm.actions.action_result import ActionChoice, ActionPostCommitError, ActResult
from mesa_llm.actions.builtins import (
    default_actions,
    move_one_step,
    social_actions,
    spatial_actions,
    speak_to,
    teleport_to_location,
    wait,
)

__all__ = [
    "ActResult",
    "ActionChoice",
    "ActionManager",
    "ActionMetadata",
    "ActionPostCommitError",
    "action",
    "default_actions",
    "move_one_step",
    "social_actions",
    "spatial_actions",
    "speak_to",
    "teleport_to_location",
    "wait",
]
