"""Embeddings over HTTP, and in memories of agents."""

import os

import pytest
from helpers.memories import answer_memory, is_memorys, talkers
from helpers.speakers import SpeakersModel

from mesa_llm.clients import Embedder, EmbeddingClient, RuleBasedClient
from mesa_llm.errors import ConfigurationError, DecisionError, EndpointUnreachableError, ModelCallError
from mesa_llm.journal import JournaledClient
from mesa_llm.limits import RetryingClient
from mesa_llm.memory import EpisodicMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.testing import FakeOpenAIServer, ScriptedLLM

NAME = "openai/fake-embedding"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_AUTH_TOKEN")):
            monkeypatch.delenv(name)


class EmbeddingServer(FakeOpenAIServer):
    """Gives each text its length, and the number of its e's, as vector; the last text's first."""

    def __init__(self, status=200, drop=0):
        super().__init__()
        self.bodies, self.status, self.drop = [], status, drop

    async def _serve(self, request):
        from aiohttp import web

        assert request.path == "/v1/embeddings"
        body = await request.json()
        self.bodies.append(body)
        vectors = [[len(text), text.count("e") + 0.5] for text in body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        answer = {"object": "list", "model": body["model"], "data": data[::-1][self.drop :], "usage": usage}
        return web.json_response(answer if self.status == 200 else {"error": {"message": "no"}}, status=self.status)


async def test_texts_become_vectors_over_http():
    with EmbeddingServer() as server:
        embed = Embedder(NAME, EmbeddingClient(api_base=server.url), dimensions=2)
        assert await embed(["here", "over there"]) == [(4.0, 2.5), (10.0, 3.5)]
    (body,) = server.bodies
    assert body == {
        "model": "fake-embedding",
        "input": ["here", "over there"],
        "dimensions": 2,
        "encoding_format": "float",
    }


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (EmbeddingServer(status=400), "no"),
        (EmbeddingServer(status=429), "status 429"),
        (EmbeddingServer(status=503), "status 503"),
        (EmbeddingServer(drop=1), "sent 1 vec"),
    ],
)
async def test_what_a_server_refuses_is_a_model_call_error(server, error):
    with server, pytest.raises(ModelCallError, match=error):
        await Embedder(NAME, EmbeddingClient(api_base=server.url))(["a", "b"])
    assert len(server.bodies) == 1, "whether to ask again, a RetryingClient decides"


async def test_a_server_that_is_not_there():
    with EmbeddingServer() as server:
        pass
    with pytest.raises(EndpointUnreachableError):
        await Embedder(NAME, EmbeddingClient(api_base=server.url))(["a"])


@pytest.mark.parametrize("answer", ["hello", "[1, 2]", '["hello"]', "7"])
async def test_a_client_that_gives_no_vectors(answer):
    with pytest.raises(DecisionError, match="ScriptedLLM has not answered with vectors"):
        await Embedder(NAME, ScriptedLLM(answer))(["a"])


def test_a_vector_has_a_dimension():
    with pytest.raises(ConfigurationError, match="dimensions must be an integer >= 1, got 0"):
        Embedder(NAME, dimensions=0)
    assert isinstance(Embedder(NAME).client, EmbeddingClient)


@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_embeddings_of_memories_are_counted_and_replayed(mode, tmp_path):
    enable_automatic_parallel_stepping(mode=mode)

    def run(client):
        embed = Embedder(NAME, client)
        kind = talkers(lambda agent: EpisodicMemory(agent, considered_entries=3, embed=embed))
        policy = RuleBasedClient(
            lambda asked: answer_memory(asked) if is_memorys(asked) else "hello", answers={"decide", "grade"}
        )
        model = SpeakersModel(2, policy, kind)
        for _ in range(4):
            model.step()
        (report,) = model.parallel_reports
        vectors = [[tuple(e.vector) for e in agent.memory._episodes] for agent in model.agents]
        return model.log, report.calls, report.settle_failures, vectors

    with EmbeddingServer() as server:
        inner = RetryingClient(EmbeddingClient(api_base=server.url))
        with JournaledClient(inner, tmp_path / "embeddings.db") as client:
            recorded = run(client)
    assert len(server.bodies) == 8
    assert recorded[1:3] == (6, 0)
    with JournaledClient(None, tmp_path / "embeddings.db", mode="replay") as client:
        assert run(client) == recorded
