"""A model written for mesa-llm 0.3.2 runs unchanged, with every strategy and memory of it, and in parallel at last."""

import json

import pytest
from compat import village_03 as village

from mesa_llm.clients import tool_call
from mesa_llm.testing import FakeOpenAIServer


def answer(request):
    """Thinks of anger, acts it out, and grades everything the same."""
    form = (request.get("response_format") or {}).get("json_schema", {})
    if form.get("name") == "grades":
        return json.dumps(dict.fromkeys(form["schema"]["properties"], 3))
    if form:
        return '{"reasoning": "no bread", "action": "be angry"}'
    if request.get("tools") and request.get("tool_choice") != "none":
        return [tool_call("set_mood", mood="angry")]
    return "Thought 1: there is no bread. Action: be angry."


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a village for two steps, against a server that speaks OpenAI's API."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")

    def run(reasoning, memory, **kwargs):
        with FakeOpenAIServer(answer, **kwargs) as server:
            model = village.Village(reasoning=reasoning, memory=memory, api_base=server.url, seed=1)
            for _ in range(2):
                model.step()
        return model, server

    return run


@pytest.mark.parametrize("mode", ["asyncio", "threading", None])
@pytest.mark.parametrize("memory", village.MEMORIES)
@pytest.mark.parametrize("reasoning", village.REASONINGS)
@pytest.mark.filterwarnings("ignore:Village sets parallel_stepping")
def test_it_runs(run, reasoning, memory, mode):
    if mode is None:
        village.disable_automatic_parallel_stepping()
    else:
        village.enable_automatic_parallel_stepping(mode=mode)
    model, server = run(reasoning, memory)
    villagers = [agent for agent in model.agents if isinstance(agent, village.Villager)]
    assert [villager.mood for villager in villagers] == ["angry"] * 3
    assert [agent.rings for agent in model.agents if isinstance(agent, village.Bell)] == [2]
    deciding = [request.body for request in server.requests if "What do you do?" in str(request.body["messages"])]
    assert deciding
    if reasoning != "own":
        assert all("You live in a village." in str(body["messages"]) for body in deciding)
    kinds = {event.event_type for event in model.recorder.events if event.agent_id is not None}
    assert {"observation", "plan", "action"} <= kinds


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_its_agents_wait_together(run, mode):
    """There, the patch did not fire on Mesa 3.5, and they waited one after the other."""
    village.enable_automatic_parallel_stepping(mode=mode)
    _, server = run("cot", "short", hold_until=3)
    assert server.peak_concurrency == 3
    assert len(server.requests) == 12


def test_its_recording_can_be_saved(run, tmp_path):
    village.enable_automatic_parallel_stepping()
    model, _ = run("cot", "short")
    path = model.save_recording("run.json")
    assert json.loads((tmp_path / path).read_text())["events"]
