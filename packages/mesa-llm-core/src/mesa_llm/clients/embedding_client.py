"""Embeddings as calls to a model, so that they are limited, retried, counted and journalled like any other."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Any

from mesa_llm.clients.client import LLMClient, aask
from mesa_llm.clients.litellm_client import LiteLLMClient
from mesa_llm.clients.messages import LLMRequest, LLMResponse, Message, Usage
from mesa_llm.errors import DecisionError
from mesa_llm.errors.checks import check_whole

_BYTES_PER_NUMBER = 4


class _TrueZero(int):
    """A zero that is true: litellm reads `max_retries or 2`, which makes its default of a plain zero."""

    def __bool__(self) -> bool:
        return True


class EmbeddingClient(LiteLLMClient):
    """Embeds texts through any provider that litellm knows, or through a server that speaks OpenAI's API.

    The messages of a request are the texts, and the text of the answer holds their vectors. Use it through an
    `Embedder`, and stack it like any other client: `RetryingClient(EmbeddingClient())`. The arguments are those of
    `LiteLLMClient`.
    """

    async def _ask(self, litellm: Any, request: LLMRequest, key: str | None) -> Any:
        return await litellm.aembedding(
            model=request.model,
            input=[message.content for message in request.messages],
            timeout=self.timeout,
            api_base=self.api_base,
            api_key=key,
            encoding_format="float",  # some servers refuse litellm's null
            num_retries=0,
            max_retries=_TrueZero(0),
            allowed_openai_params=["dimensions"],  # else litellm refuses them for models it does not know
            **request.options,
        )

    def _read(self, answer: Any, request: LLMRequest) -> LLMResponse:
        items = [item if isinstance(item, dict) else item.model_dump() for item in answer.data or ()]
        vectors = [item["embedding"] for item in sorted(items, key=lambda item: item["index"])]
        if len(vectors) != len(request.messages):
            raise self._call(request).unusable(f"sent {len(vectors)} vectors for {len(request.messages)} texts")
        usage = getattr(answer, "usage", None)
        return LLMResponse(
            message=Message("assistant", json.dumps(list(map(_packed, vectors)))),
            model=answer.model or request.model,
            usage=Usage((usage.prompt_tokens or 0) if usage else 0, 0),
        )


class Embedder:
    """Turns texts into vectors, for `EpisodicMemory(embed=…)`.

        embed = Embedder("openai/text-embedding-3-small", RetryingClient(EmbeddingClient()), dimensions=256)

    All agents share one. Step reports include its calls, and its client's limits hold for them. To replay a run that
    has embeddings without a network, give it a `JournaledClient` of its own.

    Args:
        model: the model, as `provider/model`.
        client: an `EmbeddingClient`, or others around one. By default one of its own.
        dimensions: numbers in a vector, at least 1, for models that can shorten theirs; `None` for the model's own.
            Each takes 4 bytes of memory for each entry.

    Raises:
        ConfigurationError: if `dimensions` is less than 1.
    """

    def __init__(self, model: str, client: LLMClient | None = None, *, dimensions: int | None = None) -> None:
        if dimensions is not None:
            check_whole("dimensions", dimensions, hint="Use None for the model's own.")
        self.model = model
        self.client = client if client is not None else EmbeddingClient()
        self.dimensions = dimensions

    async def __call__(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """One vector for each text. Raises a `DecisionError` if the client has not answered with vectors."""
        messages = tuple(Message("user", text) for text in texts)
        options = {} if self.dimensions is None else {"dimensions": self.dimensions}
        response = await aask(self.client, LLMRequest(model=self.model, messages=messages, options=options))
        try:
            packed = [base64.b64decode(vector, validate=True) for vector in json.loads(response.message.content)]
            return [struct.unpack(f"<{len(numbers) // _BYTES_PER_NUMBER}f", numbers) for numbers in packed]
        except (ValueError, TypeError, struct.error) as error:
            raise DecisionError(
                f"{type(self.client).__name__} has not answered with vectors: {response.message.content[:100]!r}. Give "
                "the Embedder an EmbeddingClient, or others around one."
            ) from error


def _packed(vector: Sequence[float]) -> str:
    """Base64 of little-endian floats: a quarter of the size that the digits would have in a journal."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
