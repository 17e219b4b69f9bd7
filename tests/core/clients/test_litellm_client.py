import os
import subprocess
import sys
import textwrap

import pytest
from helpers.moved_clock import MINUTE, timing_out

from mesa_llm.clients import (
    LiteLLMClient,
    LLMRequest,
    Message,
)
from mesa_llm.errors import ModelTimeoutError
from mesa_llm.testing import FakeOpenAIServer, Fault


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_AUTH_TOKEN")):
            monkeypatch.delenv(name)


def request(model="openai/fake", **fields):
    return LLMRequest(model=model, messages=(Message("system", ""), Message("user", "Where to?")), **fields)


def test_key_is_sent():
    with FakeOpenAIServer() as server:
        LiteLLMClient(api_base=server.url, api_key="sk-mine-12345").generate(request())
        LiteLLMClient(api_base=server.url).generate(request())
    assert [sent.headers["authorization"] for sent in server.requests] == ["Bearer sk-mine-12345", "Bearer not-needed"]


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "NOVITA_API_KEY"])
def test_key_of_the_environment_is_sent_to_an_own_endpoint(monkeypatch, variable):
    monkeypatch.setenv(variable, "sk-environment")
    with FakeOpenAIServer() as server:
        provider = variable.removesuffix("_API_KEY").lower()
        LiteLLMClient(api_base=server.url).generate(request(f"{provider}/fake"))
    assert server.requests[0].headers["authorization"] == "Bearer sk-environment"


def test_other_openai_compatible_providers_need_no_key_at_an_own_endpoint():
    with FakeOpenAIServer() as server:
        LiteLLMClient(api_base=server.url).generate(request("novita/fake"))
    assert server.requests[0].headers["authorization"] == "Bearer not-needed"


def test_connections_live_on():
    with FakeOpenAIServer() as server:
        client = LiteLLMClient(api_base=server.url)
        for _ in range(200):
            client.generate(request())
    assert len(server.requests) == 200
    assert server.connections_opened <= 3


def test_nothing_is_retried_after_a_timeout():
    with FakeOpenAIServer(timing_out(Fault.hang())) as server:
        with pytest.raises(ModelTimeoutError):
            LiteLLMClient(api_base=server.url, timeout=MINUTE).generate(request())
        assert len(server.requests) == 1


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_import_loads_no_http_library():
    ran = run_python("""
        import sys
        import mesa_llm.clients, mesa_llm.testing, mesa_llm.module_llm
        mesa_llm.module_llm.ModuleLLM("openai/gpt-4o-mini")
        print([name for name in ("litellm", "openai", "aiohttp", "httpx") if name in sys.modules])
    """)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_first_calls_at_once_import_litellm_once_beside_the_loop_and_exit_in_silence(tmp_path):
    (tmp_path / ".env").write_text("FROM_DOT_ENV=1\n")
    code = """
        import asyncio, os, sys
        from mesa_llm.clients import LiteLLMClient, LLMRequest, Message
        from mesa_llm.concurrency import transport_loop, worker_thread

        os.environ.pop("LITELLM_LOCAL_MODEL_COST_MAP", None)
        os.chdir(sys.argv[2])
        started, start = [], worker_thread.start

        def spy(function, **arguments):
            def work():
                result = function()
                started.append((transport_loop.is_running_here(), os.environ["LITELLM_LOCAL_MODEL_COST_MAP"]))
                return result
            return start(work if arguments["name"] == "mesa-llm-import-litellm" else function, **arguments)

        worker_thread.start = spy
        ask = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
        client = LiteLLMClient(api_base=sys.argv[1])

        async def main():
            return await asyncio.gather(*(client.agenerate(ask) for _ in range(100)))

        answers = asyncio.run(main())
        print(len(answers), started, os.environ.get("FROM_DOT_ENV"), os.environ.get("LITELLM_MODE"))
    """
    with FakeOpenAIServer() as server:
        ran = run_python(code, server.url, str(tmp_path))
    assert ran.stderr == ""
    assert ran.stdout == "100 [(False, 'True')] None None\n"
    assert ran.returncode == 0
