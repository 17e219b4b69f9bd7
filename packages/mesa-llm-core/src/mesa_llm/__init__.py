"""LLM agents for Mesa, and stepping many of them in parallel.

The names that nearly every model needs can be imported from here, and all names from the packages below. A name is
loaded when it is first used: `import mesa_llm` loads neither Mesa nor a client, and switches nothing on.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

_DISTRIBUTION = "mesa-llm-core"  # mesa_llm.errors recognizes this file by it

# mesa-llm-parallel adds the package parallel_stepping, in the workspace from a folder of its own.
# griffe, which reads the code for the reference, recognizes this spelling only.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

from mesa_llm import errors  # noqa: E402, F401 - first: refuses a foreign mesa_llm

if TYPE_CHECKING:
    from mesa_llm.actions import (
        ActionChoice,
        ActionManager,
        ActionMetadata,
        ActionPostCommitError,
        ActResult,
        action,
        default_actions,
        move_one_step,
        social_actions,
        spatial_actions,
        speak_to,
        teleport_to_location,
        wait,
    )
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import (
        enable_automatic_parallel_stepping,
        step_agents_parallel,
        step_agents_parallel_sync,
    )
    from mesa_llm.reasoning import Observation, Plan
    from mesa_llm.recording.record_model import record_model
    from mesa_llm.tools import ToolManager, tool
    from mesa_llm.tools.defaults import default_tools as default_tools
    from mesa_llm.tools.defaults import environment_tools as environment_tools
    from mesa_llm.tools.defaults import external_tools as external_tools
    from mesa_llm.tools.defaults import math_tools as math_tools
    from mesa_llm.tools.defaults import social_query_tools as social_query_tools
    from mesa_llm.tools.defaults import spatial_tools as spatial_tools

    __version__: str

__all__ = [
    "ActResult",
    "ActionChoice",
    "ActionManager",
    "ActionMetadata",
    "ActionPostCommitError",
    "LLMAgent",
    "Observation",
    "Plan",
    "ToolManager",
    "action",
    "default_actions",
    "enable_automatic_parallel_stepping",
    "move_one_step",
    "record_model",
    "social_actions",
    "spatial_actions",
    "speak_to",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "teleport_to_location",
    "tool",
    "wait",
]

_PACKAGES = {
    name: f"mesa_llm.{package}"
    for package, names in {
        "actions": "ActResult ActionChoice ActionManager ActionMetadata ActionPostCommitError action default_actions "
        "move_one_step social_actions spatial_actions speak_to teleport_to_location wait",
        "llm_agent": "LLMAgent",
        "parallel_stepping": "enable_automatic_parallel_stepping step_agents_parallel step_agents_parallel_sync",
        "reasoning": "Observation Plan",
        "recording": "record_model",
        "tools": "ToolManager default_tools environment_tools external_tools math_tools social_query_tools "
        "spatial_tools tool",
    }.items()
    for name in names.split()
}


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.has_location  # an empty folder, left by an uninstallation, has no location


if not TYPE_CHECKING:  # to a type checker, a module with `__getattr__` has every name
    __all__ = [name for name in __all__ if _is_installed(_PACKAGES[name])]

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - slow to import

            value = version(_DISTRIBUTION)
        elif name not in _PACKAGES:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}. It has {', '.join(__all__)}. Import other names from "
                "their packages, such as mesa_llm.reasoning."
            )
        elif not _is_installed(_PACKAGES[name]):
            raise ImportError(
                f"{name} is part of mesa-llm-parallel, which is not installed: pip install mesa-llm-parallel",
                name=_PACKAGES[name],
            )
        else:
            value = getattr(import_module(_PACKAGES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
