"""Ways to a model: typed requests and responses, and clients that can be stacked."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.clients.answers import Answer, tool_call
from mesa_llm.clients.client import AsyncClient, LLMClient
from mesa_llm.clients.direct_client import DirectClient
from mesa_llm.clients.embedding_client import Embedder, EmbeddingClient
from mesa_llm.clients.litellm_client import LiteLLMClient
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
from mesa_llm.clients.prices import cost_of, price_of
from mesa_llm.clients.rule_based import RuleBasedClient
from mesa_llm.clients.statistics import CallCounts, MeteredClient
from mesa_llm.clients.transport import Transport, TransportClient

__all__ = [
    "Answer",
    "AsyncClient",
    "CallCounts",
    "DirectClient",
    "Embedder",
    "EmbeddingClient",
    "LLMClient",
    "LLMRequest",
    "LLMResponse",
    "LiteLLMClient",
    "Message",
    "MeteredClient",
    "ResponseFormat",
    "RuleBasedClient",
    "ToolCall",
    "ToolChoice",
    "ToolSpec",
    "Transport",
    "TransportClient",
    "Usage",
    "cost_of",
    "price_of",
    "tool_call",
]
