"""Addresses that users give, checked before anything is sent."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def http_parts(address: str) -> SplitResult | None:
    """The parts of an http or https URL; `None` if it is not a URL that can be used.

    Libraries would say why it cannot, and show a part of its password.

    Args:
        address: what was given.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None
