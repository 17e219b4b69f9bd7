"""Sugarscape with trade: traders gather sugar and spice, and barter where both gain.

After Epstein and Axtell (1996), "Growing artificial societies: Social science from the bottom up", Brookings
Institution Press and MIT Press, chapter IV, https://doi.org/10.7551/mitpress/3374.001.0001.

    model    the landscape, where sugar and spice grow, and what is counted
    agents   `Trader`: its prompts, its tools, and what two traders exchange
    policy   Epstein's and Axtell's rules, which decide if no language model is asked
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.sugarscape.agents import Trader
from mesa_llm_examples.sugarscape.model import Sugarscape
from mesa_llm_examples.sugarscape.policy import policy

__all__ = ["Sugarscape", "Trader", "policy"]
