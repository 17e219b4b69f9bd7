"""Ways to a model: typed requests and responses, and clients that can be stacked."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.clients.client import AsyncClient, LLMClient
from mesa_llm.clients.messages import (
    LLMRequest,
    LLMResponse,
    Message,
    ResponseFormat,
    ToolCall,
    ToolChoice,
    ToolSpec,
    Usage,
)

__all__ = [
    "AsyncClient",
    "LLMClient",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "ResponseFormat",
    "ToolCall",
    "ToolChoice",
    "ToolSpec",
    "Usage",
]
