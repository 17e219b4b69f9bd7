"""After an agent has failed, its model steps on without parallel stepping too, whatever has called the agent."""

import asyncio
import copy
import pickle

import mesa
import pytest

from mesa_llm.actions import wait
from mesa_llm.clients import Message
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning import OneCallReasoning, Plan
from mesa_llm.testing import ScriptedLLM


class Thinker(LLMAgent):
    """Can decide in other methods than `step`."""

    def __init__(self, model):
        super().__init__(model, OneCallReasoning, client=model.llm, step_prompt="?", tools=[])

    def think(self):
        self.reasoning.plan()

    def chat(self):
        self.llm.generate("Hello?")


class ByAstep(Thinker):
    async def astep(self):
        await self.reasoning.aplan()


class Fails:
    """Answers, but for one call in the model's second turn."""

    def __init__(self, model):
        self.model = model

    def __call__(self, request):
        if self.model.ran == [1.0, 2.0] and not self.model.has_failed:
            self.model.has_failed = True
            raise ConnectionError("one lost call")
        return "ok"


def loop(model):
    for agent in model.agents:
        agent.step()


WAYS = {
    "set": lambda model: model.agents.shuffle_do("step"),
    "loop": loop,
    "map": lambda model: model.agents.map("step"),
    "another method": lambda model: model.agents.do("think"),
    "a call": lambda model: model.agents.do("chat"),
}


class Town(mesa.Model):
    def __init__(self, way, *, agent_class=Thinker, catches=False, flag=False):
        super().__init__(rng=1)
        self.way, self.catches, self.parallel_stepping = way, catches, flag
        self.ran, self.has_failed, self.steps_itself = [], False, True
        self.llm = ScriptedLLM(Fails(self))
        for _ in range(2):
            agent_class(self)

    def go(self):
        self.ran.append(float(self.time if hasattr(self, "time") else self.steps))
        try:
            WAYS[self.way](self)
        except ConnectionError:
            if not self.catches:
                raise

    def step(self):
        if self.steps_itself:
            self.go()


def run(model, advance, times=5):
    errors = 0
    for _ in range(times):
        try:
            advance(model)
        except ConnectionError:
            errors += 1
    return errors


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("agent_class", [Thinker, ByAstep])
@pytest.mark.parametrize("catches", [False, True])
def test_steps_go_on(way, agent_class, catches):
    town = Town(way, agent_class=agent_class, catches=catches)
    assert run(town, lambda town: town.step()) == (0 if catches else 1)
    assert town.ran == [1.0, 2.0, 3.0, 4.0, 5.0]


events = pytest.mark.skipif(not hasattr(mesa.Model, "schedule_recurring"), reason="Mesa 3.4 has none")


@events
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("catches", [False, True])
@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.filterwarnings("ignore::mesa_llm.errors.NotParallelWarning")
def test_recurring_events_of_ones_own_go_on(way, catches, flag):
    from mesa.time import Schedule

    if flag:
        enable_automatic_parallel_stepping()
    town = Town(way, catches=catches, flag=flag)
    town.steps_itself = False
    town.schedule_recurring(town.go, Schedule(interval=1.0, start=1.0, end=6.0))
    errors = 0
    for _ in range(8):
        try:
            town.run_for(1)
        except (ConnectionError, ExceptionGroup):
            errors += 1
    assert errors == (0 if catches and not (flag and way == "set") else 1)
    assert town.ran == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@events
def test_an_agents_own_schedule_goes_on_and_others_stay_as_they_are():
    from mesa.time import Schedule

    town = Town("loop")
    town.steps_itself = False
    first, second = town.agents
    counted = []

    def note():
        counted.append(town.time)

    town.schedule_recurring(note, Schedule(interval=1.0, start=1.0))
    paused = town.schedule_recurring(town.go, Schedule(interval=1.0, start=1.0))
    paused.pause()
    town.schedule_recurring(first.step, Schedule(interval=1.0, start=1.0))
    town.schedule_recurring(second.step, Schedule(interval=1.0, start=1.0))
    town.ran = [1.0, 2.0]  # the first call fails
    assert run(town, lambda town: town.run_for(1), 3) == 1
    assert len(town.llm.requests) == 6
    assert counted == [1.0, 2.0, 3.0]
    assert not paused.is_active or paused.next_scheduled_time is None


@events
def test_two_that_fail_at_one_time_both_go_on_in_their_order():
    from mesa.time import Schedule

    town = Town("loop")
    town.steps_itself = False
    order = []

    class Broken(Thinker):
        def step(self):
            order.append((self.unique_id, self.model.time))
            if self.model.time == 1.0:
                raise ConnectionError("broken")

    broken = [Broken(town) for _ in range(3)]
    for agent in broken:
        town.schedule_recurring(agent.step, Schedule(interval=1.0, start=1.0))
    assert run(town, lambda town: town.run_until(1.5), 4) == 3
    town.run_until(2.5)
    ids = [agent.unique_id for agent in broken]
    assert order == [*((i, 1.0) for i in ids), *((i, 2.0) for i in ids)]


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_model_that_has_failed_copies_and_steps_on(twin):
    town = Town("set")
    town.llm = ScriptedLLM("ok")
    town.has_failed = False
    assert run(town, lambda town: town.step(), 2) == 1
    again = twin(town)
    again.step()
    assert (town.ran, again.ran) == ([1.0, 2.0], [1.0, 2.0, 3.0])


def test_a_model_whose_agents_are_fine_keeps_its_events():
    town = Town("set")
    town.has_failed = True
    town.step()
    assert not hasattr(town, "_mesa_llm_rearm")


class Clumsy(LLMAgent):
    """Fails in its model's second turn, in a method of its own."""

    def __init__(self, model):
        super().__init__(model, OneCallReasoning, client=model.llm, step_prompt="?", actions=[wait])

    @property
    def fails_now(self):
        return len(self.model.ran) == 2

    def look(self):
        self.vision = "far" if self.fails_now else 1
        self.generate_obs()

    def look_async(self):
        self.vision = "far" if self.fails_now else 1
        asyncio.run(self.agenerate_obs())

    def tell(self):
        self.send_message("hello", [None] if self.fails_now else [])

    def tell_async(self):
        asyncio.run(self.asend_message("hello", [None] if self.fails_now else []))

    def take(self):
        self.execute_action({"name": "fly" if self.fails_now else "wait", "arguments": {}})

    def take_async(self):
        asyncio.run(self.aexecute_action({"name": "fly" if self.fails_now else "wait", "arguments": {}}))

    def carry_out(self):
        self.apply_plan(None if self.fails_now else Plan(1, Message("assistant", "")))

    def carry_out_async(self):
        asyncio.run(self.aapply_plan(None if self.fails_now else Plan(1, Message("assistant", ""))))

    def stumble(self):
        if self.fails_now:
            raise LookupError("nothing here")


METHODS = [name for name in vars(Clumsy) if not name.startswith(("_", "fails", "step", "astep"))]


class Clumsiness(mesa.Model):
    def __init__(self, way):
        super().__init__(rng=1)
        self.way, self.ran, self.llm = way, [], ScriptedLLM("ok")
        for _ in range(2):
            Clumsy(self)

    def step(self):
        self.ran.append(1)
        self.way(self)


@pytest.mark.parametrize(
    ("method", "patched"),
    # Without the patch, nothing of this library runs when an agent stumbles: that error is Mesa's to treat.
    [(method, patched) for method in METHODS for patched in (False, True) if patched or method != "stumble"],
)
def test_steps_go_on_when_an_agent_fails_in_a_method_of_its_own(method, patched):
    if patched:
        enable_automatic_parallel_stepping()
    model = Clumsiness(lambda model: model.agents.shuffle_do(method))
    model.step()
    with pytest.raises((ValueError, TypeError, AttributeError, LookupError)):
        model.step()
    model.step()
    model.step()
    assert len(model.ran) == 4
