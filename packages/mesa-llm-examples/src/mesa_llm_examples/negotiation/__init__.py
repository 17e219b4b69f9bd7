"""Negotiation: buyers and sellers bargain by messages, each pair by itself.

After Faratin, Sierra and Jennings (1998), "Negotiation decision functions for autonomous agents", Robotics and
Autonomous Systems 24, 159-182, https://doi.org/10.1016/S0921-8890(98)00029-3, with their time-dependent tactics.

    model    the market with its offers and deals, and what is counted
    agents   `Buyer` and `Seller`: their prompts and their tools
    policy   a time-dependent tactic, which decides if no language model is asked
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.negotiation.agents import Buyer, Seller
from mesa_llm_examples.negotiation.model import Negotiation
from mesa_llm_examples.negotiation.policy import policy

__all__ = ["Buyer", "Negotiation", "Seller", "policy"]
