"""What an agent remembers, and how it gets into a prompt.

    ShortTermMemory    the last steps, word for word; asks no model
    STLTMemory         the last steps, and a text into which a model works older ones; an agent's default
    LongTermMemory     one text, into which a model works each step
    EpisodicMemory     single events; the recent, important and relevant ones go into prompts

All of them are bounded. Their own model calls run after all agents have acted, concurrently, through the agents'
clients, limits and journals.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.memory.entries import MemoryEntry
from mesa_llm.memory.episodic_memory import EpisodicMemory
from mesa_llm.memory.lt_memory import LongTermMemory
from mesa_llm.memory.memory import Memory
from mesa_llm.memory.st_lt_memory import STLTMemory
from mesa_llm.memory.st_memory import ShortTermMemory

__all__ = ["EpisodicMemory", "LongTermMemory", "Memory", "MemoryEntry", "STLTMemory", "ShortTermMemory"]
