"""Strategies by which an agent makes a decision."""

import mesa_llm.actions.choosing
import mesa_llm.errors  # first: refuses a foreign mesa_llm
import mesa_llm.memory  # noqa: F401 - their instructions
from mesa_llm.clients.questions import INSTRUCTIONS, question_of, register_question
from mesa_llm.clients.questions import Question as Question
from mesa_llm.memory.observation import Observation
from mesa_llm.module_llm.dialogue import ask_structured, read_structured
from mesa_llm.reasoning.cot import CoTReasoning
from mesa_llm.reasoning.one_call import OneCallReasoning
from mesa_llm.reasoning.plan import Plan, read_observation
from mesa_llm.reasoning.plan import Thinking as Thinking
from mesa_llm.reasoning.react import ReActReasoning
from mesa_llm.reasoning.reasoning import Reasoning
from mesa_llm.reasoning.rewoo import ReWOOReasoning

__all__ = [
    "INSTRUCTIONS",
    "CoTReasoning",
    "Observation",
    "OneCallReasoning",
    "Plan",
    "ReActReasoning",
    "ReWOOReasoning",
    "Reasoning",
    "ask_structured",
    "question_of",
    "read_observation",
    "read_structured",
    "register_question",
]
