"""What an agent remembers, and how it gets into a prompt."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.memory.memory import Memory, MemoryEntry
from mesa_llm.memory.st_memory import ShortTermMemory

__all__ = ["Memory", "MemoryEntry", "ShortTermMemory"]
