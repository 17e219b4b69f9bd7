"""The civil violence of mesa-llm 0.3.2: `civil_violence_032.py URL STEPS FOLDER`.

Its `examples` have to be on the Python path. Recordings go into FOLDER. Runs in an environment that has mesa-llm 0.3.2,
and in ours.
"""

import contextlib
import os
import sys
import warnings

os.environ |= {"OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
warnings.simplefilter("ignore")  # of what is deprecated since: `seed`, recordings as pickles

from examples.epstein_civil_violence.model import EpsteinModel  # noqa: E402

from mesa_llm.reasoning.react import ReActReasoning  # noqa: E402


def main(url: str, steps: str, recordings: str) -> None:
    """Step one agent after the other: the patch of 0.3.2 does not fire, and answers have to come in the same order."""
    os.chdir(recordings)  # where recordings are saved, at the very end
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # a panel for each agent and step
        model = EpsteinModel(
            initial_citizens=16,
            initial_cops=4,
            width=10,
            height=10,
            vision=5,
            reasoning=ReActReasoning,
            llm_model="openai/fake-model",
            api_base=url,
            parallel_stepping=False,
            seed=42,
        )
        for _ in range(int(steps)):
            model.step()


if __name__ == "__main__":
    main(*sys.argv[1:])
