"""A copy of an error, with more context in its text, or for another caller."""

from __future__ import annotations

import copy


def with_context[E: Exception](error: E, *, more: str = "") -> E:
    """A copy of an error: its type, attributes, traceback and cause, and more text.

    A copy, as an error may be raised to several callers, each of which adds to it: notes, and a traceback.

    Args:
        error: the error.
        more: a sentence that is added to its text.
    """
    try:
        twin = copy.copy(error)
    except TypeError:  # its class takes other arguments than it keeps
        twin = error
    if twin is not error:
        twin.__traceback__ = error.__traceback__
        twin.__cause__ = error.__cause__
        twin.__suppress_context__ = True
        twin.args = error.args  # its class may have made another text of its text
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
    if more:
        twin.args = (f"{error} {more}", *error.args[1:])
    return twin
