"""A process that is killed in the middle of a step loses nothing that it had been answered."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.journals import run, state_of
from helpers.speakers import digest

from mesa_llm.clients import AsyncClient, LLMRequest, LLMResponse, Message, RuleBasedClient
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
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
        print("has an answer", flush=True)
        return response


def main(path, url, mode, stepping):
    """What the process runs."""
    enable_automatic_parallel_stepping(mode=stepping)
    with JournaledClient(PlainHTTP(url), path, mode=mode) as client:
        print(as_json(run(SaysSo(client), steps=STEPS, n=N)))


def as_json(model):
    return json.dumps(state_of(model), sort_keys=True)


@contextlib.contextmanager
def process(path, url, mode, stepping):
    code = f"from test_kill import main; main({str(path)!r}, {url!r}, {mode!r}, {stepping!r})"
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
            assert [first.stdout.readline() for _ in range(N + 2)] == ["has an answer\n"] * (N + 2)
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
