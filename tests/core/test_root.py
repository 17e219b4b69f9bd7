"""`from mesa_llm import …`: the names that mesa-llm has there and two more, loaded when they are first used."""

import importlib.metadata
import pickle
import subprocess
import sys

import pytest
from helpers.public_names import ROOT, exported, packages

import mesa_llm
from mesa_llm import actions, tools

NAMES = mesa_llm.__all__
ROOT_NAMES_OF_MESA_LLM_03 = {
    "Observation",
    "Plan",
    "ToolManager",
    "enable_automatic_parallel_stepping",
    "record_model",
    "step_agents_parallel",
    "step_agents_parallel_sync",
}
ROOT_NAMES_SINCE = set(actions.__all__)
"""What mesa-llm's main branch has added to them."""
EMPTY_SETS = [
    "default_tools",
    "environment_tools",
    "external_tools",
    "math_tools",
    "social_query_tools",
    "spatial_tools",
]
"""What it has added too, and is of no use."""
HEAVY = {"aiohttp", "asyncio", "litellm", "mesa", "numpy", "pandas", "pydantic", "rich"}


def in_fresh_python(code):
    """What code prints, in a process that has imported nothing."""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def last_line_of_traceback(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    return result.stderr.strip().splitlines()[-1]


def test_it_has_the_names_of_mesa_llm_03_and_those_that_everybody_tries_first():
    assert set(NAMES) == ROOT_NAMES_OF_MESA_LLM_03 | ROOT_NAMES_SINCE | {"LLMAgent", "tool"}
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", EMPTY_SETS)
def test_its_empty_sets_of_tools_can_be_imported(name):
    assert getattr(mesa_llm, name) is getattr(tools, name) is getattr(tools.defaults, name)
    assert getattr(mesa_llm, name)() == ()


def test_each_is_the_public_name_of_a_package():
    public = {package: exported(tree) for package, tree in packages().items()}
    for name in NAMES:
        (package,) = [package for package in public if name in public[package]]
        assert getattr(mesa_llm, name) is getattr(importlib.import_module(package), name)


def test_each_can_be_the_first_import():
    """In one process that forgets mesa-llm each time: Mesa takes a second to load."""
    code = f"""
import importlib, sys
for name in {NAMES}:
    for module in [module for module in sys.modules if module.partition(".")[0] == "mesa_llm"]:
        del sys.modules[module]
    print(getattr(importlib.import_module("mesa_llm"), name).__name__)
"""
    assert in_fresh_python(code) == NAMES


def test_all_of_them_by_a_star():
    namespace = {}
    exec("from mesa_llm import *", namespace)
    assert {name for name in namespace if name != "__builtins__"} == set(NAMES)


def test_dir_has_them_before_they_are_used():
    listed = in_fresh_python("import mesa_llm; print(*dir(mesa_llm))")
    assert {*NAMES, "__version__", "__path__", "__doc__"} <= set(listed)


def test_the_version_is_that_of_the_distribution():
    assert mesa_llm.__version__ == importlib.metadata.version("mesa-llm-core")
    assert in_fresh_python("from mesa_llm import __version__; print(__version__)") == [mesa_llm.__version__]


def test_importing_it_loads_nothing_heavy():
    loaded = in_fresh_python("import sys; before = {*sys.modules}; import mesa_llm; print(*{*sys.modules} - before)")
    assert not HEAVY & set(loaded)
    assert {name for name in loaded if name.startswith("mesa_llm.") and not name.startswith("mesa_llm.errors")} == set()


def test_names_of_core_load_no_runner_and_no_litellm_and_no_name_switches_anything_on():
    code = """
import sys
from mesa.agent import AgentSet
before = AgentSet.shuffle_do, AgentSet.do
from mesa_llm import LLMAgent, Plan, ToolManager, record_model, tool
print("mesa_llm.llm_agent" in sys.modules, "mesa_llm.parallel_stepping" in sys.modules, "litellm" in sys.modules)
from mesa_llm import *
print((AgentSet.shuffle_do, AgentSet.do) == before)
"""
    assert in_fresh_python(code) == ["True", "False", "False", "True"]


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_pickled(name):
    thing = getattr(mesa_llm, name)
    assert pickle.loads(pickle.dumps(thing)) is thing


def test_an_unknown_name_is_refused_with_the_names_that_there_are():
    with pytest.raises(
        AttributeError, match=r"^module 'mesa_llm' has no attribute 'Agent'\. It has ActResult, "
    ) as caught:
        mesa_llm.Agent  # noqa: B018
    assert all(name in str(caught.value) for name in NAMES)
    assert not hasattr(mesa_llm, "CoTReasoning")


@pytest.mark.parametrize(
    "code", ["from mesa_llm import LLMAgnt", "import mesa_llm; mesa_llm.LLMAgnt"], ids=["from", "attribute"]
)
def test_a_misspelt_name_gets_the_nearest_one(code):
    assert last_line_of_traceback(code).endswith("Did you mean: 'LLMAgent'?")


def test_in_the_workspace_it_is_in_two_folders_and_the_first_is_of_core():
    folders = [ROOT / "packages" / package / "src" / "mesa_llm" for package in ("mesa-llm-core", "mesa-llm-parallel")]
    assert list(mesa_llm.__path__) == [str(folder) for folder in folders]
    assert mesa_llm.__file__ == str(folders[0] / "__init__.py")
