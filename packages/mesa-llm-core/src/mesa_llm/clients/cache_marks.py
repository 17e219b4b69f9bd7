"""Marks for Anthropic's models: up to where a prompt is worth keeping, so that the next one need not pay for it again.

Other providers find out themselves how far prompts begin alike. A mark costs nothing below the model's minimum (1,024
tokens for most); above, what is new up to it is a quarter dearer, and what was there within the last five minutes costs
a tenth.
"""

from __future__ import annotations

import re
from typing import Any

_MARK = {"cache_control": {"type": "ephemeral"}}
_PRESENT = "\n\n# Observation\n"
_STEP = re.compile(r"(?=\n## Step )")


def takes_marks(model: str) -> bool:
    """Whether a model, as `provider/model`, takes them."""
    return model.startswith("anthropic/") or "claude" in model


def with_marks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of the chat completions API with marks behind the system message, and behind what an agent remembers.

    What it remembers has a block for each step: the provider compares whole blocks, and steps are added at the end.
    """
    return [message | {"content": _marked(message)} for message in messages]


def _marked(message: dict[str, Any]) -> Any:
    text = message.get("content")
    if not isinstance(text, str) or not text.strip():
        return text
    if message["role"] == "system":
        return [_block(text) | _MARK]
    memory, present, rest = text.partition(_PRESENT)
    if message["role"] != "user" or not present or not memory:
        return text
    *before, last = _STEP.split(memory)
    return [*map(_block, filter(None, before)), _block(last) | _MARK, _block(present + rest)]


def _block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
