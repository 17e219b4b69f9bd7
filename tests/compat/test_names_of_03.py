"""Names that the API reference of mesa-llm 0.3 lists can be imported, and do what they did."""

import importlib

import pytest

from mesa_llm.errors import ConfigurationError, RateLimitedError
from mesa_llm.memory.episodic_memory import EventGrade, normalize_dict_values
from mesa_llm.module_llm import RETRYABLE_EXCEPTIONS, ModuleLLM
from mesa_llm.testing import ScriptedLLM
from mesa_llm.tools.inbuilt_tools import direction_map_row_col, direction_map_xy
from mesa_llm.tools.tool_decorator import _GLOBAL_TOOL_REGISTRY, DocstringParsingError, add_tool_callback, tool
from mesa_llm.tools.tool_manager import ToolManager

NAMES = {
    "mesa_llm": [
        "Plan",
        "Observation",
        "ToolManager",
        "record_model",
        "enable_automatic_parallel_stepping",
        "__version__",
    ],
    "mesa_llm.reasoning.react": ["ReActOutput", "ReActReasoning"],
    "mesa_llm.recording.agent_analysis": ["AgentViewer", "quick_agent_view"],
    "mesa_llm.recording.simulation_recorder": ["SimulationEvent", "SimulationRecorder"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_a_name_is_there(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_steps_by_their_names():
    assert direction_map_xy["NorthEast"] == (1, 1)
    assert direction_map_row_col["NorthEast"] == (-1, 1)
    assert list(direction_map_xy) == list(direction_map_row_col)


def test_values_brought_to_a_range():
    scores = {"a": 1, "b": 3, "c": 2}
    assert normalize_dict_values(scores, 0, 10) is scores
    assert scores == {"a": 0, "b": 10, "c": 5}
    assert normalize_dict_values({"a": 7, "b": 7}, 1, 3) == {"a": 2, "b": 2}
    assert normalize_dict_values({}, 0, 1) == {}
    assert EventGrade(grade=4).grade == 4


def test_errors():
    assert issubclass(RateLimitedError, RETRYABLE_EXCEPTIONS)
    assert issubclass(DocstringParsingError, Exception)


def rest() -> str:
    """Rest."""
    return "rested"


def test_a_tool_for_all(monkeypatch):
    monkeypatch.delitem(_GLOBAL_TOOL_REGISTRY, "rest", raising=False)
    before, own = ToolManager(), ToolManager(tools=[])
    ToolManager.add_tool_to_all(rest)
    try:
        assert [manager.has_tool("rest") for manager in (before, own, ToolManager())] == [True, False, True]
    finally:
        del _GLOBAL_TOOL_REGISTRY["rest"]
    with pytest.raises(ConfigurationError):
        ToolManager.add_tool_to_all(7)
    assert own.get_tool_schema(rest, "sleep")["function"]["name"] == "sleep"


def test_a_callback_gets_each_global_tool(monkeypatch):
    monkeypatch.setattr("mesa_llm.tools.tool_decorator._callbacks", [])
    declared = []
    add_tool_callback(declared.append)
    tool(rest, tool_manager=ToolManager(tools=[]))
    assert declared == []
    try:
        tool(rest)
    finally:
        del _GLOBAL_TOOL_REGISTRY["rest"]
    assert declared == [rest]


@pytest.mark.parametrize("name", ["completion", "acompletion"])
def test_what_it_had_of_litellm_is_a_clear_error(name):
    module = importlib.import_module("mesa_llm.module_llm")
    with pytest.raises(ImportError, match="give temperature=… and the like to LLMAgent or ModuleLLM"):
        exec(f"from mesa_llm.module_llm import {name}")
    assert not hasattr(module, name)
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from mesa_llm.module_llm import nothing")


def test_a_handle_whose_generate_would_not_be_called_is_warned_about():
    with pytest.warns(UserWarning, match=r"Loud\.generate is not called for decisions: .* Override complete"):

        class Loud(ModuleLLM):
            def generate(self, *args, **kwargs):
                return super().generate(*args, **kwargs)

    class Quiet(ModuleLLM):
        def generate(self, *args, **kwargs):
            return super().generate(*args, **kwargs)

        def complete(self, request):
            return super().complete(request)

    assert Quiet("a/b", client=ScriptedLLM("hm")).generate("?").message.content == "hm"
