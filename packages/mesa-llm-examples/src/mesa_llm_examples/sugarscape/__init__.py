"""Sugarscape with trade: traders gather sugar and spice, and barter where both gain.

After Epstein and Axtell (1996), "Growing artificial societies: Social science from the bottom up", Brookings
Institution Press and MIT Press, chapter IV, https://doi.org/10.7551/mitpress/3374.001.0001.

    model      the world and what is counted
    landscape  where sugar and spice grow
    agents     who decides: `Trader`
    barter     what two traders exchange, and when they stop
    tools      what traders can do
    policy     Epstein's and Axtell's rules, in the place of a language model
"""

from mesa_llm_examples.sugarscape.agents import Trader
from mesa_llm_examples.sugarscape.barter import Exchange, Holding
from mesa_llm_examples.sugarscape.landscape import Landscape
from mesa_llm_examples.sugarscape.model import Sugarscape
from mesa_llm_examples.sugarscape.policy import policy

__all__ = ["Exchange", "Holding", "Landscape", "Sugarscape", "Trader", "policy"]
