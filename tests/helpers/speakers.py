"""Small models whose agents ask a scripted model once and say its answer aloud: the log shows who acted, in order."""

from __future__ import annotations

import hashlib
import json

from mesa import Model

from mesa_llm.clients import RuleBasedClient, ToolCall
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import Plan, Reasoning


class OneCall(Reasoning):
    """Asks once; the answer is the plan."""

    def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
        request = self.agent.llm.request(
            prompt=[obs.as_json(), prompt],
            tool_schema=self.agent.tool_manager.specs(selected_tools),
            tool_choice=tool_calls,
        )
        response = yield request
        return Plan(step=obs.step, llm_plan=response.message, ttl=ttl)


class Speaker(LLMAgent):
    """Says what its model answers. Has both step and astep, as the seed shows."""

    def __init__(self, model, client, **kwargs):
        super().__init__(
            model,
            OneCall,
            client=client,
            step_prompt="Say something.",
            vision=-1,
            internal_state={"words": 0},
            tools=[],
            **kwargs,
        )

    def say(self, plan):
        self.model.log.append((self.unique_id, str(plan)))
        self.internal_state["words"] += 1

    def step(self):
        self.say(self.reasoning.plan(obs=self.generate_obs()))

    async def astep(self):
        self.say(await self.reasoning.aplan(obs=await self.agenerate_obs()))


class SpeakersModel(Model):
    """`n` agents of one class; `log` holds what each of them has said, in order."""

    def __init__(self, n, client, agent_class=Speaker, *, parallel=True, seed=7):
        super().__init__(rng=seed)
        self.log = []
        self.parallel_stepping = parallel
        for _ in range(n):
            agent_class(self, client)

    def step(self):
        self.agents.shuffle_do("step")


def seen_by(request):
    """Which agent's observation a request of `OneCall` holds: a label for scripts."""
    return json.loads(request.messages[1].content)["self_state"]["agent_unique_id"]


def tool_call(name, arguments="{}"):
    return ToolCall(f"call-{name}", name, arguments)


def digest(request):
    """Another answer for each prompt, the same in every process."""
    return hashlib.sha256(request.messages[1].content.encode()).hexdigest()[:12]


def said_in_three_steps(seed, mode):
    """What four agents say; a function that worker processes can import."""
    enable_automatic_parallel_stepping(mode=mode)
    model = SpeakersModel(4, RuleBasedClient(digest, latency=0.001), seed=seed)
    for _ in range(3):
        model.step()
    return model.log


class Twice:
    """For the bases of an agent class: its step is made twice."""

    def step(self):
        super().step()
        super().step()

    async def astep(self):
        await super().astep()
        await super().astep()


class PlansTwice(Twice, Speaker):
    """Decides and speaks twice in a step."""
