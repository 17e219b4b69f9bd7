"""Clients: the way to a model. Typed requests and responses, transports, and clients that wrap other clients."""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.clients.chat_completion import Answer as Answer
from mesa_llm.clients.chat_completion import tool_call
from mesa_llm.clients.client import AsyncClient, LLMClient
from mesa_llm.clients.direct_client import DirectClient
from mesa_llm.clients.embedding_client import Embedder, EmbeddingClient
from mesa_llm.clients.litellm_client import LiteLLMClient
from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec, Usage
from mesa_llm.clients.messages import ResponseFormat as ResponseFormat
from mesa_llm.clients.messages import ToolChoice as ToolChoice
from mesa_llm.clients.providers import price_of as price_of
from mesa_llm.clients.rule_based import RuleBasedClient
from mesa_llm.clients.statistics import CallCounts as CallCounts
from mesa_llm.clients.statistics import MeteredClient as MeteredClient

__all__ = [
    "AsyncClient",
    "DirectClient",
    "Embedder",
    "EmbeddingClient",
    "LLMClient",
    "LLMRequest",
    "LLMResponse",
    "LiteLLMClient",
    "Message",
    "RuleBasedClient",
    "ToolCall",
    "ToolSpec",
    "Usage",
    "tool_call",
]
