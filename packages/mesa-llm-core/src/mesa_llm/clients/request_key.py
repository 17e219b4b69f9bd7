"""What two requests have in common if they ask the same."""

from __future__ import annotations

import hashlib
import json
from typing import NoReturn

from mesa_llm.clients.messages import LLMRequest
from mesa_llm.errors import ConfigurationError


def request_key(request: LLMRequest) -> str:
    """A hash of all that a request says: the same in every process and on every machine, whatever the order of keys.

    It is the SHA-256 of the request as canonical JSON, in hexadecimal. No key and no address goes in, as no request
    holds one.

    Raises:
        ConfigurationError: if the request holds what JSON cannot.
    """
    # A model may write half of a surrogate pair, and its answer becomes part of the next prompt.
    return hashlib.sha256(canonical_json(request.as_dict()).encode("utf-8", "surrogatepass")).hexdigest()


def _refuse(value: object) -> NoReturn:
    raise ConfigurationError(
        f"A request holds {value!r} ({type(value).__name__}), which cannot be written as JSON. Give options, tools and "
        "formats as plain values: str, int, float, bool, None, list, dict."
    )


canonical_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_refuse).encode
"""A request, or a part of one, as JSON: the same text for the same value."""
