"""Civil violence: citizens rebel or keep quiet, cops arrest those who rebel.

After Epstein (2002), "Modeling civil violence: An agent-based computational approach", PNAS 99 (suppl. 3), 7243-7250,
https://doi.org/10.1073/pnas.092080199, model I.

    model    the grid, what is counted on it, and Epstein's rule, which decides if no language model is asked
    agents   `Citizen` and `Cop`: their prompts and their actions
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.civil_violence.agents import Citizen, Cop
from mesa_llm_examples.civil_violence.model import CivilViolence, policy

__all__ = ["Citizen", "CivilViolence", "Cop", "policy"]
