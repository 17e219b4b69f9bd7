"""The connections of the direct client: shared, kept, dropped with the call, closed in silence; through TLS and proxies."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
import trustme
from helpers.environment import without_keys_and_proxies
from helpers.loopback_proxy import LoopbackProxy

from mesa_llm.clients import DirectClient, LLMRequest, Message
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, EndpointUnreachableError
from mesa_llm.testing import FakeOpenAIServer

REQUEST = LLMRequest(model="hosted_vllm/fake", messages=(Message("user", "hi"),))


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "model.test").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def ask(client):
    return client.generate(REQUEST).message.content


def test_connections_do_not_grow_with_steps():
    """Each step on an event loop of its own, as with `asyncio.run`; a new client in each, as after unpickling."""
    with FakeOpenAIServer(hold_until=8) as server:
        for _ in range(25):
            client = DirectClient(api_base=server.url)

            async def step(client=client):
                await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(8)))

            asyncio.run(step())
    assert len(server.requests) == 200
    assert server.connections_opened == 8


def test_sync_calls_from_threads_use_the_same_connections():
    with FakeOpenAIServer(hold_until=4) as server:
        client = DirectClient(api_base=server.url)

        async def together():
            await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(4)))

        calling_loop.run(together())
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 8
    assert server.connections_opened == 4


def test_calls_cancelled_while_the_session_opens_leave_it_to_the_others():
    ran = run_python(
        """
        import asyncio, sys
        from mesa_llm.clients import DirectClient, LLMRequest, Message

        client = DirectClient(api_base=sys.argv[1])
        ask = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))

        async def main():
            first, *others = [asyncio.create_task(client.agenerate(ask)) for _ in range(20)]
            await asyncio.sleep(0)  # the calls are on their way; aiohttp is being imported
            first.cancel()
            answers = await asyncio.gather(first, *others, return_exceptions=True)
            print(type(answers[0]).__name__, {answer.message.content for answer in answers[1:]})

        asyncio.run(main())
        """
    )
    assert (ran.stdout, ran.stderr) == ("CancelledError {'ok'}\n", "")


def run_python(code, *arguments, tls=None):
    with FakeOpenAIServer(tls=tls) as server:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), server.url, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    ran.server = server
    return ran


EXITS = """
    import asyncio, atexit, sys
    from mesa_llm.clients import DirectClient, LLMRequest, Message, direct_client

    atexit.register(lambda: print("open" if direct_client._opening else "closed"))  # the first is called last

    client = DirectClient(api_base=sys.argv[1], verify=sys.argv[2] if len(sys.argv) > 2 else True)
    ask = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))

    async def main():
        return await asyncio.gather(*(client.agenerate(ask) for _ in range(10)))

    print(len(asyncio.run(main())), client.generate(ask).message.content)
"""


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_interpreter_exits_in_silence(secure, tls, ca_file):
    ran = run_python(EXITS, *[str(ca_file)] * secure, tls=tls if secure else None)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("10 ok\nclosed\n", "", 0)


def test_the_interpreter_exits_in_silence_while_an_agent_waits_for_an_answer():
    ran = run_python(
        """
        import sys, threading
        from mesa_llm.clients import DirectClient, LLMRequest, Message
        from mesa_llm.concurrency import worker_thread
        from mesa_llm.testing import FakeOpenAIServer, Fault

        ask = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
        DirectClient(api_base=sys.argv[1]).generate(ask)
        arrived = threading.Event()

        def hang(body):
            arrived.set()
            return Fault.hang()

        server = FakeOpenAIServer(hang)
        server.__enter__()
        worker_thread.start(lambda: DirectClient(api_base=server.url).generate(ask))
        arrived.wait()
        print("bye")
        """
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("bye\n", "", 0)


FORKS = """
    import os, sys, warnings
    from mesa_llm.clients import DirectClient, LLMRequest, Message

    client = DirectClient(api_base=sys.argv[1], verify=sys.argv[2] if len(sys.argv) > 2 else True)
    ask = LLMRequest(model="openai/fake", messages=(Message("user", "hi"),))
    client.generate(ask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
        child = os.fork()
    client.generate(ask)
    if child:
        os.waitpid(child, 0)  # it has ended, and with it everything that it has inherited
        client.generate(ask)
        print("parent", flush=True)
    else:
        print("child", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_forked_child_opens_connections_of_its_own_and_leaves_its_parents_alone(secure, tls, ca_file):
    ran = run_python(FORKS, *[str(ca_file)] * secure, tls=tls if secure else None)
    assert (ran.stdout, ran.stderr) == ("child\nparent\n", "")
    assert len(ran.server.requests) == 4
    assert ran.server.connections_opened == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_of_this_process():
    with FakeOpenAIServer() as server:
        client = DirectClient(api_base=server.url)
        ask(client)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os._exit(0 if ask(client) == "ok" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        ask(client)
    assert server.connections_opened == 2


def test_tls_with_an_authority_of_ones_own(authority, tls, ca_file, tmp_path):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with FakeOpenAIServer(tls=tls) as server:
        assert server.url.startswith("https://")
        for verify in (ca_file, str(ca_file), context, False):
            assert ask(DirectClient(api_base=server.url, verify=verify)) == "ok"
        assert ask(DirectClient(api_base=server.url, verify=ca_file)) == "ok"
    assert server.connections_opened == 3, "those who check in the same way share connections"


def test_tls_with_an_authority_that_nobody_knows(tls):
    with FakeOpenAIServer(tls=tls) as server, pytest.raises(EndpointUnreachableError) as caught:
        ask(DirectClient(api_base=server.url))
    assert not caught.value.is_transient
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert "needs verify='/path/of/its/ca.pem'" in str(caught.value)
    assert server.requests == []


def test_tls_with_the_authorities_of_the_environment(monkeypatch, tls, ca_file):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    ran = run_python(EXITS, tls=tls)
    assert (ran.stdout, ran.stderr) == ("10 ok\nclosed\n", "")


def test_a_connection_that_does_not_come_about_in_time():
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, and never answers to TLS
        client = DirectClient(api_base=f"https://127.0.0.1:{deaf.getsockname()[1]}/v1", connect_timeout=0.1, timeout=30)
        with pytest.raises(EndpointUnreachableError, match="Connection timeout") as caught:
            ask(client)
    assert caught.value.is_transient


def test_a_file_without_certificates(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing\n")
    with pytest.raises(ConfigurationError, match="holds no certificates that can be read"):
        DirectClient(verify=tmp_path / "ca.pem")


def test_a_proxy_that_is_given():
    with FakeOpenAIServer() as server, LoopbackProxy(server.url) as proxy:
        assert ask(DirectClient(api_base=server.url, proxy=f"http://me:secret@{proxy.address}")) == "ok"
    (head,) = proxy.heads
    assert head.startswith(f"POST {server.url}/chat/completions HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment(monkeypatch, variable):
    with FakeOpenAIServer() as server, LoopbackProxy(server.url) as proxy:
        monkeypatch.setenv(variable, proxy.address)
        assert ask(DirectClient(api_base="http://model.test/v1")) == "ok"
        assert ask(DirectClient(api_base=server.url)) == "ok"  # on the loopback
    (head,) = proxy.heads
    assert head.startswith("POST http://model.test/v1/chat/completions HTTP/1.1\r\n")


def test_https_through_a_proxy_of_the_environment(monkeypatch, tls, ca_file):
    with FakeOpenAIServer(tls=tls) as server, LoopbackProxy(server.url) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        assert ask(DirectClient(api_base="https://model.test/v1", verify=ca_file)) == "ok"
    (head,) = proxy.heads
    assert head.startswith("CONNECT model.test:443 HTTP/1.1\r\n")


@pytest.mark.parametrize("no_proxy", ["model.test", ".test", "*", "other.test,model.test:8000"])
def test_no_proxy(monkeypatch, no_proxy):
    looked_up = []

    def fail(host, *args, **kwargs):
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    for client in (
        DirectClient(api_base="http://model.test:8000/v1"),
        DirectClient(api_base="http://direct.test/v1", trust_env=False),
        DirectClient(api_base="http://proxied.tset/v1"),
    ):
        with pytest.raises(EndpointUnreachableError):
            ask(client)
    assert looked_up == ["model.test", "direct.test", "proxied.tset" if no_proxy == "*" else "proxy.test"]


@pytest.mark.parametrize(("refusal", "is_transient"), [("407 Who are you", False), ("502 Bad Gateway", True)])
def test_a_proxy_that_refuses(refusal, is_transient, ca_file):
    with FakeOpenAIServer() as server, LoopbackProxy(server.url, refusal=refusal) as proxy:
        client = DirectClient(api_base="https://model.test/v1", proxy=f"http://{proxy.address}", api_key="sk-12345678")
        with pytest.raises(EndpointUnreachableError) as caught:
            ask(client)
    assert caught.value.is_transient == is_transient
    assert f"cannot be reached: the proxy answered with status {refusal[:3]}: {refusal[4:]}." in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_socks_proxy_of_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match=r"must be an http or https URL, .* got 'socks5h://127.0.0.1:1080'"):
        ask(DirectClient(api_base="http://model.test/v1"))
