"""Negotiation: buyers and sellers bargain by messages, each pair by itself.

After Faratin, Sierra and Jennings (1998), "Negotiation decision functions for autonomous agents", Robotics and
Autonomous Systems 24, 159-182, https://doi.org/10.1016/S0921-8890(98)00029-3, with their time-dependent tactics.

    model    the market, the offers and deals on it, and what is counted
    agents   who decides: `Buyer` and `Seller`
    tools    what they can do
    policy   a rule, in the place of a language model
"""

from mesa_llm_examples.negotiation.agents import Buyer, Negotiator, Seller
from mesa_llm_examples.negotiation.model import Deal, Negotiation, OfferBook
from mesa_llm_examples.negotiation.policy import policy

__all__ = ["Buyer", "Deal", "Negotiation", "Negotiator", "OfferBook", "Seller", "policy"]
