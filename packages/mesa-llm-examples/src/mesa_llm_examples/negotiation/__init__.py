"""Negotiation: buyers and sellers bargain by messages, each pair by itself.

After Faratin, Sierra and Jennings (1998), "Negotiation decision functions for autonomous agents", Robotics and
Autonomous Systems 24, 159-182, https://doi.org/10.1016/S0921-8890(98)00029-3, with their time-dependent tactics.

    model    the market, what is counted, and a time-dependent tactic, which decides if no language model is asked
    agents   `Buyer` and `Seller`: their prompts and their actions
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.negotiation.agents import Buyer, Seller
from mesa_llm_examples.negotiation.model import Negotiation, policy

__all__ = ["Buyer", "Negotiation", "Seller", "policy"]
