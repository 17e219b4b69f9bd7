"""Asking a model to choose exactly one action, and reading what it has chosen."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mesa_llm.actions.action_decorator import ActionDefinition, definition_of, schema_of
from mesa_llm.actions.action_manager import ActionSelection
from mesa_llm.actions.action_result import ActionChoice, chosen_by_model
from mesa_llm.activation.context import current_agent_step
from mesa_llm.clients import ResponseFormat, ToolSpec
from mesa_llm.clients.questions import instructions_for, register_question
from mesa_llm.errors import ActionChoiceError, ConfigurationError, DecisionError, ToolError
from mesa_llm.module_llm.call_reading import matching_name, read_arguments
from mesa_llm.module_llm.calls_schema import choice_schema
from mesa_llm.module_llm.dialogue import Dialogue, UnreadableAnswerError, ask_read, read_object
from mesa_llm.module_llm.request_fields import OfferedTool, rebuilt
from mesa_llm.spaces import directions_from
from mesa_llm.tools.visible import Seen, Sight

_AS_JSON = """\
You are an agent in a simulation. Choose exactly one of the actions on offer. Answer with one JSON object and nothing
else:
{"rationale": "why, in one sentence", "action": {"name": "the action", "arguments": {"name of the argument": value}}}"""
_AS_CALL = """\
You are an agent in a simulation. Choose exactly one of the actions on offer, by calling it as a tool. Say in one
sentence why."""
register_question("decide", _AS_JSON, name="act")
register_question("decide", _AS_CALL, name="act by a tool call")


def choose(
    agent: Any,
    prompt: str | list[str],
    *,
    actions: ActionSelection,
    system_prompt: str | None,
    legend: str | None,
    obs: object,
    look: Callable[[], Seen],
) -> Dialogue[ActionChoice]:
    """Have a model choose one action, in one call; a choice that does not fit is asked for again once.

    With `tool_mode="native"` the choice is a tool call, otherwise a JSON object. `legend` says what positions mean, and
    `obs` is the observation in the prompt, if there is one. `look` gives what the agent sees, and is called only if an
    action depends on it. For arguments and errors, see `LLMAgent.choose_action`.
    """
    llm = agent.llm
    offer = _Offer(agent, actions, look)
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"prompt must be a str or a list of str, got {prompt!r} ({type(prompt).__name__}).")
    texts = [text for text in texts if text.strip()]  # some servers refuse an empty message
    if choices := offer.choices():  # late in the prompt, so that what is before them can be cached
        texts = [*texts[:-1], choices, *texts[-1:]]
    natively = llm.tool_mode == "native"
    persona = (agent.system_prompt if system_prompt is None else system_prompt) or ""
    sections = {"Positions": legend or "", "Who you are": persona}
    about = [f"# {heading}\n{text}" for heading, text in sections.items() if text.strip()]
    instructions = instructions_for(agent, "act by a tool call" if natively else "act")
    system = "\n\n".join([instructions, *about])
    try:
        if natively:
            request = llm.request(texts or ["What do you do?"], offer.tools(), "required", system_prompt=system)
            response = yield replace(request, max_tool_calls=1, observation=obs)
            (call,) = response.message.tool_calls
            choice = offer.choice(call.name, call.arguments, response.message.content)
        else:
            request = llm.request([offer.in_words(), *texts], system_prompt=system, response_format=offer.form())
            choice = yield from ask_read(replace(request, observation=obs), offer.read, asker=agent)
            if (agent_step := current_agent_step()) is not None:  # a tool call is counted where it is read
                agent_step.count("decisions")
    except DecisionError as error:
        if type(error) is not DecisionError:
            raise
        raise ActionChoiceError(str(error)) from error
    return chosen_by_model(choice)


def _without_description(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "description"}


class _Offer:
    """The actions that an agent can choose from at one moment, as a model gets them and as its choice is checked."""

    def __init__(self, agent: Any, actions: ActionSelection, look: Callable[[], Seen]) -> None:
        manager = agent.action_manager
        if not manager.actions:
            raise ConfigurationError(f"{agent} has no actions to choose from. Give it some: LLMAgent(…, actions=[…]).")
        offered = manager.available_actions(agent, actions)
        self._agent = agent
        self._sight: Sight | None = None
        self._definitions = {name: definition_of(function) for name, function in offered.items()}
        if any(known.depends_on_sight for known in self._definitions.values()):
            # The answer is read against what is on offer now: with eager activation others act while the model thinks.
            self._sight = Sight(agent, look(), directions_from(agent, free_only=True))
        specs = {name: self._spec(definition) for name, definition in self._definitions.items()}
        self._specs = {name: spec for name, spec in specs.items() if spec is not None}
        if not self._specs:
            why = f"{', '.join(offered)} can take no argument" if offered else "none is on offer"
            raise ActionChoiceError(
                f"{agent} has no action to choose from at the moment: of {', '.join(manager.actions)}, {why}. Offer "
                "one that is always possible, such as `wait`."
            )

    def _spec(self, definition: ActionDefinition) -> ToolSpec | None:
        return definition.spec if self._sight is None else definition.spec_for(self._agent, self._sight.seen)

    def tools(self) -> Sequence[ToolSpec]:
        """The actions as tools that check their arguments."""
        return [
            OfferedTool.of(self._definitions[name].spec, check=functools.partial(self.choice, name))
            for name in self._specs
        ]

    def in_words(self) -> str:
        """The actions for a prompt, one a line; the same for all agents and steps that have them on offer."""
        known = [self._definitions[name] for name in self._specs]
        lines = [json.dumps(schema_of(each.spec, each.returns), ensure_ascii=False) for each in known]
        return "\n".join(["# Actions", *lines])

    def choices(self) -> str:
        """The values that arguments can have now, where that depends on what the agent sees, one action a line."""
        lines = []
        for name, spec in self._specs.items():
            usual, now = self._definitions[name].spec.parameters["properties"], spec.parameters["properties"]
            # An optional argument for which there is no value at the moment is left out of the schema.
            changed = {
                each: rebuilt(now.get(each, {"enum": []}), _without_description)
                for each in usual
                if now.get(each) != usual[each]
            }
            if changed:
                lines.append(json.dumps({name: changed}, ensure_ascii=False))
        return "\n".join(["# Choices now", *lines]) if lines else ""

    def form(self) -> ResponseFormat:
        """The schema that an answer must satisfy."""
        return ResponseFormat("action", choice_schema({name: spec.parameters for name, spec in self._specs.items()}))

    def read(self, text: str) -> ActionChoice:
        """The choice in an answer's text: in the form asked for, or flat, as mesa-llm asks for it."""
        return read_object(text, self._accept, [{"name", "action"}, {"rationale"}])

    def _accept(self, value: Mapping[str, Any]) -> ActionChoice:
        named = value.get("action", value)
        if not isinstance(named, Mapping):
            named = {"name": named, **value}
        name, rationale = named.get("name"), value.get("rationale", named.get("rationale"))
        if not isinstance(name, str):
            raise UnreadableAnswerError("it does not name an action: 'action' must be an object with a 'name'")
        try:
            return self.choice(name, named.get("arguments"), rationale if isinstance(rationale, str) else "")
        except ToolError as error:
            raise UnreadableAnswerError(str(error)) from error

    def choice(self, name: str, arguments: str | Mapping[str, Any] | None, rationale: str = "") -> ActionChoice:
        """A choice as a model has written it; a `ToolError` if it is not on offer, or its arguments do not fit."""
        meant = matching_name(name, self._specs)
        if meant is None:
            raise ToolError(f"there is no action {name[:100]!r}; on offer: {', '.join(self._specs)}")
        definition = self._definitions[meant]
        accepted = definition.accept(definition.without_nulls(read_arguments(arguments)), self._sight)
        return ActionChoice(name=meant, arguments=accepted, rationale=rationale.strip() or None)
