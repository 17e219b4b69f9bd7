"""What a forked child must forget: loops, threads, locks and connections stay with its parent."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_forked_child[F: Callable[[], object]](forget: F) -> F:
    """Have a function called in every forked child, before anything else runs there. Does nothing without `fork`.

    Args:
        forget: takes no arguments.

    Returns:
        The same function, so that this serves as a decorator.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    return forget
