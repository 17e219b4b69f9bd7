"""Small models whose agents ask a scripted model once and say its answer aloud: the log shows who acted, in order."""

from __future__ import annotations

from mesa import Model

from mesa_llm.clients import ToolCall
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.reasoning import Plan, Reasoning


class OneCall(Reasoning):
    """Asks once; the answer is the plan."""

    def decide(self, prompt, obs, *, ttl, selected_tools, tool_calls):
        request = self.agent.llm.request(
            prompt=[str(obs), prompt], tool_schema=self.agent.tool_manager.specs(selected_tools), tool_choice=tool_calls
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
    import json

    return json.loads(request.messages[1].content)["self_state"]["agent_unique_id"]


def tool_call(name, arguments="{}"):
    return ToolCall(f"call-{name}", name, arguments)
