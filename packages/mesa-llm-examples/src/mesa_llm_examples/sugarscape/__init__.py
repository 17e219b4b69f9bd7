"""Sugarscape with trade: traders gather sugar and spice, and barter where both gain.

After Epstein and Axtell (1996), "Growing artificial societies: Social science from the bottom up", Brookings
Institution Press and MIT Press, chapter IV, https://doi.org/10.7551/mitpress/3374.001.0001.

    model    the world, where sugar and spice grow, and what is counted
    agents   who decides: `Trader`
    tools    what traders can do: go to a cell, and barter
    policy   Epstein's and Axtell's rules, in the place of a language model
"""

from mesa_llm_examples.sugarscape.agents import Trader
from mesa_llm_examples.sugarscape.model import Landscape, Sugarscape
from mesa_llm_examples.sugarscape.policy import policy
from mesa_llm_examples.sugarscape.tools import Exchange, Holding

__all__ = ["Exchange", "Holding", "Landscape", "Sugarscape", "Trader", "policy"]
