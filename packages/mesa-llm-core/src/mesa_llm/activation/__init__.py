"""The turn: the one seam between agents and the runners that step them in parallel.

In a parallel step every agent first decides, then acts when it is its turn. Core marks three places in an agent's
step: the start of a model call, the end of a decision (the turn point), and the start of a further decision. A runner
decides what happens there by setting a `Turn` as context variable. Without a turn, nothing happens there and the agent
simply runs.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.activation.call import CallOrigin as CallOrigin
from mesa_llm.activation.call import ModelCall as ModelCall
from mesa_llm.activation.call import model_call
from mesa_llm.activation.context import current_origin as current_origin
from mesa_llm.activation.context import current_turn as current_turn
from mesa_llm.activation.context import entered as entered
from mesa_llm.activation.context import looking_ahead
from mesa_llm.activation.mesa_model import step_of
from mesa_llm.activation.turn import Turn as Turn
from mesa_llm.activation.turn import claim, is_claimed, my_turn, wait_my_turn
from mesa_llm.activation.turn import stage as stage

__all__ = [
    "claim",
    "is_claimed",
    "looking_ahead",
    "model_call",
    "my_turn",
    "step_of",
    "wait_my_turn",
]
