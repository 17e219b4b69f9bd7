"""A model whose agents do all that may trouble looking ahead: own counters, draws, births, deaths, pokes, errors."""

import hashlib
import json

from mesa import Model

from mesa_llm.clients import tool_call
from mesa_llm.errors import ModelCallError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.memory import STLTMemory
from mesa_llm.reasoning import CoTReasoning, OneCallReasoning

KINDS = ("thinker", "planner", "eager", "free", "rememberer")


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6]) / 2**48


def answers(request, *, fails: float = 0.0):
    """The rule that answers: a hash of the texts decides."""
    text = "".join(message.content for message in request.messages)
    if chance("fails", text) < fails:
        raise ModelCallError("no answer")
    if request.tools and request.tool_choice != "none":
        return [tool_call("shift", by=int(chance("by", text) * 5))] if chance("calls", text) < 0.5 else "Nothing."
    return f"Action: {chance('says', text):.4f}"


def shift(agent: "Animal", by: int) -> str:
    """Shift.

    Args:
        agent: who.
        by: how far.
    """
    agent.mark += by
    agent.model.total += by * agent.random.random()
    return "shifted"


class Animal(LLMAgent):
    def __init__(self, model, kind):
        memory = {"memory": lambda agent: STLTMemory(agent, short_term_capacity=2, consolidation_capacity=1)}
        super().__init__(
            model,
            CoTReasoning if kind == "thinker" else OneCallReasoning,
            client=model.client,
            llm_model="rule/zoo",
            tools=[shift],
            vision=0,
            step_prompt="What now?",
            internal_state={"kind": kind},
            **(memory if kind == "rememberer" else {}),
        )
        self.kind = kind
        self.mark = self.looked = 0
        self.heard = []

    def near(self):
        others = [agent for agent in self.model.agents if agent is not self]
        return sorted(others, key=lambda other: (abs(other.unique_id - self.unique_id), other.unique_id))[:3]

    def generate_obs(self):
        self.looked += 1  # to look again is not to look once
        around = [(other.unique_id, other.mark) for other in self.near()]
        self.internal_state = {"looked": self.looked, "mark": self.mark, "near": around}
        if self.looked % 3 == 0:
            self.internal_state["draw"] = self.random.random()
        return super().generate_obs()

    def ask(self, what):
        around = [(other.unique_id, other.mark) for other in self.near()]
        question = json.dumps([what, self.unique_id, self.model.day, self.mark, around, self.heard[-2:]])
        return self.llm.generate(question).message.content

    def step(self):
        if self.kind in ("eager", "free"):
            self.act_as_it_likes()
        else:
            self.apply_plan(self.reasoning.plan(obs=self.generate_obs()))

    def act_as_it_likes(self):
        self.mark += self.kind == "eager"  # before it asks
        model = self.model
        answer = self.ask("first")
        luck = chance("luck", answer)
        if self.random.random() < 0.3:
            answer = self.ask("second" + answer)
        if luck < 0.15 and len(model.agents) > 4:
            self.near()[0].remove()
        elif luck < 0.3:
            Animal(model, "eager")
        elif luck < 0.5:
            self.send_message(answer, self.near()[:2])
            for other in self.near()[:2]:
                other.heard.append(answer)
        elif luck < 0.6:
            self.near()[0].poked()
        elif luck < 0.7:
            model.agents.select(lambda agent: agent.kind == "planner").do("poked")
        elif luck < 0.8:
            self.mark += model.random.randrange(5)
            model.rng.random()
        elif luck < 0.85:
            self.near()[0].step()
        if luck > 0.95:
            self.ask("third")

    def poked(self):
        self.mark += 1
        self.ask("poked")


class AsyncAnimal(Animal):
    async def astep(self):
        await self.aapply_plan(await self.reasoning.aplan(obs=await self.agenerate_obs()))


class Zoo(Model):
    def __init__(self, seed, client, parallel_stepping=False):
        super().__init__(rng=seed)
        self.client = client
        self.parallel_stepping = parallel_stepping
        self.total = 0.0
        self.day = 0
        for place in range(10):
            kind = "thinker" if chance(seed, place) < 0.2 else KINDS[int(chance(seed, place, "kind") * len(KINDS))]
            (AsyncAnimal if chance(seed, place) < 0.2 else Animal)(self, kind)

    def step(self):
        self.day += 1
        self.agents.shuffle_do("step")
