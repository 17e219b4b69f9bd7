"""What is installed, which providers have a key, and whether Mesa's agent sets are patched."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterator

from mesa_llm.clients.providers import PROVIDERS
from mesa_llm.parallel_stepping.patch import is_enabled
from mesa_llm.recording.identity import versions

_IS_KEY = re.compile(r"[A-Z_]+_API_KEY").fullmatch


def report_lines() -> Iterator[str]:
    """The report of `mesa-llm doctor`, line by line."""
    yield "Versions"
    yield from (f"  {name} {version}" for name, version in versions().items())
    yield f"  sqlite {sqlite3.sqlite_version}, on {platform.system()} {platform.machine()}"
    yield ""
    yield "Keys in the environment"
    of = {variable: name for name, provider in PROVIDERS.items() for variable in provider.key_variables}
    found = sorted(name for name, value in os.environ.items() if value.strip() and (name in of or _IS_KEY(name)))
    for variable in found:
        provider = of.get(variable, "asked through litellm")
        yield f"  {variable}: set, {len(os.environ[variable].strip())} characters ({provider})"
    if not found:
        yield "  none; servers on this machine need none"
    yield ""
    yield f"Mesa's agent sets are {'patched' if is_enabled() else 'not patched'} in this process:"
    yield "  a program enables parallel stepping itself, by enable_automatic_parallel_stepping()"
