"""The turn: the one seam between agents and whoever runs them in parallel.

In a parallel step every agent first decides, then acts when it is its turn. Core marks three places in an agent's
step: the start of a model call, the end of a decision (the turn point), and the start of a further decision. A runner
fills in what happens there by setting a `Turn` as context variable. With no turn set, nothing happens there, and the
agent simply runs.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.activation.clock import step_of
from mesa_llm.activation.decisions import adecide, decide, in_thread, model_call, my_turn, queued, wait_my_turn
from mesa_llm.activation.method_pairs import mark_installed, nearer_method
from mesa_llm.activation.origin import (
    AgentStep,
    CallOrigin,
    begin_agent_step,
    current_agent_step,
    current_origin,
    in_agent_step,
    last_agent_step,
    lend,
)
from mesa_llm.activation.repeats import log_counts, log_once
from mesa_llm.activation.turn import (
    Lent,
    ModelCall,
    Turn,
    agents_own,
    claim,
    current_turn,
    entered,
    is_claimed,
    stage,
    turn_in,
)

__all__ = [
    "AgentStep",
    "CallOrigin",
    "Lent",
    "ModelCall",
    "Turn",
    "adecide",
    "agents_own",
    "begin_agent_step",
    "claim",
    "current_agent_step",
    "current_origin",
    "current_turn",
    "decide",
    "entered",
    "in_agent_step",
    "in_thread",
    "is_claimed",
    "last_agent_step",
    "lend",
    "log_counts",
    "log_once",
    "mark_installed",
    "model_call",
    "my_turn",
    "nearer_method",
    "queued",
    "stage",
    "step_of",
    "turn_in",
    "wait_my_turn",
]
