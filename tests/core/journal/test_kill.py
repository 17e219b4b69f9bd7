"""A process that is killed in the middle of a step loses nothing that it had been answered."""

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import mesa
import pytest
from helpers.journals import run, state_of
from helpers.rules import choice
from helpers.speakers import digest
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.actions import move_one_step
from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse, Message, RuleBasedClient
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.recording import state_hash
from mesa_llm.testing import FakeOpenAIServer

TESTS = Path(__file__).parents[2]
STEPS = 3
N = 4


class PlainHTTP(AsyncClient):
    """The least that asks a server: importing litellm takes longer than all that is tested here."""

    def __init__(self, url):
        self.url = url

    async def complete(self, request):
        import aiohttp

        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/chat/completions", json=request.as_dict()) as answer,
        ):
            text = (await answer.json())["choices"][0]["message"]["content"]
            return LLMResponse(message=Message("assistant", text), model=request.model)


class SaysSo(AsyncClient):
    """Says when an answer of the journal is handed out: then it is in the file."""

    def __init__(self, inner):
        self.inner = inner

    async def complete(self, request):
        response = await self.inner.agenerate(request)
        print("has an answer", getattr(request.observation, "step", ""), flush=True)
        return response


def main(path, url, mode, stepping, of="speakers"):
    """What the process runs."""
    enable_automatic_parallel_stepping(mode=stepping)
    with JournaledClient(PlainHTTP(url), path, mode=mode) as client:
        print(RUNS[of](SaysSo(client)))


def as_json(model):
    return json.dumps(state_of(model), sort_keys=True)


class Walker(LLMAgent, CellAgent):
    """Walks about; what it remembers, and so where it goes, depends on all that it has seen."""

    def __init__(self, model, memory, client):
        super().__init__(model, OneCallReasoning, client=client, vision=1, actions=[move_one_step], memory=memory)
        self.internal_state = {"mood": "calm"}

    async def astep(self):
        await self.aact("Where do you go?", observe=True)
        self.internal_state = {"mood": self.random.choice(["calm", "tired"])}
        if self.random.random() < 0.5:
            self.internal_state = [f"I am at step {self.model.steps}", "I rest"]
        self.send_message(f"I am at {self.cell.coordinate}.", (self.unique_id + self.model.steps) % WALKERS + 1)


class Field(mesa.Model):
    def __init__(self, client):
        super().__init__(rng=3)
        self.parallel_stepping = True
        self.grid = OrthogonalMooreGrid((4, 4), random=self.random)
        for memory in MEMORIES * 2:
            Walker(self, memory, client).cell = self.grid.select_random_empty_cell()

    def step(self):
        self.agents.shuffle_do("step")


MEMORIES = [
    partial(ShortTermMemory, n=2),
    partial(STLTMemory, short_term_capacity=2, consolidation_capacity=2),
    LongTermMemory,
    EpisodicMemory,
]
WALKERS = 2 * len(MEMORIES)
KILLED_IN, WALKED = 7, 9


def walk(client):
    """All that the agents remember at the end, as entries and as it stands in a prompt, and the digest of the model."""
    model = Field(client)
    for _ in range(WALKED):
        model.step()
    memories = {agent.unique_id: agent.memory for agent in model.agents}
    remembered = {
        unique_id: [[entry.text for entry in memory.entries], memory.get_prompt_ready()]
        for unique_id, memory in memories.items()
    }
    return json.dumps({"hash": state_hash(model), "memories": remembered})


RUNS = {"speakers": lambda client: as_json(run(client, steps=STEPS, n=N)), "walkers": walk}


def answer_walker(body):
    """Another answer for each prompt: an action, grades, or a consolidated memory."""
    text = "\n".join(message["content"] for message in body["messages"])
    drawn = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    form = (body.get("response_format") or {}).get("json_schema", {})
    if form.get("name") == "grades":
        return json.dumps(dict.fromkeys(form["schema"]["properties"], drawn % 10 + 1))
    if not form:
        return f"So much for {drawn}."
    [offered] = form["schema"]["properties"]["action"]["anyOf"]
    directions = offered["properties"]["arguments"]["properties"]["direction"]["enum"]
    return choice("move_one_step", f"By {drawn}.", direction=directions[drawn % len(directions)])


def decides(body):
    """Which agent decides with a request, and in which step; `None` for one of a memory."""
    text = "\n".join(message["content"] for message in body["messages"])
    found = re.search(r"^Step (\d+)\. You are agent (\d+)\.", text, re.MULTILINE)
    return found and (int(found[2]), int(found[1]))


@contextlib.contextmanager
def process(path, url, mode, stepping, of="speakers"):
    code = f"from test_kill import main; main({str(path)!r}, {url!r}, {mode!r}, {stepping!r}, {of!r})"
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{TESTS}:{Path(__file__).parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


def asked(body):
    """Which agent asks, in which step."""
    observation = json.loads(body["messages"][1]["content"])
    return observation["self_state"]["agent_unique_id"], observation["step"]


def answer_to(body):
    messages = tuple(Message(message["role"], message["content"]) for message in body["messages"])
    return digest(LLMRequest(model=body["model"], messages=messages))


def states_in(path):
    return [call.state for call in Journal(path).calls()]


@pytest.mark.parametrize("stepping", ["asyncio", "threading"])
def test_kill_in_the_middle_of_a_step_then_resume(tmp_path, stepping):
    """Killed in step 2, when two of four calls are answered and recorded. The server sees the other two again."""
    path = tmp_path / "run.db"
    killed = False
    all_asked = threading.Event()

    async def answer(body):
        agent_id, step = asked(body)
        if len(server.requests) == 2 * N:
            all_asked.set()
        if not killed and step == 2 and agent_id in {2, 4}:
            await asyncio.Event().wait()  # until the connection breaks
        return answer_to(body)

    with FakeOpenAIServer(answer) as server:
        with process(path, server.url, "record", stepping) as first:
            assert [first.stdout.readline() for _ in range(N + 2)] == ["has an answer \n"] * (N + 2)
            assert all_asked.wait(60)
            first.send_signal(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
        assert sorted(states_in(path)) == ["answered"] * (N + 2) + ["started"] * 2
        killed = True
        with process(path, server.url, "resume", stepping) as second:
            output = second.communicate()[0].splitlines()[-1]
            assert second.returncode == 0
    seen = [asked(request.body) for request in server.requests]
    assert len(seen) == STEPS * N + 2
    assert {call for call in seen if seen.count(call) > 1} == {(2, 2), (4, 2)}

    enable_automatic_parallel_stepping(mode=stepping)
    assert output == as_json(run(RuleBasedClient(digest), steps=STEPS, n=N))
    with JournaledClient(None, path, mode="replay") as client:
        assert as_json(run(client, steps=STEPS, n=N)) == output
        assert client.replayed == STEPS * N


@pytest.mark.slow
@pytest.mark.parametrize("stepping", ["asyncio", "threading"])
def test_a_run_resumed_in_its_seventh_step_remembers_the_same_as_an_unbroken_one(tmp_path, stepping):
    """Killed when half of the agents have their answers. An agent's answer depends on each line that it remembers."""
    path = tmp_path / "run.db"
    killed = False
    all_asked = threading.Event()
    unanswered = {(unique_id, KILLED_IN) for unique_id in range(1, WALKERS + 1, 2)}

    async def answer(body):
        decided = decides(body)
        if not killed and decided in unanswered:
            if {decides(request.body) for request in server.requests} >= unanswered:
                all_asked.set()
            await asyncio.Event().wait()  # until the connection breaks
        return answer_walker(body)

    with FakeOpenAIServer(answer) as server:
        with process(path, server.url, "record", stepping, "walkers") as first:
            answered = 0
            while answered < WALKERS // 2:
                line = first.stdout.readline()
                assert line
                answered += line == f"has an answer {KILLED_IN}\n"
            assert all_asked.wait(60)
            first.send_signal(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
        killed = True
        with process(path, server.url, "resume", stepping, "walkers") as second:
            output = second.communicate()[0].splitlines()[-1]
            assert second.returncode == 0
        seen = [decided for request in server.requests if (decided := decides(request.body))]
        assert {call for call in seen if seen.count(call) > 1} == unanswered

        enable_automatic_parallel_stepping(mode=stepping)
        assert json.loads(output) == json.loads(walk(PlainHTTP(server.url)))
