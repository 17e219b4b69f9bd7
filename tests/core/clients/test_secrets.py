"""Secrets and control codes: whatever a server echoes, in whatever form, nobody gets to see them."""

import base64
import io
import json
import logging
import pickle
import subprocess
import sys
import traceback
from contextlib import ExitStack

import pytest
from helpers.environment import without_keys_and_proxies
from helpers.speakers import Speaker, SpeakersModel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesa_llm.clients import DirectClient, EmbeddingClient, LiteLLMClient, LLMRequest, Message
from mesa_llm.clients.failures import FailedCall
from mesa_llm.clients.masking import Secrets, secrets_in_options
from mesa_llm.clients.providers import direct_settings
from mesa_llm.errors import ConfigurationError, ModelCallError, UnknownModelError
from mesa_llm.errors.shown_text import for_people, is_control, masked_address, printable
from mesa_llm.journal import JournaledClient
from mesa_llm.journal.serialization import RecordedError
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import ParallelStepError, chrome_trace, enable_automatic_parallel_stepping
from mesa_llm.recording import SimulationRecorder
from mesa_llm.telemetry import TracedClient
from mesa_llm.testing import FakeOpenAIServer, Fault

SECRET = "tinykey-q1w2e3r4t5y6u7i8o9p0-ABCDEFGHIJ"  # has none of the known forms of keys
LOGIN = f"someone:{SECRET}"
STEERING = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x08 \x9b31m\u202egnp\u2066\u200b\ufeff\x7f\x00"


class Server(FakeOpenAIServer):
    """Answers whatever it is asked, chat completions or not."""

    async def _serve(self, request):
        return await self._serve_completion(request)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


def assert_unseen(text, secret=SECRET):
    parts = (secret[start : start + 8] for start in range(len(secret) - 7))
    assert not [part for part in parts if part in text], text


def all_of(error):
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def request(model="openai/fake", **options):
    return LLMRequest(model=model, messages=(Message("user", "hi"),), options=options)


def failure_of(client, model="openai/fake", **options):
    with pytest.raises((ModelCallError, ConfigurationError)) as caught:
        client.generate(request(model, **options))
    return caught.value


FORMS = {
    "plain": SECRET,
    "base64 of a login": base64.b64encode(LOGIN.encode()).decode(),
    "JSON": json.dumps(json.dumps(SECRET)).replace("-", "\\u002d"),
    "all as \\u": "".join(f"\\u{ord(letter):04X}" for letter in SECRET),
    "all as \\\\u": "".join(f"\\\\u{ord(letter):04x}" for letter in SECRET),
    "all as \\u{}": "".join(f"\\u{{{ord(letter):x}}}" for letter in SECRET),
    "all as \\x": "".join(f"\\x{ord(letter):02x}" for letter in SECRET),
    "percent": "".join(f"%{ord(letter):02x}" for letter in SECRET),
    "percent twice": "".join(f"%25{ord(letter):02X}" for letter in SECRET),
    "HTML": "".join(f"&#{ord(letter)};" for letter in SECRET),
    "HTML twice": "".join(f"&amp;#x{ord(letter):x};" for letter in SECRET),
    "wrapped": "\n".join(SECRET[at : at + 7] for at in range(0, len(SECRET), 7)),
    "coloured": f"{SECRET[:9]}\x1b[1m{SECRET[9:]}",
    "zero width": "\u200b".join(SECRET),
}
SHOWN_AS = {
    "401": lambda text: Fault(status=401, body={"error": {"message": text}}),
    "across the cut": lambda text: Fault(status=400, body={"error": {"message": f"{'x' * 480} {text}"}}),
    "across what is read": lambda text: Fault(status=502, body=f"{' ' * 19_980}{text}".encode()),
    "code": lambda text: Fault(status=429, body={"error": {"message": "no", "code": text, "type": text}}),
    "page": lambda text: Fault(status=502, body=f"<p>{text}</p>".encode(), headers={"Content-Type": "text/html"}),
    "not JSON": lambda text: Fault(status=200, body=f"{'y' * 440} {text}".encode()),
    "type": lambda text: Fault(status=200, body=b"x", headers={"Content-Type": text.encode("unicode_escape").decode()}),
    "in place of an answer": lambda text: Fault(status=200, body={"error": {"message": text}}),
    "no completion": lambda text: Fault(status=200, body={"answer": text}),
    "Location": lambda text: Fault(status=302, headers={"Location": text.encode("unicode_escape").decode()}),
    "Location's login": lambda text: Fault(status=307, headers={"Location": f"http://x:{SECRET}@127.0.0.1:9/v1"}),
}
CLIENTS = {
    "direct, key": lambda base: DirectClient(api_base=base, api_key=SECRET),
    "direct, login": lambda base: DirectClient(api_base=base.replace("//", f"//{LOGIN}@")),
    "direct, header": lambda base: DirectClient(api_base=base, headers={"X-Anything": SECRET, "X-Auth": LOGIN}),
    "direct, proxy": lambda base: DirectClient(api_base=base, proxy=base.replace("//", f"//{LOGIN}@")),
    "litellm, key": lambda base: LiteLLMClient(api_base=base, api_key=SECRET),
    "litellm, query": lambda base: LiteLLMClient(api_base=f"{base}?api-key={SECRET}"),
    "embeddings": lambda base: EmbeddingClient(api_base=base, api_key=SECRET),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_recognised_in_every_form(form):
    secrets = Secrets(addresses=[f"http://{LOGIN}@host"])
    for length in (0, 400, 460, 490, 495):
        shown = secrets.clean(f"{'x' * length} {FORMS[form]}")
        assert_unseen(shown)
        assert FORMS[form] not in shown
        assert len(shown) <= 501


@pytest.mark.parametrize("kept", [4, 8, 20, 38])
def test_the_beginning_of_a_secret_is_masked_where_a_text_ends(kept):
    secrets = Secrets(keys=[SECRET])
    assert secrets.clean(f"you sent {SECRET[:kept]}") == "you sent ***"
    assert secrets.clean(f"{' ' * (20_000 - kept)}{SECRET}") == "***", "no more is read"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("place", SHOWN_AS)
def test_no_error_shows_what_a_server_echoes(place, client):
    # Only clients with a login send it as base64.
    forms = {form: text for form, text in FORMS.items() if "login" in client or "base64" not in form}
    with Server([SHOWN_AS[place](text) for text in forms.values()]) as server:
        asking = CLIENTS[client](server.url)
        for form, text in forms.items():
            shown = all_of(failure_of(asking))
            assert_unseen(shown)
            assert text not in shown, form


def test_the_login_is_masked_as_basic_authentication_sends_it():
    sent = []

    def echo(body):
        return Fault(status=401, body=f"{sent[0]} {base64.b64decode(sent[0]).decode()}")

    sent.append(base64.b64encode(LOGIN.encode()).decode())
    with Server(echo) as server:
        error = failure_of(DirectClient(api_base=server.url.replace("//", f"//{LOGIN}@")))
        assert server.requests[0].headers["authorization"] == f"Basic {sent[0]}"
    assert "status 401: *** ***" in str(error)
    assert sent[0] not in all_of(error)
    assert_unseen(all_of(error))


@pytest.mark.parametrize("client", ["direct, key", "litellm, key", "embeddings"])
def test_control_codes_of_a_server_are_left_out(client):
    with Server(Fault(status=400, body={"error": {"message": f"a{STEERING}b [bold]c[/]"}})) as server:
        error = failure_of(CLIENTS[client](server.url))
    assert Secrets().clean(f"a{STEERING}b") == "ared gnpb"
    assert "status 400: ared gnpb [bold]c[/]." in str(error)
    assert not any(map(is_control, str(error)))


@pytest.mark.parametrize("key", ["none", "x", "ollama", "a"])
def test_a_short_key_may_be_a_word_and_stays_one_in_texts(key):
    with Server(Fault(status=400, body=f"ollama has none: {key}, xylophone")) as server:
        for client in (DirectClient(api_base=server.url, api_key=key), LiteLLMClient(api_base=server.url, api_key=key)):
            assert f"ollama has none: {key}, xylophone" in str(failure_of(client))
    assert repr(direct_settings("openai/fake", "http://host/v1", key)).count("api_key") == 0


ADDRESSES = {
    "http://host:8000/v1": "http://host:8000/v1",
    "http://[::1]:8000/v1": "http://[::1]:8000/v1",
    "http://host/models/x@001": "http://host/models/x@001",
    "https://host/v1?api-version=2024-10-21": "https://host/v1?api-version=2024-10-21",
    "http://me:pw@host/v1": "http://***@host/v1",
    "http://me:p@w@host:8000/v1": "http://***@host:8000/v1",
    "http://token@host/v1": "http://***@host/v1",
    "http://me:p/w@host/v1": "http://***@host/v1",
    "http://me:p?w#@host/v1": "http://***@host/v1",
    "http://me:p[w@host/v1": "http://***@host/v1",
    "http://me:pw@[::1]:8000/v1": "http://***@[::1]:8000/v1",
    "htp://me:pw@host": "htp://***@host",
    "http:/me:pw@host": "http:/***@host",
    "//me:pw@host": "//***@host",
    "me:pw@host:8000": "***@host:8000",
    **{
        f"https://host/v1?x=1&{name}=a;b c&y=2": f"https://host/v1?x=1&{name}=***&y=2"
        for name in ("key", "KEY", "api-key", "api_key", "apikey", "token", "access_token", "sig", "X-Amz-Signature")
    },
    "https://host/v1#access_token=a": "https://host/v1#access_token=***",
    "http://host/\x1b[2J\u202ev1": "http://host/v1",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(address):
    shown = ADDRESSES[address]
    assert masked_address(address) == shown
    assert masked_address(shown) == shown
    assert ModelCallError("failed", endpoint=address).endpoint == shown
    old = RecordedError(kind="UnknownModelError", message="none", details={"model": "a/b", "endpoint": address})
    assert old.exception().endpoint == shown, "journals from before may hold more"
    assert f"openai/fake at {shown} " in str(FailedCall(model="openai/fake", endpoint=address).timed_out(1))


@pytest.mark.parametrize(
    "address",
    [
        f"htp://{LOGIN}@host/v1",
        f"{LOGIN}@host/v1",
        f"http:/{LOGIN}@host/v1",
        f"http://me:{SECRET[:7]}/{SECRET}@host/v1",
        f"http://me:{SECRET}℀@host/v1",
        f"http://[{LOGIN}@host/v1",
        f"http://{LOGIN}@host:port/v1",
        f"http://{LOGIN}@:8000/v1",
    ],
)
def test_an_address_that_cannot_work_is_named_without_its_secrets(address):
    for client in (DirectClient(api_base=address), connect(api_base=address, transport="direct", max_attempts=1)):
        error = failure_of(client)
        assert isinstance(error, ConfigurationError)
        assert "api_base must be an http or https URL" in str(error)
        assert "***@" in str(error)
        assert_unseen(all_of(error))
        assert SECRET[:7] not in all_of(error)
    with pytest.raises(ConfigurationError, match=r"A proxy must be .*\*\*\*@") as caught:
        DirectClient(proxy=address)
    assert_unseen(all_of(caught.value))
    error = failure_of(DirectClient(api_base=address), "nobody/x")
    assert type(error) is UnknownModelError
    assert_unseen(all_of(error))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OTHER_TOKEN"])
def test_secrets_of_the_environment_are_masked(variable, monkeypatch, closed_port):
    is_address = variable.lower().endswith(("proxy", "url"))
    monkeypatch.setenv(variable, f"http://{LOGIN}@127.0.0.1:{closed_port}" if is_address else SECRET)
    with Server(Fault(status=400, body=f"you sent {SECRET}")) as server:
        error = failure_of(DirectClient(api_base=server.url))
    assert "you sent ***" in str(error)
    assert_unseen(all_of(error))


def test_a_proxy_without_a_scheme_has_secrets_too(monkeypatch):
    monkeypatch.setenv("https_proxy", f"{LOGIN}@proxy.test:3128")
    assert Secrets().clean(f"refused by {LOGIN}") == "refused by ***"


@pytest.mark.parametrize(
    "options",
    [{"extra_headers": {"X-Anything": SECRET}}, {"aws_session_token": SECRET}, {"base": f"https://a/?sig={SECRET}"}],
)
def test_secrets_among_the_options_of_a_request_are_masked(options):
    assert secrets_in_options(options).clean(f"you sent {SECRET}") == "you sent ***"


@pytest.mark.parametrize("password", ["pa+ss wo/rd", "pässwörd", "a:b@c:d#e?f", "10%25 more", 'quo"ted\\one'])
@pytest.mark.parametrize("quoting", ["plain", "percent", "plus"])
def test_passwords_are_masked_as_they_are_written_and_as_they_are_sent(password, quoting):
    from urllib.parse import quote, quote_plus

    as_echoed = {"plain": str, "percent": lambda text: quote(text, safe=""), "plus": quote_plus}[quoting](password)
    for written in (quote(password, safe=""), password.replace("#", "").replace("?", "")):
        secrets = Secrets(addresses=[f"http://me:{written}@host/v1"])
        assert secrets.clean(f"bad {written}") == "bad ***"
        if written == quote(password, safe=""):
            assert secrets.clean(f"bad {as_echoed} sent") == "bad *** sent"
            assert secrets.clean(f"bad {json.dumps(password)} sent") == 'bad "***" sent'


@pytest.mark.parametrize("way", ["text", "cause", "context", "note", "group"])
def test_a_cause_is_left_out_if_anything_in_its_chain_shows_a_secret(way):
    bad = ValueError(f"bad {SECRET}")
    error = TypeError("not JSON")
    match way:
        case "text":
            error = bad
        case "cause":
            error.__cause__ = KeyError("between")
            error.__cause__.__context__ = bad
        case "context":
            error.__context__ = bad
        case "note":
            error.add_note(f"sent {SECRET}")
        case "group":
            error.__cause__ = ExceptionGroup("several", [bad])
    failure = FailedCall(model="openai/fake", endpoint=None, secrets=Secrets(keys=[SECRET])).unexpected(error)
    assert failure.__cause__ is None
    assert_unseen(all_of(failure))
    harmless = FailedCall(model="openai/fake", endpoint=None).unexpected(TypeError("not JSON"))
    assert isinstance(harmless.__cause__, TypeError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("openai", "Sending HTTP Request: POST http://{}@host/v1"),
        ("openai._base_client", "Request options: {}"),
        ("httpx", "HTTP Request: POST https://host/v1?sig={}"),
        ("httpcore.http11", "return_value=(b'HTTP/1.1', 302, [(b'Location', b'{}')])"),
        ("LiteLLM", "RAW RESPONSE: {}"),
        ("LiteLLM Router", "{}"),
    ],
)
def test_litellms_logs_are_masked(name, text, closed_port):
    failure_of(LiteLLMClient(api_base=f"http://{LOGIN}@127.0.0.1:{closed_port}/v1"))  # imports litellm
    stream, logger = io.StringIO(), logging.getLogger(name)
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug(text.format("%s"), LOGIN)
        logger.debug("%d", LOGIN)  # an argument that does not fit
        try:
            raise ValueError(f"bad {SECRET}")
        except ValueError:
            logger.exception("Encountered Exception")
        logger.debug("harmless %d", 1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert "***" in stream.getvalue()
    assert "ValueError: bad ***" in stream.getvalue()
    assert "harmless 1" in stream.getvalue()
    assert_unseen(stream.getvalue())


def test_all_that_litellm_logs_of_a_call_is_masked(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    bases = ("{}", "{}?api-key=" + SECRET)
    with Server(Fault(status=401, body=f"wrong: {SECRET}")) as server:
        for base in (*(base.format(server.url) for base in bases), server.url.replace("//", f"//{LOGIN}@")):
            for kind in (LiteLLMClient, EmbeddingClient):
                failure_of(kind(api_base=base, api_key=SECRET))
    logs = caplog.text + "".join(capfd.readouterr())
    assert "HTTP Request" in logs
    assert_unseen(logs)


PROVIDERS = {
    "openai/m": {},
    "azure/m": {"api_version": "2024-10-21"},
    "anthropic/claude-3-5-sonnet-20241022": {},
    "gemini/gemini-1.5-pro": {},
    "hosted_vllm/m": {},
}


ASKED = [(LiteLLMClient, model) for model in PROVIDERS] + [(DirectClient, "openai/m"), (DirectClient, "hosted_vllm/m")]


@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize(("kind", "model"), ASKED)
def test_no_redirection_is_followed(kind, model, status):
    with ExitStack() as servers:
        other = servers.enter_context(Server("stolen"))
        server = servers.enter_context(Server(Fault(status=status, headers={"Location": other.url})))
        error = failure_of(kind(api_base=server.url, api_key=SECRET), model, **PROVIDERS[model])
        assert other.connections_opened == 0
    assert error.status == status


def test_nobody_shows_a_secret_of_a_client():
    client = DirectClient(api_base=f"http://{LOGIN}@host/v1", headers={"X-Auth": SECRET})
    settings = direct_settings("openai/fake", "http://host/v1", SECRET)
    call = FailedCall(model="openai/fake", endpoint=None, secrets=Secrets(keys=[SECRET]))
    for shown in (client, settings, client._open_route(settings), call, call.secrets, connect(api_key=SECRET)):
        assert_unseen(repr(shown) + str(shown))
    assert pickle.loads(pickle.dumps(call.secrets)).clean(SECRET) == "***"


class Asking(Speaker):
    def __init__(self, model, client):
        super().__init__(model, client, llm_model="openai/fake")


def test_no_file_or_span_of_a_run_holds_a_secret(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "mesa_llm")
    enable_automatic_parallel_stepping()
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    echo = Fault(status=500, body={"error": {"message": f"{STEERING}{SECRET}"}})
    with Server(echo) as server:
        way = connect(api_base=server.url.replace("//", f"//{LOGIN}@"), max_attempts=2, max_elapsed=60.0)
        traced = TracedClient(way, tracer_provider=provider, record_content=True)
        with JournaledClient(traced, tmp_path / "journal.db") as client:
            model = SpeakersModel(2, client, Asking)
            recorder = SimulationRecorder(model, output_dir=tmp_path)
            with pytest.raises(ParallelStepError) as caught, recorder.recording_step():
                model.step()
            recorder.close()
    assert exporter.get_finished_spans()
    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    told += json.dumps(chrome_trace(model.parallel_reports)) + caplog.text
    told += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    told += "".join(map(all_of, caught.value.exceptions))
    assert "status 500: red gnp***" in told
    assert_unseen(told)
    assert not any(code in told for code in ("\\u001b", "\\x1b", "\x1b[", "\u202e", "\\u202e"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, naïve 日本語 👍", "plain text, naïve 日本語 👍"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\r\nb\u2028c\x85d", "a \nb c d"),
        (STEERING, "red gnp"),
        ("\x1bPdevice\x1b\\x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("\x1b", ""),
        ("half \ud83d of a pair", "half  of a pair"),
        ("\u2067\u061c\u200e\u2060\U000e0041", ""),
    ],
)
def test_a_text_is_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://me:p@w@host/v1, a@b.c", "see http://***@host/v1, a@b.c"),
        (r"see http:\/\/me:pw@host\/v1", r"see http:\/\/***@host\/v1"),
        ("http://host/?a=1\\u0026key=abc", "http://host/?a=1\\u0026key=***"),
        ("Authorization: Basic bWU6cHc=", "Authorization: Basic ***"),
        ("Bearer abc", "Bearer ***"),
        ("sk-proj-0123456789, hf_0123456789abcdef01", "***, ***"),
        ("no key was given", "no key was given"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, shown):
    assert for_people(text) == shown


def test_a_long_text_is_masked_in_time_that_grows_with_its_length():
    """In a process of its own: where each `%26` began a search through all that follows, it took minutes."""
    code = """
from mesa_llm.errors.shown_text import for_people, masked_address
text = "%26" * 60_000
assert for_people(text) == masked_address(text) == text
assert for_people(f"{text}api_key=abc def") == f"{text}api_key=*** def"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
