"""An agent that decides by asking a language model."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.llm_agent.consistency import aconsistency, consistency
from mesa_llm.llm_agent.interviews import aask, ask
from mesa_llm.llm_agent.llm_agent import LLMAgent

__all__ = ["LLMAgent", "aask", "aconsistency", "ask", "consistency"]
