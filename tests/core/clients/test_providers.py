"""Where the direct transport finds providers, and their keys."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from helpers.environment import without_keys_and_proxies

from mesa_llm.clients.providers import PROVIDERS, direct_settings, is_openai_compatible
from mesa_llm.errors import ConfigurationError, MissingAPIKeyError, UnknownModelError

OWN_NAMES = {"llama_cpp", "sglang"}
OWN_SERVERS = {name for name, provider in PROVIDERS.items() if not provider.needs_key}


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    without_keys_and_proxies(monkeypatch)


@pytest.fixture(scope="module")
def litellm():
    """What litellm says of each provider. In a process of its own: being asked first for this changes how it loads."""
    code = """
        import json, litellm, sys
        print(json.dumps({
            name: [litellm.get_llm_provider(f"{name}/org/name"), litellm.validate_environment(f"{name}/m")["missing_keys"]]
            for name in sys.argv[1:]
        }))
    """
    names = sorted(PROVIDERS.keys() - OWN_NAMES)
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE"))}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *names],
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    )
    return json.loads(said.stdout)


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - OWN_NAMES))
def test_litellm_knows_the_name_and_means_the_same_by_it(name, litellm):
    model, provider, _, base = litellm[name][0]
    assert (provider, model) == (name, "org/name")
    settings = direct_settings(f"{name}/org/name", None if PROVIDERS[name].api_base else "http://localhost/v1", "k")
    assert settings.model == "org/name"
    if base and name not in OWN_SERVERS:
        assert settings.api_base.removesuffix("/v1") == base.removesuffix("/beta").removesuffix("/v1")


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - OWN_SERVERS))
def test_a_providers_own_address_wants_a_key(name, monkeypatch):
    provider = PROVIDERS[name]
    with pytest.raises(MissingAPIKeyError) as caught:
        direct_settings(f"{name}/m")
    assert f"{name}/m needs an API key, and none is set. Set the environment variable {provider.key_variables[0]}" in (
        str(caught.value)
    )
    assert caught.value.model == f"{name}/m"
    for variable in reversed(provider.key_variables):
        monkeypatch.setenv(variable, f"key in {variable}")
        assert direct_settings(f"{name}/m").api_key == f"key in {variable}"
    assert direct_settings(f"{name}/m", api_key="mine").api_key == "mine"


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - OWN_SERVERS))
def test_litellm_looks_for_the_key_in_one_of_the_same_variables(name, litellm):
    missing = litellm[name][1]
    assert not missing or set(missing) & set(PROVIDERS[name].key_variables)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_an_address_that_is_given_wants_none(name):
    settings = direct_settings(f"{name}/m", "http://localhost:1234/v1/")
    assert (settings.api_base, settings.api_key, settings.is_own_server) == ("http://localhost:1234/v1", None, True)
    assert settings.url == "http://localhost:1234/v1/chat/completions"


@pytest.mark.parametrize("name", sorted(OWN_SERVERS))
def test_a_server_of_ones_own_may_have_a_usual_address(name, monkeypatch):
    provider = PROVIDERS[name]
    if provider.api_base is None:
        with pytest.raises(ConfigurationError, match="no address of its own: give api_base"):
            direct_settings(f"{name}/m")
    else:
        assert direct_settings(f"{name}/m").url == f"{provider.api_base}/chat/completions"
    monkeypatch.setenv(provider.base_variables[0], "http://elsewhere/v1")
    monkeypatch.setenv(provider.key_variables[0], "its key")
    settings = direct_settings(f"{name}/m")
    assert (settings.api_base, settings.api_key) == ("http://elsewhere/v1", "its key")


def test_the_usual_variable_of_the_address(monkeypatch):
    assert direct_settings("openai/gpt", api_key="k").api_base == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gpu:8000/v1")
    assert direct_settings("openai/gpt").api_base == "http://gpu:8000/v1"
    assert direct_settings("openai/gpt", "http://given/v1").api_base == "http://given/v1"


def test_ollama_speaks_openais_api_below_v1():
    for base in ("http://gpu:11434", "http://gpu:11434/", "http://gpu:11434/v1"):
        for name in ("ollama", "ollama_chat"):
            assert direct_settings(f"{name}/llama3", base).api_base == "http://gpu:11434/v1"
    assert direct_settings("openai/x", "http://gpu:11434").api_base == "http://gpu:11434"


def test_a_query_in_the_address_stays():
    url = direct_settings("openai/gpt", "https://a.example/openai/v1?api-version=1").url
    assert url == "https://a.example/openai/v1/chat/completions?api-version=1"


def test_a_password_in_the_address_goes_before_a_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert direct_settings("openai/gpt", "http://me:secret@a.example/v1").api_key is None


@pytest.mark.parametrize("model", ["anthropic/claude", "gpt-4o", "openai/", "meta-llama/Llama-3"])
def test_a_name_without_such_a_provider(model):
    with pytest.raises(UnknownModelError, match=r"is not a provider that speaks OpenAI's API\. Write .*openrouter"):
        direct_settings(model, "http://localhost/v1")


@pytest.mark.parametrize("base", ["localhost:8000/v1", "ftp://a/v1", "http:///v1"])
def test_an_address_that_is_none(base):
    with pytest.raises(ConfigurationError, match=r"api_base must be an http or https URL, e.g. .*, got"):
        direct_settings("openai/gpt", base)


def test_is_openai_compatible():
    assert is_openai_compatible("hosted_vllm")
    assert not is_openai_compatible("anthropic")
