"""What an agent remembers: bounded, readable at once, staged while it decides."""

import pickle
from types import SimpleNamespace

import pytest
from helpers.memories import ALL, Someone, note, settle
from helpers.public_names import ROOT
from helpers.speakers import SpeakersModel

from mesa_llm.activation import Turn, entered
from mesa_llm.errors import ConfigurationError
from mesa_llm.memory import Memory, ShortTermMemory, STLTMemory
from mesa_llm.module_llm import ModuleLLM


class Clocked:
    """An agent in a model whose step is set by the test."""

    def __init__(self, step=1):
        self.model = SimpleNamespace(steps=step)


def words(memory):
    return [entry.content["w"] for entry in memory.entries]


@pytest.mark.parametrize("make", [ShortTermMemory, lambda agent, n: STLTMemory(Someone(), n, 0)])
def test_it_remembers_n_steps_at_least_and_twice_as_many_less_one_at_the_most(make):
    memory, kept = make(Clocked(), n=2), []
    for step in (1, 1, 4, 7, 7, 9, 10, 12):
        memory.agent.model.steps = step
        memory.add_to_memory("note", {"w": step})
        kept.append(words(memory))
    assert kept[4:] == [[1, 1, 4, 7, 7], [7, 7, 9], [7, 7, 9, 10], [10, 12]]


def test_it_reads_as_lines_for_a_prompt():
    memory = ShortTermMemory(Clocked(step=3))
    assert memory.get_prompt_ready() == "Nothing yet."
    memory.add_to_memory("note", {"w": "a", "x": 1})
    memory.add_to_memory("message", {"message": "hi", "sender": 4})
    assert memory.get_prompt_ready() == "## Step 3\nnote: w: a; x: 1\nAgent 4: hi"
    assert memory.get_communication_history() == "[step 3] Agent 4 says: hi"


def test_an_observation_just_made_is_not_told_twice_in_a_prompt():
    memory = ShortTermMemory(Clocked())
    for w in ("a", "b"):
        memory.add_to_memory("observation", {"w": w})
    assert memory.get_prompt_ready() == "## Step 1\nobservation: w: a"
    assert memory.format_short_term().count("\n") == 2
    memory.add_to_memory("message", {"message": "hi", "sender": 4})
    assert "observation: w: b" in memory.get_prompt_ready()


@pytest.mark.parametrize("n", [0, -1])
def test_it_keeps_at_least_one_step(n):
    with pytest.raises(ConfigurationError, match=f"at least 1 step, got {n}"):
        ShortTermMemory(Clocked(), n=n)


@pytest.mark.parametrize("content", ["text", None, ["list"]])
def test_content_is_a_mapping(content):
    with pytest.raises(TypeError, match="content must be a mapping"):
        ShortTermMemory(Clocked()).add_to_memory("note", content)


class Deciding(Turn):
    """A turn whose end the test chooses."""

    def __init__(self, agent, acting=False):
        self.agent, self._acting, self.staged = agent, acting, []

    @property
    def acting(self):
        return self._acting

    def stage(self, commit, drop):
        self.staged.append((commit, drop))

    abegin_decision = begin_decision = queue = end_decision = atake = take = call_started = call_ended = None
    claim = is_claimed = conflicted = None


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_written_before_the_turn_is_readable_at_once_and_kept_or_gone_as_one(kept):
    agent = Clocked()
    memory = ShortTermMemory(agent)
    memory.add_to_memory("note", {"w": "before"})
    turn = Deciding(agent)
    context = entered(turn)
    context.run(memory.add_to_memory, "note", {"w": "a"})
    context.run(memory.add_to_memory, "note", {"w": "b"})
    assert context.run(words, memory) == ["before", "a", "b"]
    assert words(memory) == ["before"]  # to others it is not there yet
    for commit, drop in turn.staged:
        (commit if kept else drop)()
    assert words(memory) == (["before", "a", "b"] if kept else ["before"])


@pytest.mark.parametrize("make", ALL)
def test_two_attempts_at_one_decision_do_not_see_each_others_writes(make):
    agent = Someone()
    memory = make(agent)
    attempts = [(Deciding(agent), word) for word in ("one", "other")]
    for turn, word in attempts:
        entered(turn).run(memory.add_to_memory, "note", {"w": word})
    assert [entered(turn).run(words, memory) for turn, _ in attempts] == [["one"], ["other"]]
    for turn, word in attempts:
        shown = entered(turn).run(memory.get_prompt_ready)
        assert word in shown
        assert ("one" if word == "other" else "other") not in shown
    (_, drop), (commit, _) = (turn.staged[0] for turn, _ in attempts)
    drop()
    commit()
    assert words(memory) == ["other"]
    pickle.dumps(memory._staged)


def test_a_write_after_the_step_was_called_off_leaves_nothing_behind():
    """A turn that has been called off drops at once; the memory must be as good as new for the next turn."""
    agent = Clocked()
    memory = ShortTermMemory(agent)

    class CalledOff(Deciding):
        def stage(self, commit, drop):
            drop()

    entered(CalledOff(agent)).run(memory.add_to_memory, "note", {"w": "lost"})
    assert memory.entries == ()
    turn = Deciding(agent)
    entered(turn).run(memory.add_to_memory, "note", {"w": "kept"})
    ((commit, _),) = turn.staged
    commit()
    assert words(memory) == ["kept"]


def test_what_others_write_and_what_is_written_while_acting_is_kept_at_once():
    agent = Clocked()
    memory = ShortTermMemory(agent)
    others, acting = Deciding(Clocked()), Deciding(agent, acting=True)
    entered(others).run(memory.add_to_memory, "note", {"w": "from another"})
    entered(acting).run(memory.add_to_memory, "note", {"w": "acting"})
    assert words(memory) == ["from another", "acting"]
    assert others.staged == acting.staged == []


async def test_the_async_twins_do_the_same():
    memory = ShortTermMemory(Clocked())
    await memory.aadd_to_memory("note", {"w": "a"})
    await memory.aprocess_step(pre_step=True)
    assert words(memory) == ["a"]


def test_the_step_is_the_models():
    from mesa_llm.testing import ScriptedLLM

    model = SpeakersModel(1, ScriptedLLM("hello"), parallel=False)
    model.step()
    model.step()
    (agent,) = model.agents
    assert [entry.step for entry in agent.memory.entries] == [1, 2]


async def test_the_memory_of_ones_own_in_the_docs_works_in_about_twenty_lines():
    page = (ROOT / "docs" / "how-to" / "choose-a-memory.md").read_text()
    example = page.partition("class Gist(Memory):")[2].partition("\n\n\n")[0]
    assert example.count("\n") < 25
    namespace = {"Memory": Memory}
    exec(f"class Gist(Memory):{example}", namespace)
    agent = Someone(lambda request: f"{len(agent.client.requests)} summed up")
    memory = namespace["Gist"](agent, max_tokens=200)
    assert memory.get_prompt_ready() == "I heard: Nothing yet. Lately: Nothing yet."
    note(memory, "seen")
    assert not await settle(memory)
    memory.add_to_memory("message", {"message": "hi", "sender": 4})
    assert "Agent 4: hi" in memory.get_prompt_ready()
    assert await settle(memory)
    assert memory.get_prompt_ready() == "I heard: 1 summed up Lately: ## Step 1\nnote: w: seen"
    assert "Agent 4: hi" in agent.client.requests[0].messages[-1].content


@pytest.mark.parametrize("make", ALL)
def test_no_terminal_markup_gets_into_prompts_and_nothing_is_printed(make, capsys):
    memory = make(Someone(), display=True)
    memory.add_to_memory("plan", {"content": "go", "nested": {"a": [1, {"b": 2}]}})
    memory.add_to_memory("message", {"message": "hi", "sender": 4})
    memory.process_step(pre_step=True)
    memory.process_step()
    assert memory.get_prompt_ready() == ("## Step 1\nplan: content: go; nested: {'a': [1, {'b': 2}]}\nAgent 4: hi")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("make", ALL)
def test_every_type_accumulates(make):
    """In mesa-llm 0.3 the second observation of a step replaced the first, unless it was told otherwise."""
    memory = make(Someone())
    for kind in ("observation", "plan", "message", "action"):
        note(memory, "a", "b", type=kind)
    assert len(memory.entries) == 8


def test_a_memory_asks_the_model_of_its_agent():
    agent = Someone()
    memory = STLTMemory(agent)
    assert memory.llm is agent.llm
    agent.llm = ModuleLLM("c/d")
    assert memory.llm is agent.llm


def test_or_one_of_its_own_by_the_way_of_its_agent():
    agent = Someone(system_prompt="You are Ada.")
    memory = STLTMemory(agent, llm_model="c/d")
    assert (memory.llm.llm_model, memory.llm.client, memory.llm.system_prompt) == ("c/d", agent.client, None)
    memory.llm.system_prompt = "Sum up."
    assert agent.llm.system_prompt == "You are Ada."
    memory.llm = other = ModuleLLM("e/f")
    assert memory.llm is other


def test_its_own_address_is_that_of_the_agents_model():
    agent = Clocked()
    agent.llm = ModuleLLM("openai/x", "http://localhost:1/v1")
    assert STLTMemory(agent, api_base="http://localhost:2/v1").llm.api_base == "http://localhost:2/v1"
    assert STLTMemory(agent, api_base="http://localhost:2/v1").llm.llm_model == "openai/x"
    assert STLTMemory(agent, llm_model="openai/x").llm.client is agent.llm.client
    assert STLTMemory(agent, llm_model="gemini/y").llm.api_base is None


def test_an_agent_without_a_model_needs_one_for_its_memory():
    assert STLTMemory(Clocked(), llm_model="openai/x").llm.llm_model == "openai/x"
    with pytest.raises(ConfigurationError, match=r"STLTMemory has no model .* Give it an llm_model\."):
        _ = STLTMemory(Clocked()).llm
