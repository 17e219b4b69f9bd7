"""The tools of an agent: which are on offer, and how calls are executed."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from inspect import isasyncgen, isawaitable, isgenerator
from typing import Any

from mesa_llm.activation import current_turn
from mesa_llm.activation.call import counter_of
from mesa_llm.activation.once import log_error_once
from mesa_llm.activation.values import to_text, without_addresses
from mesa_llm.clients.messages import ToolCall, ToolSpec
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, ConflictError, ToolError, ends_run
from mesa_llm.errors.shown_text import short_repr
from mesa_llm.module_llm.call_reading import matching_name, read_arguments
from mesa_llm.spaces.space import listed
from mesa_llm.tools.signatures import Condition, check_condition, holds
from mesa_llm.tools.tool_decorator import _GLOBAL_TOOL_REGISTRY as GLOBAL_TOOLS
from mesa_llm.tools.tool_decorator import INHERIT, ToolRef, ToolSelection, ToolTable, names_of, several
from mesa_llm.tools.tool_definition import ToolDefinition, check_name, definition_of
from mesa_llm.tools.visible import Seen, Sight

logger = logging.getLogger(__name__)

type Function = Callable[..., Any]

_NAMELESS = "unknown"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one tool call.

    Attributes:
        call_id: the identifier of the call that this answers.
        name: the name of the tool; the name in the call, if it means no tool.
        arguments: the arguments as the model wrote them, before validation; empty if they cannot be read.
        response: the text that goes back to the model.
        ok: whether the tool ran to its end. If not, `response` begins with `Error: `.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    response: str
    ok: bool

    def as_dict(self) -> dict[str, str]:
        """The result in the form of mesa-llm 0.3: `tool_call_id`, `role`, `name`, `response`."""
        return {"tool_call_id": self.call_id, "role": "tool", "name": self.name, "response": self.response}


class ToolManager:
    """The tools of an agent, or of several.

    Args:
        tools: functions, or the names of functions that are declared with a plain `@tool`; these are then the only
            tools. By default all that are declared so, also later ones. (A dict means `extra_tools`, as in mesa-llm
            0.3.)
        extra_tools: functions, or a dict of them by name, added to the global tools.
        available: conditions by the names of tools, as `@tool(available=…)` has them; for a tool that has one, both
            must hold.

    Raises:
        ConfigurationError: if both are given, something is not a function or cannot be a tool, a name is unknown or
            comes twice, or a condition is for a tool that the manager does not have.
    """

    def __init__(
        self,
        tools: Iterable[ToolRef] | ToolRef | Mapping[str, Function] | None = None,
        *,
        extra_tools: Iterable[ToolRef] | ToolRef | Mapping[str, Function] | None = None,
        available: Mapping[str, Condition] | None = None,
    ) -> None:
        if tools is not None and extra_tools is not None:
            raise ConfigurationError(
                "ToolManager takes tools (only these) or extra_tools (these and the global ones), not both."
            )
        only_these = tools is not None and not isinstance(tools, Mapping)
        own = tools if tools is not None else extra_tools
        self.tools: MutableMapping[str, Function] = ToolTable(with_global=not only_these)
        self.tools.update(_by_name(() if own is None else own))
        self._available = dict(available) if available else None
        for name, condition in (available or {}).items():
            if name not in self.tools:
                raise ConfigurationError(f"available names {name!r}, which is none of the tools: {list(self.tools)}.")
            check_condition(name, condition)

    def register(self, fn: Function) -> None:
        """Add a function to the tools of this manager; it replaces a tool of the same name.

        Args:
            fn: the function, with or without `@tool`.

        Raises:
            ConfigurationError: if it cannot be a tool.
        """
        self.tools.update(_by_name(fn))

    def register_many(self, tools: Iterable[ToolRef] | ToolRef) -> None:
        """Add functions, or by their names those that are declared with a plain `@tool`; see `register`.

        Args:
            tools: the functions or names.

        Raises:
            ConfigurationError: if something cannot be a tool, or a name is unknown or comes twice.
        """
        self.tools.update(_by_name(tools))

    @classmethod
    def add_tool_to_all(cls, fn: Function) -> None:
        """Add a function to the global tools, which every manager offers unless it was given `tools`.

        Args:
            fn: the function, with or without `@tool`.

        Raises:
            ConfigurationError: if it cannot be a tool.
        """
        GLOBAL_TOOLS.update(_by_name(fn))

    def has_tool(self, name: str) -> bool:
        """Whether there is a tool of this name.

        Args:
            name: the tool's name.
        """
        return name in self.tools

    def specs(
        self, selected_tools: Iterable[str] | None = None, *, agent: Any = None, seen: Seen | None = None
    ) -> tuple[ToolSpec, ...]:
        """The tools as they are offered to a model; without an agent, for each tool always the same object.

        With an agent, tools whose condition does not hold (`@tool(available=…)`) are left out. With what it sees as
        well, each tool checks the arguments of a call, and one that takes agents or cells in sight (`VisibleAgentId`,
        `VisibleCell`) lists them for schemas that constrain the answer.

        Args:
            selected_tools: the names of the tools, in order; `None` for all, `[]` for none.
            agent: the agent that will call them.
            seen: what it sees, an `Observation`.

        Raises:
            ConfigurationError: if a name is unknown.
            Exception: what a condition raises.
        """
        chosen = self.tools.items() if selected_tools is None else self._selected(selected_tools)
        definitions = [(definition_of(function, name), name) for name, function in chosen]
        if agent is not None and (self._available or [known for known, _ in definitions if known.available]):
            definitions = [(known, name) for known, name in definitions if self._is_available(known, name, agent)]
        if seen is None:
            return tuple([definition.spec_as(name) for definition, name in definitions])
        sight = Sight(agent, seen)
        return tuple([definition.spec_for(name, sight) for definition, name in definitions])

    def _selected(self, names: Iterable[str]) -> list[tuple[str, Function]]:
        table, names = dict(self.tools.items()), list(names)
        if unknown := [name for name in names if name not in table]:
            raise ConfigurationError(f"Unknown tool name(s) {unknown}. Available tools: {sorted(table)}.")
        return [(name, table[name]) for name in names]

    def get_tool_schema(self, fn: Function, schema_name: str) -> dict[str, Any]:
        """A function as JSON of the chat completions API, whether the manager has it or not.

        Args:
            fn: the function.
            schema_name: the name under which it is offered.

        Raises:
            ConfigurationError: if it cannot be a tool.
        """
        return definition_of(fn, schema_name).spec_as(schema_name).as_dict()

    def get_tools_schema(
        self, tools: ToolSelection = INHERIT, selected_tools: ToolSelection = None
    ) -> list[dict[str, Any]]:
        """The tools on offer as JSON of the chat completions API.

        Args:
            tools: which of them, as functions or names: all by default, none with `None` or `[]`.
            selected_tools: the same by its older name, where `None` means all.

        Raises:
            ConfigurationError: if the manager does not have one, or both are given.
        """
        return [spec.as_dict() for spec in self.specs(names_of(self.tools, tools, selected_tools))]

    def get_all_tools_schema(self, selected_tools: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Like `specs`, as JSON of the chat completions API."""
        return [spec.as_dict() for spec in self.specs(selected_tools)]

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a tool as a plain function: arguments are not checked, and `agent` is one of them.

        Args:
            name: the tool's name.
            arguments: its arguments, by name.

        Returns:
            What the tool returns.

        Raises:
            ConfigurationError: if the name is unknown.
        """
        if name not in self.tools:
            raise ConfigurationError(f"Unknown tool name {name!r}. Available tools: {sorted(self.tools)}.")
        return self.tools[name](**arguments)

    def execute(
        self,
        agent: Any,
        calls: Iterable[Any] | None,
        *,
        offered: Collection[str] | None = None,
        seen: Seen | None = None,
    ) -> list[ToolResult]:
        """Call the tools that a model has asked for, one after the other, in the order of the calls.

        A name that means one of the tools uniquely is that tool (`functions.move`, `Move`), and arguments are read as
        leniently as is unambiguous; those that the tool does not have are left out, which the result says.

        Mistakes of the model and failures inside a tool become the text of a result that is not `ok`; errors other than
        `ToolError` are logged, each kind once in a step. Each call counts in the tally of the agent's step. Errors that
        end a run are raised: a missing key, an exhausted budget, an unreadable journal; so is anything but an
        `Exception`, such as `KeyboardInterrupt`. The remaining calls are then not made. Tools run in the calling
        thread; an async tool runs on the thread's event loop, or on a helper thread if a loop is running here.

        Args:
            agent: the agent that calls; passed to tools that have a parameter `agent`.
            calls: `ToolCall`s, or objects in the form of the OpenAI API.
            offered: the names of the tools that the model was offered; others are refused. `None` for all.
            seen: what the agent saw as it decided, an `Observation`; a call that names an agent out of sight is
                refused, where the tool takes agents in sight. `None` for no check.

        Returns:
            One result for each call, in their order.

        Raises:
            Exception: an error that ends a run, and what the condition of a tool raises.
        """
        return calling_loop.run_unsuspended(self._execute(agent, calls, offered, seen, _call_and_block))

    async def aexecute(
        self,
        agent: Any,
        calls: Iterable[Any] | None,
        *,
        offered: Collection[str] | None = None,
        seen: Seen | None = None,
    ) -> list[ToolResult]:
        """Like `execute`; async tools are awaited, sync tools run on the loop's thread.

        A cancellation ends the tool that is awaited; the remaining calls are not made.
        """
        return await self._execute(agent, calls, offered, seen, _call_and_await)

    def call_tools(self, agent: Any, llm_response: Any, tools: ToolSelection = INHERIT) -> list[dict[str, str]]:
        """Like `execute`, for the `tool_calls` of a model's message.

        Args:
            agent: the agent that calls.
            llm_response: the message, with `tool_calls`.
            tools: the tools that the model was offered, as functions or names; all by default, none with `None` or
                `[]`.

        Returns:
            One `{"tool_call_id", "role", "name", "response"}` for each call.
        """
        calls = getattr(llm_response, "tool_calls", None)
        return [result.as_dict() for result in self.execute(agent, calls, offered=names_of(self.tools, tools))]

    async def acall_tools(self, agent: Any, llm_response: Any, tools: ToolSelection = INHERIT) -> list[dict[str, str]]:
        """Like `call_tools`; async tools are awaited."""
        calls = getattr(llm_response, "tool_calls", None)
        return [result.as_dict() for result in await self.aexecute(agent, calls, offered=names_of(self.tools, tools))]

    async def _execute(
        self,
        agent: Any,
        calls: Iterable[Any] | None,
        offered: Collection[str] | None,
        seen: Seen | None,
        invoke: Callable[[Function, dict[str, Any]], Awaitable[Any]],
    ) -> list[ToolResult]:
        sight = None if seen is None else Sight(agent, seen)
        return [await self._execute_one(agent, call, offered, sight, invoke) for call in calls or ()]

    async def _execute_one(
        self,
        agent: Any,
        call: Any,
        offered: Collection[str] | None,
        sight: Sight | None,
        invoke: Callable[[Function, dict[str, Any]], Awaitable[Any]],
    ) -> ToolResult:
        count = counter_of(agent)
        count("tool_calls")
        call_id, name, raw = read_call(call)
        arguments: dict[str, Any] = {}
        note = ""
        try:
            arguments = read_arguments(raw)
            name = self._meant(name, offered, agent)
        except ToolError as error:
            count("refused")
            return _failed(call_id, name, arguments, str(error))
        function = self.tools[name]
        definition = definition_of(function, name)
        try:
            accepted, left_out = definition.accept(arguments, sight)
            note = _note_on(left_out)
            if definition.injects_agent:
                accepted["agent"] = agent
            returned = await invoke(function, accepted)
            if isgenerator(returned) or isasyncgen(returned):
                raise TypeError("the tool has returned a generator, none of whose code has run; return a list")
            response = f"{name} executed successfully" if returned is None else to_text(returned)
        except ToolError as error:
            count("refused")
            if isinstance(error, ConflictError) and (turn := current_turn()) is not None:
                turn.conflicted(str(error))
            return _failed(call_id, name, arguments, f"{error}{note}")
        except Exception as error:
            if ends_run(error):
                raise
            count("crashed")
            described = without_addresses(": ".join(filter(None, [type(error).__name__, str(error)])))
            text = f"Agent {getattr(agent, 'unique_id', agent)}: the tool {name!r} failed: {described}"
            log_error_once(logger, logging.ERROR, text, error, model=getattr(agent, "model", None), kind=name)
            return _failed(call_id, name, arguments, f"{described}{note}")
        return ToolResult(call_id, name, arguments, f"{response}{note}".lstrip() if note else response, ok=True)

    def _meant(self, name: str, offered: Collection[str] | None, agent: Any) -> str:
        """The name of the tool that a call means, if it is on offer."""
        on_offer = {tool: function for tool, function in self.tools.items() if offered is None or tool in offered}
        meant = matching_name(name, on_offer)
        if meant is not None and self._is_available(definition_of(on_offer.pop(meant), meant), meant, agent):
            return meant
        others = [
            tool
            for tool, function in on_offer.items()
            if self._is_available(definition_of(function, tool), tool, agent)
        ]
        on_offer_now = f"on offer: {', '.join(others)}" if others else "no tools are on offer"
        if meant is not None:
            raise ToolError(f"the tool {meant!r} cannot be used now; {on_offer_now}")
        closest = difflib.get_close_matches(name[:100], others, n=1)
        hint = f" (did you mean {closest[0]!r}?)" if closest else ""
        raise ToolError(f"there is no tool {short_repr(name)}{hint}; {on_offer_now}")

    def _is_available(self, definition: ToolDefinition, name: str, agent: Any) -> bool:
        condition = None if self._available is None else self._available.get(name)
        return (definition.available is None or holds(definition.available, name, agent)) and (
            condition is None or holds(condition, name, agent)
        )


async def _call_and_await(function: Function, arguments: dict[str, Any]) -> Any:
    returned = function(**arguments)
    return await returned if isawaitable(returned) else returned


async def _call_and_block(function: Function, arguments: dict[str, Any]) -> Any:
    returned = function(**arguments)

    async def awaited() -> Any:
        return await returned

    return calling_loop.run(awaited()) if isawaitable(returned) else returned


def _by_name(tools: Iterable[ToolRef] | ToolRef | Mapping[str, Function]) -> dict[str, Function]:
    if isinstance(tools, Mapping):
        for name, function in tools.items():
            definition_of(function, check_name(name, function))
        return dict(tools)
    named: dict[str, Function] = {}
    for ref in several(tools):
        function = _global_tool(ref) if isinstance(ref, str) else ref
        name = ref if isinstance(ref, str) else check_name(getattr(function, "__name__", None), function)
        definition_of(function)
        if name in named:
            raise ConfigurationError(f"Two tools have the name {name!r}: rename one of the functions.")
        named[name] = function
    return named


def _global_tool(name: str) -> Function:
    if name not in GLOBAL_TOOLS:
        raise ConfigurationError(
            f"There is no tool {name!r}. Names mean functions declared with a plain @tool, and these are: "
            f"{sorted(GLOBAL_TOOLS)}. Import the module that declares it first, or give the function itself."
        )
    return GLOBAL_TOOLS[name]


def read_call(call: Any) -> tuple[str, str, Any]:
    """Identifier, name and raw arguments of a call: a `ToolCall`, or an object in the form of the OpenAI API."""
    if isinstance(call, ToolCall):
        return call.id, call.name, call.arguments
    function = getattr(call, "function", call)
    return (
        str(getattr(call, "id", None) or _NAMELESS),
        str(getattr(function, "name", None) or _NAMELESS),
        getattr(function, "arguments", None),
    )


def _failed(call_id: str, name: str, arguments: dict[str, Any], reason: str) -> ToolResult:
    return ToolResult(call_id, name, arguments, without_addresses(f"Error: {reason}"), ok=False)


def _note_on(left_out: tuple[str, ...]) -> str:
    if not left_out:
        return ""
    names = listed([short_repr(name) for name in left_out])
    are = "argument {} is unknown and was" if len(left_out) == 1 else "arguments {} are unknown and were"
    return f" (the {are.format(names)} left out)"
