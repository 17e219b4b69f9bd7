"""Sugarscape with trade: traders gather sugar and spice, and barter where both gain.

After Epstein and Axtell (1996), "Growing artificial societies: Social science from the bottom up", Brookings
Institution Press and MIT Press, chapter IV, https://doi.org/10.7551/mitpress/3374.001.0001.

    model    the landscape, what is counted, and the rules, which decide if no language model is asked
    agents   `Trader`: its prompts, its actions, and what two traders exchange
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.sugarscape.agents import Trader
from mesa_llm_examples.sugarscape.model import Sugarscape, policy

__all__ = ["Sugarscape", "Trader", "policy"]
