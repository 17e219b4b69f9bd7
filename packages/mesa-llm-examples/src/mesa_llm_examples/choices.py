"""Choices of the offline policies: as good as random, and the same for the same request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesa_llm.clients import LLMRequest


def choose[T](options: Sequence[T], request: LLMRequest, purpose: str) -> T:
    """One of the options, each as likely, the same for the same request in any process.

    Args:
        options: what there is, at least one.
        request: where the chance comes from.
        purpose: what is chosen; another purpose has a chance of its own.
    """
    text = "\n".join([purpose, *(message.content for message in request.messages)])
    return options[int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % len(options)]
