"""What can go wrong at a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer of `FakeOpenAIServer` that is none: by default an HTTP error status.

    Attributes:
        status: the HTTP status.
        retry_after: seconds, sent as `Retry-After`.
        body: what the server says: a text becomes an error in OpenAI's form, a dict is sent as it is.
        kind: `status`, or one of the faults that have a method of their own here.
    """

    status: int = 500
    retry_after: float | None = None
    body: str | dict[str, Any] = "scripted fault"
    kind: Literal["status", "reset", "hang", "malformed", "wrong_content_type"] = "status"

    @classmethod
    def reset(cls) -> Self:
        """The connection is dropped without an answer."""
        return cls(kind="reset")

    @classmethod
    def hang(cls) -> Self:
        """No answer ever comes."""
        return cls(kind="hang")

    @classmethod
    def malformed(cls) -> Self:
        """Status 200 and a body that breaks off in the middle of its JSON."""
        return cls(kind="malformed", status=200)

    @classmethod
    def wrong_content_type(cls) -> Self:
        """Status 200 and a page in HTML, as from a proxy's login."""
        return cls(kind="wrong_content_type", status=200)

    def error_json(self) -> dict[str, Any]:
        """The body of an error status, in OpenAI's form."""
        if isinstance(self.body, dict):
            return self.body
        return {"error": {"message": self.body, "type": "scripted_fault", "param": None, "code": None}}
