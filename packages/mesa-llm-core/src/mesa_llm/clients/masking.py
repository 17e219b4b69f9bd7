"""Keys kept out of what people read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET_LOOK = re.compile(r"\b(sk|pk|gsk|xai)-[\w-]{8,}|(?<=[?&]key=)[^&\s]+|(?<=//)[^/@\s]+(?=@)|(?<=Bearer )\S+")


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text with `***` in place of every key in it.

    Keys are the given secrets, the values of environment variables that are named like keys, and whatever looks like
    one, passwords in URLs included.

    Args:
        text: what a server or a library says.
        secrets: the keys that were used.
    """
    known = {value for name, value in os.environ.items() if is_secret_variable(name) and len(value) >= 8}
    for secret in sorted(known | {secret for secret in secrets if secret}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SECRET_LOOK.sub("***", text)
