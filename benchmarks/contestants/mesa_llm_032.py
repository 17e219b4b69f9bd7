"""The distribution mesa-llm 0.3.2, by hand, since its patch does not fire: `mesa_llm_032.py asyncio|threading`.

Runs in an environment of its own, which has that distribution and not ours.
"""

import json
import os
import sys
import time

os.environ |= {"OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

from mesa import Model

from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping, step_agents_parallel_sync
from mesa_llm.reasoning.cot import CoTReasoning

PERSONA = "You are a citizen of a city. " * 20
PROMPT = "You see cops and citizens around you. What do you do?"


class Citizen(LLMAgent):
    """Plans and acts, as its documentation shows."""

    def step(self):
        """Plan and act."""
        self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))

    async def astep(self):
        """Plan and act."""
        self.apply_plan(await self.reasoning.aplan(prompt=self.step_prompt, obs=await self.agenerate_obs()))


def main(mode):
    """Answer lines of standard input."""
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115 - it prints a panel for each agent and step
    enable_automatic_parallel_stepping(mode=mode)
    for line in sys.stdin:
        task = json.loads(line)
        model = Model(rng=1)
        agents = [
            Citizen(
                model,
                CoTReasoning,
                "openai/fake",
                system_prompt=PERSONA,
                step_prompt=PROMPT,
                vision=0,
                api_base=task["url"],
            )
            for _ in range(task["agents"])
        ]
        seconds = []
        for _ in range(task["steps"]):
            started = time.perf_counter()
            step_agents_parallel_sync(agents)
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
