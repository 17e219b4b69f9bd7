"""What can no longer be kept word for word goes into one text, and nothing is lost on the way."""

import re

import pytest
from helpers.memories import Someone, note, settle, words
from inline_snapshot import snapshot

from mesa_llm.clients import LLMResponse, Message
from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.limits.budget import tokens_in
from mesa_llm.memory import LongTermMemory, STLTMemory

BOTH = pytest.mark.parametrize("make", [LongTermMemory, lambda agent, **kw: STLTMemory(agent, 1, 1, **kw)])


def asked(agent):
    return [request.messages[-1].content for request in agent.client.requests]


async def test_long_term_memory_works_each_step_into_its_text():
    agent = Someone(["one", "one and two"])
    memory = LongTermMemory(agent)
    assert memory.get_prompt_ready() == "Nothing yet."
    assert memory.format_long_term() == ""
    note(memory, "a", "b", step=1)
    assert await settle(memory)
    assert (memory.long_term_memory, memory.entries) == ("one", ())
    note(memory, "c", step=2)
    assert memory.get_prompt_ready() == snapshot("""\
Long ago:
one

Lately:
## Step 2
note: w: c\
""")
    assert await settle(memory)
    assert memory.get_prompt_ready() == snapshot("""\
Long ago:
one and two\
""")
    assert asked(agent) == snapshot(
        [
            """\
# Memory so far
Nothing yet.

# What has happened since
## Step 1
note: w: a
note: w: b\
""",
            """\
# Memory so far
one

# What has happened since
## Step 2
note: w: c\
""",
        ]
    )
    assert not await settle(memory)


async def test_instructions_come_first_and_then_whose_memory_it_is():
    agent = Someone("one", system_prompt="You are Ada.")
    agent.system_prompt, agent.step_prompt = "You are Ada. ", "Where to go?"
    memory = LongTermMemory(agent)
    note(memory, "a")
    await settle(memory)
    assert agent.client.requests[0].messages[0].content == snapshot("""\
You keep the long-term memory of an agent in a simulation. You are given this memory and what has happened since.
Rewrite the memory so that it holds both: facts, promises, relations to others, what worked and what did not. Keep
names, numbers and steps as they are. Leave out what is routine or repeated.
Answer with the text of the memory and nothing else, in at most 250 words.

# Who the agent is
You are Ada.

# What it decides in each step
Where to go?\
""")


async def test_the_agents_max_tokens_and_stop_are_for_its_decisions():
    agent = Someone("one", max_tokens=5, max_completion_tokens=5, stop="\n", temperature=0.5, seed=3)
    memory = LongTermMemory(agent)
    note(memory, "a")
    await settle(memory)
    assert agent.client.requests[0].options == {"temperature": 0.5, "seed": 3}


async def test_short_and_long_term_consolidates_the_oldest_steps_together():
    """As in mesa-llm 0.3: with more than capacity + consolidation_capacity steps, so many go that capacity + 1 stay."""
    agent = Someone(lambda request: f"summary {len(agent.client.requests)}")
    memory = STLTMemory(agent, short_term_capacity=3, consolidation_capacity=2)
    settled_in = []
    for step in range(1, 11):
        note(memory, f"a{step}", f"b{step}", step=step)
        if await settle(memory):
            settled_in.append((step, words(memory)[0]))
    assert settled_in == [(6, "a3"), (8, "a5"), (10, "a7")]
    assert asked(agent)[1] == snapshot("""\
# Memory so far
summary 1

# What has happened since
## Step 3
note: w: a3
note: w: b3
## Step 4
note: w: a4
note: w: b4\
""")
    note(memory, "seen", step=11, type="observation")
    assert memory.get_prompt_ready() == snapshot("""\
Long ago:
summary 3

Lately:
## Step 7
note: w: a7
note: w: b7
## Step 8
note: w: a8
note: w: b8
## Step 9
note: w: a9
note: w: b9
## Step 10
note: w: a10
note: w: b10\
""")
    assert memory.format_short_term().endswith("## Step 11\nobservation: w: seen")
    assert memory.format_long_term() == "summary 3"


async def test_steps_in_which_nothing_happened_do_not_count():
    memory = STLTMemory(Someone("summary"), short_term_capacity=1, consolidation_capacity=1)
    for step in (1, 50):
        note(memory, step, step=step)
        assert not await settle(memory)
    note(memory, 99, step=99)
    assert await settle(memory)
    assert words(memory) == [50, 99]


async def test_consolidation_capacity_zero_asks_nobody():
    memory = STLTMemory(Someone([]), short_term_capacity=2, consolidation_capacity=0)
    for step in range(1, 6):
        note(memory, step, step=step)
        assert not await settle(memory)
    assert words(memory) == [3, 4, 5]


async def test_what_there_is_no_room_for_is_consolidated_before_its_time():
    agent = Someone("summary")
    memory = STLTMemory(agent, max_tokens=400, long_term_tokens=100)
    for number in range(20):
        note(memory, f"{number:02} {'x' * 80}", step=1)
        before = memory.get_prompt_ready()
        if await settle(memory):
            break
        assert before.count("note: w:") == number + 1
    assert memory.long_term_memory == "summary"
    n_left = len(words(memory))
    assert 0 < n_left <= number * 3 / 4 + 1
    assert asked(agent)[0].count("note: w:") == number + 1 - n_left
    assert not await settle(memory)


@BOTH
async def test_what_comes_while_the_model_consolidates_stays(make):
    async def answer(request):
        memory.add_to_memory("message", {"w": "late"})
        return "summary"

    agent = Someone(answer)
    memory = make(agent)
    for step in (1, 2, 3):
        note(memory, "same", "same", step=step)
    commit = await memory.asettle()
    assert words(memory).count("same") == 6
    memory.add_to_memory("message", {"w": "later"})
    commit()
    assert words(memory)[-2:] == ["late", "later"]
    assert words(memory).count("same") < 6
    assert memory.get_prompt_ready().startswith("Long ago:\nsummary\n\nLately:\n")


@BOTH
async def test_an_equal_entry_that_comes_meanwhile_is_not_taken_for_the_old_one(make):
    agent = Someone("summary")
    memory = make(agent)
    for step in (1, 2, 3):
        note(memory, "same", step=step)
    commit = await memory.asettle()
    agent.model.steps = 1
    note(memory, "same")
    commit()
    assert [entry.step for entry in memory.entries][-1] == 1


@BOTH
@pytest.mark.parametrize("failure", [ConnectionResetError("down"), "", "  \n", "<think>hm</think>"])
async def test_a_failure_leaves_everything_as_it_was_and_owed(make, failure):
    agent = Someone(lambda request: failure if is_down else "summary")
    memory = make(agent)
    for step in (1, 2, 3):
        note(memory, step, step=step)
    memory.long_term_memory = "before"
    is_down = True
    with pytest.raises((ConnectionResetError, DecisionError)) as caught:
        await memory.asettle()
    if failure.__class__ is str:
        assert re.search("cannot be used: it is empty|Someone 1: the model was to consolidate", str(caught.value))
    assert (memory.long_term_memory, words(memory)) == ("before", [1, 2, 3])
    is_down = False
    assert await settle(memory)
    assert memory.long_term_memory == "summary"
    assert asked(agent)[0] in asked(agent)[1:]


@pytest.mark.parametrize("thoughts", ["<think>hm\n</think>\n", "hm\n</think>"])
async def test_thoughts_are_not_remembered(thoughts):
    memory = LongTermMemory(Someone(f"{thoughts} It is so. "))
    note(memory, "a")
    await settle(memory)
    assert memory.long_term_memory == "It is so."


async def test_a_text_that_is_too_long_is_cut():
    memory = LongTermMemory(Someone("word " * 1000), long_term_tokens=50)
    note(memory, "a")
    await settle(memory)
    assert memory.long_term_memory == "word " * 39 + "w …"
    assert tokens_in(memory.long_term_memory) <= 50
    memory.long_term_memory = "word " * 1000
    assert tokens_in(memory.format_long_term()) <= 50


async def test_an_answer_that_was_cut_off_by_the_provider_counts():
    memory = LongTermMemory(
        Someone(LLMResponse(message=Message("assistant", "It is"), model="a/b", finish_reason="length"))
    )
    note(memory, "a")
    await settle(memory)
    assert memory.long_term_memory == "It is"


async def test_more_than_can_be_read_at_once_is_consolidated_in_several_calls():
    agent = Someone(lambda request: f"summary {len(agent.client.requests)}")
    memory = LongTermMemory(agent, max_tokens=200)
    note(memory, *(f"{number:02}{'x' * 60}" for number in range(30)))
    await settle(memory)
    assert memory.entries == ()
    prompts = asked(agent)
    assert len(prompts) > 2
    assert all(tokens_in(prompt) < 400 for prompt in prompts)
    assert prompts[2].startswith("# Memory so far\nsummary 2\n")
    assert "".join(prompts).count("note") == 30


async def test_a_backlog_that_is_never_consolidated_is_bounded_and_says_so(caplog):
    memory = LongTermMemory(Someone(), max_tokens=100)
    note(memory, *("x" * 50 for _ in range(100)))
    assert len(words(memory)) <= 10 * 100 / 16
    assert "Someone 1 has lost its oldest" in caplog.text
    assert len(caplog.records) < 20
    memory = LongTermMemory(Someone(), max_tokens=None)
    note(memory, *range(1101))
    assert words(memory)[-1] == 1100
    assert 900 <= len(words(memory)) <= 1000


def test_no_step_is_no_short_term():
    with pytest.raises(ConfigurationError, match="short_term_capacity must be at least 1 step, got 0"):
        STLTMemory(Someone(), short_term_capacity=0)
