"""The ODD protocol of Grimm et al. (2020), filled in with what a recorded run knows.

Grimm, V., Railsback, S. F., Vincenot, C. E., et al. (2020). The ODD Protocol for Describing Agent-Based and Other
Simulation Models: A Second Update to Improve Clarity, Replication, and Structural Realism. Journal of Artificial
Societies and Social Simulation, 23(2), 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_DESIGN_CONCEPTS = {
    "Basic principles": "",
    "Emergence": "",
    "Adaptation": "Agents adapt by the decisions of a language model; the prompts below say what they are asked.",
    "Objectives": "The objectives are those in the prompts.",
    "Learning": "The language model does not learn during a run. What agents remember is part of their prompts.",
    "Prediction": "",
    "Sensing": "An agent's observation is part of its prompt.",
    "Interaction": "",
    "Stochasticity": "",
    "Collectives": "",
    "Observation": "",
}
_TODO = "TODO"


def odd_protocol(data: Mapping[str, Any]) -> str:
    """The protocol in Markdown.

    Args:
        data: a `RunDescription`'s.
    """
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    model = data["model"] or {"class": _TODO, "parameters": {}, "objects": {}}
    agents, activation = data["agents"] or {}, data["activation"] or {}
    yield f"# {model['class']}: ODD protocol"
    yield ""
    yield "After Grimm et al. (2020), JASSS 23(2) 7. Filled in from the record of a run; `TODO` marks what is left."
    yield from ("", "## 1. Purpose and patterns", "", _TODO)
    yield from ("", "## 2. Entities, state variables, and scales", "")
    for name, kind in agents.items():
        parts = [f"{part} {kind[part]}" for part in ("reasoning", "memory") if part in kind]
        yield f"- {name}: {kind['agents']} agents{f' ({", ".join(parts)})' if parts else ''}. State variables: {_TODO}"
    yield f"- Scales: {data['steps']} steps. One step stands for {_TODO}"
    yield from ("", "## 3. Process overview and scheduling", "")
    yield f"Activation: {_settings(activation)}." if activation else _TODO
    for name, kind in agents.items():
        for what in ("actions", "tools"):
            if what in kind:
                offered = ", ".join(schema.get("name") or schema["function"]["name"] for schema in kind[what])
                yield f"- {name} chooses among {what}: {offered}."
    yield from ("", "## 4. Design concepts", "")
    for concept, known in _DESIGN_CONCEPTS.items():
        text = known or _TODO
        if concept == "Stochasticity":
            text = (
                f"Mesa's generators are seeded with {data['seed']}. The language model is a second source of chance "
                f"({_sampling(data)}); a journal holds its answers, and a replay repeats them."
            )
        if concept == "Observation" and data["measures"]:
            text = f"Measured after each step: {', '.join(data['measures'])}."
        yield f"- *{concept}.* {text}"
    yield from ("", "## 5. Initialization", "")
    for name, value in {**model["parameters"], **model["objects"]}.items():
        yield f"- {name} = {json.dumps(value, ensure_ascii=False)}"
    yield from ("", "## 6. Input data", "", _TODO)
    yield from ("", "## 7. Submodels", "", "### Language model", "")
    yield from _language_model(data)


def _language_model(data: Mapping[str, Any]) -> Iterator[str]:
    for llm in data["llms"] or ():
        yield f"- {llm['model']}{f' at {llm["endpoint"]}' if llm['endpoint'] else ''}: {_options(llm)}"
    calls, decided = data["calls"], data["decisions"]
    yield (
        f"- {calls['calls']:,} calls, {calls['failed']:,} failed; {calls['prompt_tokens']:,} tokens read, "
        f"{calls['completion_tokens']:,} written."
    )
    yield (
        f"- {decided['decisions']:,} decisions, {decided['without_call']:,} without a valid call, "
        f"{decided['failed_decisions']:,} failed; {decided['refused_tool_calls']:,} of {decided['tool_calls']:,} "
        "actions refused."
    )
    yield from ("", "### Prompts", "")
    for name, kind in (data["agents"] or {}).items():
        for what in ("system_prompt", "step_prompt"):
            for prompt in kind.get(what, ()):
                yield from _quoted(f"{name}, {what.replace('_', ' ')} of {prompt['agents']} agents", prompt["text"])
    for instruction in data["instructions"] or ():
        who = ", ".join(instruction["agents"])
        yield from _quoted(f"Instructions {instruction['name']} ({who})", instruction["text"])
    yield from ("### Software", "")
    yield from (f"- {name} {version}" for name, version in (data["versions"] or {}).items())
    if data["git"]:
        yield f"- commit {data['git']['commit']}"
    yield f"- state after the last step: SHA-256 {data['state_hash']}"


def _settings(activation: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in activation.items() if value is not None and name != "activation"}
    shown = ", ".join(f"{name} {value}" for name, value in kept.items())
    return f"{activation['activation']}{f' ({shown})' if shown else ''}"


def _options(llm: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in llm["options"].items()) or "no sampling options set"


def _sampling(data: Mapping[str, Any]) -> str:
    return "; ".join(f"{llm['model']}, {_options(llm)}" for llm in data["llms"] or ()) or _TODO


def _quoted(heading: str, text: str) -> Iterator[str]:
    fence = "`" * max(4, max((len(line) - len(line.lstrip("`")) for line in text.splitlines()), default=0) + 1)
    yield from (f"{heading}:", "", f"{fence}text", text, fence, "")
