"""Fakes to test agents and models with: a client that follows a script, and a server that speaks real HTTP."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.testing.fake_openai_server import FakeOpenAIServer, Fault
from mesa_llm.testing.scripted_llm import ScriptedLLM

__all__ = ["FakeOpenAIServer", "Fault", "ScriptedLLM"]
