"""Opinion dynamics: people on a network talk, and listen to those who think alike.

After Deffuant, Neau, Amblard and Weisbuch (2000), "Mixing beliefs among interacting agents", Advances in Complex
Systems 3, 87-98, https://doi.org/10.1142/S0219525900000078.

    model    the network, what is measured, and bounded confidence, which decides if no language model is asked
    agents   `Person`: the prompts and the actions
    app      the page in the browser; needs the extra `app`
"""

from mesa_llm_examples.opinion.agents import Person
from mesa_llm_examples.opinion.model import Opinion, policy

__all__ = ["Opinion", "Person", "policy"]
