"""A tool whose arguments can be chosen from what an agent has before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mesa_llm.clients import LLMRequest, ToolSpec
from mesa_llm.clients.messages import JSONSchema


@dataclass(frozen=True, slots=True)
class OfferedTool(ToolSpec):
    """A tool as it is offered to one agent at one moment.

    Attributes:
        plain: the tool as it is sent, the same for all agents and at any time, so that the prompt stays the same too.
        narrow: gives the schema of its arguments with what can be chosen now as enums; `None` if there is nothing to
            choose from. Only called where a schema constrains the answer, since looking around costs time.
    """

    plain: ToolSpec
    narrow: Callable[[], JSONSchema | None] = field(compare=False, repr=False)

    @classmethod
    def of(cls, plain: ToolSpec, narrow: Callable[[], JSONSchema | None]) -> OfferedTool:
        """The tool with a way to narrow its arguments.

        Args:
            plain: the tool as it is sent.
            narrow: gives the narrowed schema of its arguments, or `None`.
        """
        return cls(plain.name, plain.description, plain.parameters, plain, narrow)


def with_plain_tools(request: LLMRequest) -> LLMRequest:
    """The request as clients get it: nothing but data."""
    plain = tuple([tool.plain if isinstance(tool, OfferedTool) else tool for tool in request.tools])
    return request if plain == request.tools else replace(request, tools=plain)


def narrowed_parameters(tool: ToolSpec) -> JSONSchema | None:
    """The schema of a tool's arguments for an answer that a schema constrains; `None` if there is nothing to choose."""
    return tool.narrow() if isinstance(tool, OfferedTool) else tool.parameters
