"""The notebook of the documentation runs in a kernel, and shows what it shows."""

from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

PATH = Path(__file__).parents[2] / "docs" / "notebooks" / "civil_violence.ipynb"


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(PATH, as_version=4)


@pytest.fixture(scope="module")
def executed(stored):
    notebook = nbformat.from_dict(stored)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


def shown(notebook):
    """What each cell has printed or is worth, as text, and which pictures it has drawn."""
    return [
        [output.get("text") or [*sorted(output.data), output.data.get("text/plain")] for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_what_is_shown_is_what_comes_out(executed, stored):
    assert shown(executed) == shown(stored)


def test_a_picture_is_among_it(stored):
    assert sum("image/png" in str(output) for cell in shown(stored) for output in cell) == 1


def test_nothing_is_warned_about(executed):
    streams = [
        output for cell in executed.cells for output in cell.get("outputs", []) if output.output_type == "stream"
    ]
    assert [output.text for output in streams if output.name == "stderr"] == []


def test_it_awaits_and_it_steps(stored):
    source = "\n".join(cell.source for cell in stored.cells)
    assert "await step_agents_parallel(" in source
    assert "model.step()" in source


def test_it_is_small():
    assert PATH.stat().st_size < 100_000


HANGS = """\
import asyncio
from mesa import Model
from mesa_llm.clients import AsyncClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import step_agents_parallel_sync
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM

class HangsOnce(AsyncClient):
    hangs = True

    async def complete(self, request):
        if self.hangs:
            self.hangs = False
            print("asked", flush=True)
            await asyncio.Event().wait()
        return await ScriptedLLM("I stay.").agenerate(request)

agent = LLMAgent(Model(rng=1), OneCallReasoning, client=HangsOnce(), step_prompt="Where do you go?")
step_agents_parallel_sync([agent])
"""


def test_interrupting_the_kernel_ends_a_step_and_the_next_one_works():
    manager, client = start_new_kernel()
    try:
        client.execute(HANGS, stop_on_error=False)  # else the kernel may drop what is asked right after
        while client.get_iopub_msg(timeout=60)["content"].get("text") != "asked\n":
            pass
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["msg_type"] != "execute_reply":
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        remembered = {"last": "agent.memory.entries[-1].type"}
        reply = client.execute_interactive(
            "step_agents_parallel_sync([agent])", user_expressions=remembered, timeout=60
        )
        assert reply["content"].get("evalue") is None
        assert reply["content"]["user_expressions"]["last"]["data"]["text/plain"] == "'plan'"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
