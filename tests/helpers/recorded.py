"""A model of agents that talk, for recordings."""

from __future__ import annotations

from helpers.speakers import Speaker, seen_by
from mesa import Model

from mesa_llm.clients import RuleBasedClient
from mesa_llm.recording import record_model


class Talker(Speaker):
    """Remembers what its model answers as its plan, and says it to the agent after it."""

    def say(self, plan):
        super().say(plan)
        self.memory.add_to_memory("action", {"tool": "say", "arguments": {"words": str(plan)}, "result": "said"})
        after = [agent for agent in self.model.agents if agent.unique_id == self.unique_id % len(self.model.agents) + 1]
        self.send_message(str(plan), after)


def make_talkers(output_dir, **options):
    """A class of recorded models."""

    @record_model(output_dir=output_dir, **options)
    class Talkers(Model):
        def __init__(self, n=2, client=None, *, parallel=False, agent_class=Talker):
            super().__init__(rng=7)
            self.log = []
            self.parallel_stepping = parallel
            client = client or RuleBasedClient(lambda request: f"I am {seen_by(request)}")
            for _ in range(n):
                agent_class(self, client)

        def step(self):
            if self.parallel_stepping:
                self.agents.shuffle_do("step")
            else:
                self.agents.do("step")  # the order of a shuffle is not the same on every Mesa

    return Talkers


def told(events):
    """Events without what differs from run to run: their ids and times."""
    return [
        (event.step, event.agent_id, event.event_type, event.content, event.metadata, event.event_id.split("_")[1])
        for event in events
    ]
