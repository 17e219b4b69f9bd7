"""One agent's handle on a language model."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.module_llm.module_llm import ModuleLLM

__all__ = ["ModuleLLM"]
