"""ARCHITECTURE.md: its classes exist, and a step takes the road that its tables describe."""

import re
import sys
from pathlib import Path

import pytest
from mesa import Model
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.activation.turn import Turn
from mesa_llm.clients import RuleBasedClient, tool_call
from mesa_llm.errors import ModelCallError
from mesa_llm.journal import JournaledClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepError, ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import FakeOpenAIServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
CORE = ROOT / "packages/mesa-llm-core/src/mesa_llm"
PARALLEL = ROOT / "packages/mesa-llm-parallel/src/mesa_llm"
FOLDERS = [CORE, PARALLEL, PARALLEL / "parallel_stepping"]
NOT_TAKEN = {CORE / "clients/litellm_client.py"}  # the other way to a server: "or"


def road_of(heading):
    """The files and folders in the table below a heading."""
    rows = [line for line in PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines() if line.startswith("| ")]
    names = [name for row in rows[1:] for name in re.findall(r"`([\w/]+\.py|\w+/)`", row.rsplit(" | ", 1)[1])]
    paths = {folder / name for name in names for folder in FOLDERS if (folder / name).exists()}
    assert len(paths) >= len(set(names)) > 10
    return paths - NOT_TAKEN


@pytest.fixture
def entered():
    """The files in which a function has been called, in all threads."""
    files = set()
    monitoring, tool = sys.monitoring, 4  # one that neither debuggers nor coverage use

    def note(code, offset):
        files.add(Path(code.co_filename))
        return monitoring.DISABLE  # once is enough

    monitoring.use_tool_id(tool, "road")
    monitoring.register_callback(tool, monitoring.events.PY_START, note)
    monitoring.restart_events()
    monitoring.set_events(tool, monitoring.events.PY_START)
    yield files
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)


def wait(agent) -> str:
    """Do nothing: a tool that has the name of an action."""
    return "You wait."


class Walker(LLMAgent, CellAgent):
    def step(self):
        self.apply_plan(self.plan("Where do you go?"))
        self.act("What do you do?", actions=["wait"])


class Town(Model):
    def __init__(self, client, settings, memories):
        super().__init__(rng=1)
        self.parallel_stepping = settings
        self.grid = OrthogonalMooreGrid((4, 4), torus=False, random=self.random)
        for place, memory in enumerate(memories):
            walker = Walker(
                self,
                OneCallReasoning,
                "openai/any",
                client=client,
                vision=1,
                memory=memory,
                actions=["wait"],
                tools=[wait],
            )
            walker.cell = self.grid[place, 0]

    def step(self):
        self.agents.shuffle_do("step")


@pytest.mark.parametrize(
    ("heading", "settings", "memories"),
    [
        ("The life of one step", ParallelStepping(), [LongTermMemory, EpisodicMemory]),
        ("The life of a sequential step", ParallelStepping(activation="sequential"), [None, None, None]),
    ],
    ids=["simultaneous", "sequential"],
)
def test_a_step_takes_the_road_that_the_page_describes(heading, settings, memories, entered, tmp_path):
    enable_automatic_parallel_stepping()
    with (
        FakeOpenAIServer(RuleBasedClient(lambda request: tool_call("wait"))) as server,
        JournaledClient(connect(api_base=server.url), tmp_path / "run.db") as client,
    ):
        Town(client, settings, memories).step()
    with pytest.raises((ParallelStepError, ModelCallError)):  # nobody answers at that address any more
        Town(connect(api_base=server.url, max_attempts=1), settings, memories).step()
    missed = {
        str(path.relative_to(ROOT))
        for path in road_of(heading)
        if not any(path == file or path in file.parents for file in entered)
    }
    assert missed == set()


def test_classes_that_are_named_are_where_the_page_says():
    named = re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", PAGE)
    assert len(named) > 1
    for file, name in named:
        (path,) = [folder / file for folder in FOLDERS if (folder / file).exists()]
        assert re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE), (file, name)
    assert "a new implementation of\n`Turn`" in PAGE
    assert Turn.__abstractmethods__
