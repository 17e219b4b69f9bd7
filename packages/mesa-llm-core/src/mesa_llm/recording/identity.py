"""What a run is: everything that a reader needs to know of it, and to make it again, as JSON.

It holds no keys, and no user and password of an address.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import operator
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.values import is_canonical, plain, to_json
from mesa_llm.clients import LLMClient
from mesa_llm.clients.masking import Secrets, secrets_in_options, without_secrets
from mesa_llm.clients.questions import INSTRUCTIONS, instructions_for
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.shown_text import HIDDEN, masked_address

if TYPE_CHECKING:
    from mesa import Model

DISTRIBUTIONS = ("mesa", "mesa-llm-core", "mesa-llm-parallel", "mesa-llm-examples", "litellm", "numpy")
_FRAMEWORKS = frozenset({"mesa", "mesa_llm", "builtins"})
_MOST_TEXTS = 20
"""How many different prompts of a class of agents are kept; of the rest, the number."""
_GIT_PATIENCE = 5.0  # seconds

settings_of: list[Callable[[Any], Mapping[str, Any]]] = []
"""Functions that tell how a model's agents are activated. Packages above this one add theirs."""


def identity_of(model: Model[Any, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is.

    Args:
        model: the model, with its agents.
        parameters: the arguments of its class, by name.

    Returns:
        `model` (class, module, `parameters`, and as `objects` the texts of those that JSON cannot hold), `seed`,
        `activation`, `agents` (by class: how many, reasoning, memory, tools and actions with their schemas, prompts),
        `instructions` (those of strategies and memories, as agents and model have them), `llms` (model, endpoint,
        sampling options, clients), `sources` (digests of the files with the classes of model and agents), `git` and
        `versions`.
    """
    agents: dict[type, list[Any]] = {cls: list(of) for cls, of in model.agents_by_type.items()}
    llms = [agent.llm for of in agents.values() for agent in of if hasattr(getattr(agent, "llm", None), "llm_model")]
    secrets = functools.reduce(Secrets.__or__, map(_secrets_of, _distinct(llms, _settings)), Secrets())
    classes = [type(model), *agents, *(type(getattr(of[0], "reasoning", None)) for of in agents.values() if of)]
    identity = {
        "model": {"class": type(model).__qualname__, "module": type(model).__module__, **_arguments(parameters)},
        "seed": _seed_of(model, parameters),
        "activation": next((dict(settings(model)) for settings in settings_of), {"activation": "mesa"}),
        "agents": {cls.__name__: _kind(of) for cls, of in agents.items() if of},
        "instructions": _instructions(agents),
        "llms": [_llm(llm) for llm in _distinct(llms, _settings)],
        "sources": _sources(classes),
        "git": _git(type(model)),
        "versions": versions(),
    }
    masked: dict[str, Any] = _masked(plain(identity), secrets)
    return masked


@functools.cache
def versions() -> dict[str, str]:
    """The versions of what a run depends on, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def client_names(client: Any) -> list[str]:
    """The classes of a client and of those that it asks, from the outside in."""
    names: list[str] = []
    while client is not None and len(names) < 20:
        names.append(type(client).__name__)
        client = getattr(client, "inner", None)
    return names


def _seed_of(model: Model[Any, Any], parameters: Mapping[str, Any]) -> Any:
    """What Mesa's generators were seeded with; which attribute keeps it depends on the release and on the argument."""
    known = getattr(model, "_seed", None), *(parameters.get(name) for name in ("rng", "seed"))
    of_scenario = getattr(getattr(model, "scenario", None), "rng", None)
    seed: Any = next((value for value in known if value is not None), of_scenario)
    return operator.index(seed) if hasattr(seed, "__index__") else None


def _arguments(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    exact: dict[str, Any] = {}
    objects: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, LLMClient):
            objects[name] = " > ".join(client_names(value))
        elif isinstance(value, str) and secrets_in_options({name: value})._values:
            objects[name] = HIDDEN if "//" not in value else masked_address(value)
        elif is_canonical(value):
            exact[name] = value
        else:
            objects[name] = to_json(value)
    return {"parameters": exact, "objects": objects}


def _kind(agents: list[Any]) -> dict[str, Any]:
    """What the agents of a class have in common, and the instructions of each."""
    first = agents[0]
    known: dict[str, Any] = {"agents": len(agents)}
    for name in ("reasoning", "memory"):
        if (part := getattr(first, name, None)) is not None:
            known[name] = type(part).__name__
    for name in ("tools", "actions"):
        with suppress(Exception):  # code of the user's own, and agents that have neither
            if found := _schemas_of(first, name):
                known[name] = [{**schema, "sha256": _sha256(to_json(schema))} for schema in found]
    for name in ("system_prompt", "step_prompt"):
        texts: dict[str, int] = {}
        for agent in agents:
            with suppress(Exception):
                if text := getattr(agent, name, None):
                    texts[str(text)] = texts.get(str(text), 0) + 1
        if texts:
            known[name] = [
                {"text": text, "sha256": _sha256(text), "agents": count}
                for text, count in list(texts.items())[:_MOST_TEXTS]
            ]
            known[f"{name}s"] = len(texts)
    return known


def _instructions(agents: Mapping[type, list[Any]]) -> list[dict[str, Any]]:
    """The instructions of strategies and memories, each with the classes of the agents for which it counts."""
    found: dict[tuple[str, str], list[str]] = {}
    for cls, of in agents.items():
        for name in INSTRUCTIONS if hasattr(of[0], "llm") else ():
            with suppress(ConfigurationError):
                found.setdefault((name, instructions_for(of[0], name)), []).append(cls.__name__)
    return [
        {"name": name, "text": text, "sha256": _sha256(text), "agents": classes}
        for (name, text), classes in found.items()
    ]


def _schemas_of(agent: Any, name: str) -> list[dict[str, Any]]:
    if name == "tools":
        return [spec.as_dict() for spec in agent.tool_manager.specs()]
    actions: list[dict[str, Any]] = agent.action_manager.get_actions_schema()
    return actions


def _settings(llm: Any) -> str:
    return to_json([llm.llm_model, llm.api_base, llm.options, id(llm._client)])


def _llm(llm: Any) -> dict[str, Any]:
    client = transport = llm.client
    while getattr(transport, "inner", None) is not None:
        transport = transport.inner
    endpoint = getattr(transport, "api_base", None) or llm.api_base
    return {
        "model": llm.llm_model,
        "endpoint": masked_address(endpoint) if isinstance(endpoint, str) else None,
        "options": without_secrets(llm.options),
        "tool_mode": llm.tool_mode,
        "clients": client_names(client),
    }


def _secrets_of(llm: Any) -> Secrets:
    return Secrets(keys=[llm.api_key], addresses=[llm.api_base]) | secrets_in_options(llm.options)


def _masked(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return secrets.masked(value)
    if isinstance(value, dict):
        return {name: _masked(item, secrets) for name, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list) else value


def _sources(classes: Iterable[type]) -> dict[str, str]:
    """The SHA-256 of what classes and their bases are defined by, other than Mesa's and ours.

    By the module, that of its file; by the class, that of its methods where there is no file, as in a notebook.
    """
    found: dict[str, str] = {}
    bases = dict.fromkeys(base for cls in classes for base in cls.__mro__)
    for base in bases:
        module = base.__module__
        if module.partition(".")[0] in _FRAMEWORKS or module in found:
            continue
        try:
            file = inspect.getsourcefile(sys.modules[module])
            found[module] = hashlib.sha256(Path(str(file)).read_bytes()).hexdigest()
        except (OSError, TypeError, KeyError):
            with suppress(OSError, TypeError):
                methods = [inspect.getsource(member) for member in vars(base).values() if inspect.isfunction(member)]
                found[f"{module}.{base.__qualname__}"] = _sha256("".join(methods))
    return dict(sorted(found.items()))


def _git(cls: type) -> dict[str, Any] | None:
    """The commit of the file that a class comes from, and whether tracked files have changed since."""
    with suppress(OSError, TypeError, KeyError):
        file = Path(str(inspect.getsourcefile(sys.modules[cls.__module__]))).resolve(strict=True)
        return _commit_of(file)
    return None


@functools.cache
def _commit_of(file: Path) -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_PATIENCE)
        return done.stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):  # no git, no repository, or a file that is not in it
        git("ls-files", "--error-unmatch", file.name)
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    return None


def _distinct(items: Iterable[Any], key: Callable[[Any], Any]) -> list[Any]:
    return list({key(item): item for item in reversed(list(items))}.values())[::-1]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
