"""One agent's handle on a language model."""

import sys
from typing import TYPE_CHECKING

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.module_llm.connect import connect
from mesa_llm.module_llm.module_llm import RETRYABLE_EXCEPTIONS as RETRYABLE_EXCEPTIONS
from mesa_llm.module_llm.module_llm import ModuleLLM
from mesa_llm.module_llm.request_fields import SamplingOptions as SamplingOptions
from mesa_llm.module_llm.tool_modes import ToolMode as ToolMode

__all__ = ["ModuleLLM", "connect"]

if not TYPE_CHECKING:  # to a type checker, a module with `__getattr__` has every name

    def __getattr__(name: str) -> object:
        missing = f"module {__name__!r} has no attribute {name!r}"
        # Of an AttributeError, `from … import` would show no text. It asks from within the import system.
        if name in {"completion", "acompletion"} and "importlib" in sys._getframe(1).f_code.co_filename:
            raise ImportError(
                f"{missing}. To send sampling arguments, give temperature=… and the like to LLMAgent or ModuleLLM; to "
                "change what is sent, override ModuleLLM.complete and acomplete; litellm's own is litellm.completion.",
                name=__name__,
            )
        raise AttributeError(missing)
