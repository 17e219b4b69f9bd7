"""The arguments that say how a model is to choose its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from mesa_llm.errors import ConfigurationError


class SamplingOptions(TypedDict, total=False):
    """Sampling arguments of the chat completions API. `None` means: not sent, so the provider's default holds.

    Attributes:
        temperature: how much chance has a part in it, at least 0, which is (almost) none.
        top_p: only the likeliest tokens that have this share of the probability together are drawn, above 0, up to 1.
        max_tokens: the length of an answer, at least 1 token.
        seed: the same seed gives the same answer, where the provider holds to it.
        stop: texts at which an answer ends.
        extra_body: what else goes into the body of the request, for servers that know more than the API.
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    extra_body: Mapping[str, Any] | None


def sampling_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are sent: those that are not `None`.

    Raises:
        ConfigurationError: if one cannot work.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in _RULES:
            continue
        kinds, works, wanted, way_out = _RULES[name]
        if not (_is_a(value, kinds) and works(value)):
            raise ConfigurationError(f"{name} must be {wanted}, got {value!r}. {way_out}")
    return given


_RULES: dict[str, tuple[tuple[type, ...], Callable[[Any], bool], str, str]] = {
    "temperature": ((int, float), lambda value: 0 <= value < math.inf, "a number >= 0", "Use 0 for no chance."),
    "top_p": ((int, float), lambda value: 0 < value <= 1, "above 0 and at most 1", "Use 1 for all tokens."),
    "max_tokens": ((int,), lambda value: value >= 1, "a whole number >= 1", "Use None for the provider's own limit."),
    "seed": ((int,), lambda value: True, "a whole number", "Use None for another answer each time."),
}


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
