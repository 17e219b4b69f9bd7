"""No memory outgrows its part of a prompt, whatever is written into it; the oldest go first, the newest stays."""

import functools

import pytest
from helpers.memories import ALL, Someone, answer_memory, is_memorys, note, settle, talkers, words
from helpers.speakers import SpeakersModel
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.errors import ConfigurationError
from mesa_llm.limits.budget import tokens_in
from mesa_llm.memory import EpisodicMemory, LongTermMemory, ShortTermMemory, STLTMemory
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM

TEXTS = st.one_of(
    st.text(max_size=60), st.integers(0, 3000).map("字x ".__mul__), st.integers(0, 3000).map("ab ".__mul__)
)


@pytest.mark.parametrize("make", ALL)
@given(
    max_tokens=st.integers(100, 900),
    story=st.lists(
        st.tuples(st.sampled_from(["note", "message", "observation"]), TEXTS, st.integers(0, 2)), max_size=25
    ),
    settles=st.booleans(),
    long_ago=TEXTS,
)
async def test_a_prompt_is_never_longer_than_agreed_and_has_the_newest(make, max_tokens, story, settles, long_ago):
    agent = Someone(lambda request: answer_memory(request) + long_ago)
    memory = make(agent, max_tokens=max_tokens)
    for kind, text, steps in story:
        memory.add_to_memory(kind, {"message": text})
        assert tokens_in(memory.get_prompt_ready()) <= max_tokens
        assert tokens_in(memory.get_communication_history()) <= max_tokens
        if kind != "observation":
            assert f"\n{'' if kind == 'message' else 'note: '}{text[:5]}".rstrip() in memory.get_prompt_ready()
        if kind == "message":
            assert f"] {text[:5]}".rstrip() in memory.get_communication_history()
        agent.model.steps += steps
        if settles:
            await settle(memory)
            assert tokens_in(memory.get_prompt_ready()) <= max_tokens


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("mode", ["asyncio", "threading"])
def test_fifty_steps_among_talkers(make, mode):
    """Each hears all others in each step; without bounds a prompt would grow to 50 times what the first steps take."""
    enable_automatic_parallel_stepping(mode=mode)
    lengths = []

    def answer(request):
        lengths.append(sum(tokens_in(message.content) for message in request.messages))
        return answer_memory(request) if is_memorys(request) else "hello " * 20

    model = SpeakersModel(4, ScriptedLLM(answer), talkers(functools.partial(make, max_tokens=600)))
    for _ in range(50):
        model.step()
    assert len(model.log) == 200
    for agent in model.agents:
        assert tokens_in(agent.memory.get_prompt_ready()) <= 600
        assert len(agent.memory.entries) <= 200
    assert max(lengths) < 600 * 3  # instructions, persona and observation come on top


def test_the_oldest_go_first():
    memory = ShortTermMemory(Someone(), max_tokens=100)
    note(memory, *(f"{number}{'x' * 60}" for number in range(9)))
    assert [word[0] for word in words(memory)] == ["6", "7", "8"]  # when five did not fit, all but three went
    assert memory.get_prompt_ready().count("\n") == 3
    note(memory, "9" * 60)
    assert [word[0] for word in words(memory)] == ["6", "7", "8", "9"]


@pytest.mark.parametrize("make", ALL)
def test_a_huge_entry_is_shortened_says_so_and_leaves_the_others_in(make):
    memory = make(Someone(), max_tokens=200)
    note(memory, "small", "x" * 10_000)
    heading, small, huge = memory.get_prompt_ready().split("\n")
    assert (heading, small) == ("## Step 1", "note: w: small")
    assert huge.startswith("note: w: xxxxx")
    assert huge.endswith("xxx … (10,009 characters, shortened)")
    assert tokens_in(huge) <= 50
    assert words(memory)[1] == "x" * 10_000


@pytest.mark.parametrize("make", ALL)
def test_without_a_bound_nothing_is_shortened(make):
    memory = make(Someone(), max_tokens=None)
    note(memory, *["x" * 10_000] * 20)
    assert memory.get_prompt_ready().count("x" * 10_000) == 20


def test_unless_told_otherwise_a_memory_takes_4000_tokens():
    assert [make(Someone()).max_tokens for make in ALL] == [4000] * 4


@pytest.mark.parametrize("make", ALL)
def test_less_than_100_tokens_are_no_memory(make):
    with pytest.raises(ConfigurationError, match=r"max_tokens must be at least 100, got 99\. Use None"):
        make(Someone(), max_tokens=99)


@pytest.mark.parametrize("make", [LongTermMemory, STLTMemory])
def test_the_long_term_part_has_a_bound_of_its_own(make):
    assert make(Someone()).long_term_tokens == 500
    assert make(Someone(), max_tokens=None, long_term_tokens=9000).long_term_tokens == 9000
    assert make(Someone(), max_tokens=300).long_term_tokens == 150
    with pytest.raises(ConfigurationError, match="long_term_tokens must be at least 50, got 49"):
        make(Someone(), long_term_tokens=49)


def test_an_episodic_memory_keeps_so_many_entries():
    memory = EpisodicMemory(Someone(), max_capacity=3)
    note(memory, *range(5))
    assert words(memory) == [2, 3, 4]


@pytest.mark.parametrize("make", ALL)
def test_the_bound_can_be_changed_later(make):
    memory = make(Someone(), max_tokens=None)
    note(memory, *["x" * 1000] * 9)
    memory.max_tokens = 600
    note(memory, "new", "newer")
    assert tokens_in(memory.get_prompt_ready()) <= 600
    assert memory.get_prompt_ready().endswith("note: w: new\nnote: w: newer")
    memory.max_tokens = 100
    note(memory, "x" * 1000)
    assert memory.get_prompt_ready().endswith("x" * 1000)  # the newest in any case
