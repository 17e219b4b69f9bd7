"""What can go wrong at a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer of `FakeOpenAIServer` that is none: by default an HTTP error status.

    Attributes:
        status: the HTTP status.
        retry_after: seconds, sent as `Retry-After`.
        headers: other HTTP headers, such as the `Location` of a redirection, or a `Retry-After` that is a date.
        body: what the server says: a text becomes an error in OpenAI's form, a dict is sent as it is, and so are bytes,
            which need not be JSON.
        interval: of a body that never ends, the seconds between its pieces.
        kind: `status`, or one of the faults that have a method of their own here.
    """

    status: int = 500
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | dict[str, Any] = "scripted fault"
    interval: float = 0.0
    kind: Literal["status", "reset", "hang", "half", "malformed", "endless", "wrong_content_type"] = "status"

    @classmethod
    def reset(cls) -> Self:
        """The connection is dropped without an answer."""
        return cls(kind="reset")

    @classmethod
    def hang(cls) -> Self:
        """No answer ever comes.

        Returns:
            The fault.
        """
        return cls(kind="hang")

    @classmethod
    def half(cls) -> Self:
        """Status 200 and half of a body: then the connection is dropped."""
        return cls(kind="half", status=200)

    @classmethod
    def endless(cls) -> Self:
        """Status 200 and a body that never ends, as fast as it is read."""
        return cls(kind="endless", status=200)

    @classmethod
    def slow_loris(cls, interval: float = 0.01) -> Self:
        """Status 200 and a body that never ends, one byte every `interval` seconds.

        Args:
            interval: seconds from one byte to the next.
        """
        return cls(kind="endless", status=200, interval=interval)

    @classmethod
    def malformed(cls) -> Self:
        """Status 200 and a body that breaks off in the middle of its JSON."""
        return cls(kind="malformed", status=200)

    @classmethod
    def wrong_content_type(cls) -> Self:
        """Status 200 and a page in HTML, as from a proxy's login."""
        return cls(kind="wrong_content_type", status=200)

    def error_body(self) -> bytes:
        """The body of an error status: bytes as they are, JSON of a dict, OpenAI's form of a text."""
        if isinstance(self.body, bytes):
            return self.body
        error = {"message": self.body, "type": "scripted_fault", "param": None, "code": None}
        return json.dumps(self.body if isinstance(self.body, dict) else {"error": error}).encode()
