"""What an app is started with.

Options of the command `mesa-llm-examples app` become these variables; under `solara run` they are set by hand.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

MODEL = "MESA_LLM_APP_MODEL"
API_BASE = "MESA_LLM_APP_API_BASE"
ALLOW_HOST = "MESA_LLM_APP_ALLOW_HOST"
TOKEN = "MESA_LLM_APP_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What an app was started with.

    Attributes:
        llm_model: the language model that is chosen at first, as `provider/model`; `None` for the example's rule.
        api_base: the base URL that is chosen at first; besides the provider's own, the one that is sent its key.
        allowed_hosts: further names under which the page may be opened.
        token: what a browser has to show where other machines can connect; `None` for one that is drawn.
    """

    llm_model: str | None = None
    api_base: str = ""
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None


def at_start() -> Start:
    """What this process was started with."""
    return Start(
        llm_model=os.environ.get(MODEL) or None,
        api_base=os.environ.get(API_BASE, ""),
        allowed_hosts=tuple(os.environ.get(ALLOW_HOST, "").split()),
        token=os.environ.get(TOKEN) or None,
    )
