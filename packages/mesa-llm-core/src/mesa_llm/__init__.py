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
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import (
        enable_automatic_parallel_stepping,
        step_agents_parallel,
        step_agents_parallel_sync,
    )
    from mesa_llm.reasoning import Observation, Plan
    from mesa_llm.recording.record_model import record_model
    from mesa_llm.tools import ToolManager, tool

    __version__: str

__all__ = [
    "LLMAgent",
    "Observation",
    "Plan",
    "ToolManager",
    "enable_automatic_parallel_stepping",
    "record_model",
    "step_agents_parallel",
    "step_agents_parallel_sync",
    "tool",
]

_PACKAGES = {
    "LLMAgent": "mesa_llm.llm_agent",
    "Observation": "mesa_llm.reasoning",
    "Plan": "mesa_llm.reasoning",
    "ToolManager": "mesa_llm.tools",
    "enable_automatic_parallel_stepping": "mesa_llm.parallel_stepping",
    "record_model": "mesa_llm.recording",
    "step_agents_parallel": "mesa_llm.parallel_stepping",
    "step_agents_parallel_sync": "mesa_llm.parallel_stepping",
    "tool": "mesa_llm.tools",
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
