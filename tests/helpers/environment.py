"""The environment as tests want it."""

import os


def without_keys_and_proxies(monkeypatch):
    """Drop every variable that could change whom a client asks, and how."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_AUTH_TOKEN", "_API_BASE", "_BASE_URL")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
