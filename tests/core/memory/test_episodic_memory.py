"""Of single events, those come to mind that are new, and then the recent, important and relevant ones."""

import math
import subprocess
import sys
import threading

import pytest
from helpers.memories import Someone, answer_memory, note, settle, words
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.memory import EpisodicMemory
from mesa_llm.memory.episodic_memory import cosines, scaled, shared_words, unit_vectors


def graded(memory, grades):
    """Grade entries without a model."""
    for episode, grade in zip(memory._episodes, grades, strict=True):
        episode.importance = grade


def top(memory, k=3):
    return [entry.content["w"] for entry in memory.retrieve_top_k_entries(k)]


def in_prompt(memory):
    lines = memory.get_prompt_ready().split("\n")
    return [line.rpartition(" ")[2] for line in lines if not line.startswith("## Step ")]


def only(**weight):
    return {f"{name}_weight": 0.0 for name in ("recency", "importance", "relevance")} | weight


async def test_all_new_entries_are_graded_in_one_call_from_1_to_10():
    agent = Someone(['{"1": 3, "2": 10, "3": 99}', '{"1": -2}'])
    agent.system_prompt = "You are Ada."
    memory = EpisodicMemory(agent)
    note(memory, "a", "b", "c")
    assert await settle(memory)
    assert [episode.importance for episode in memory._episodes] == [3, 10, 10]
    (request,) = agent.client.requests
    assert request.messages[0].content == snapshot("""\
You judge how much the memories of an agent in a simulation matter to it. Grade each entry with a whole number from 1 to
10: 1 for what is routine and can be forgotten, 10 for what will matter for the rest of its life.
Answer with a JSON object that has the grade of each entry under its number, such as {"1": 2, "2": 8}.

# Who the agent is
You are Ada.\
""")
    assert request.messages[1].content == snapshot("""\
# Entries
1. Step 1. note: w: a
2. Step 1. note: w: b
3. Step 1. note: w: c\
""")
    assert request.response_format.schema == snapshot(
        {
            "title": "grades",
            "type": "object",
            "properties": {"1": {"type": "integer"}, "2": {"type": "integer"}, "3": {"type": "integer"}},
            "required": ["1", "2", "3"],
            "additionalProperties": False,
        }
    )
    assert not await settle(memory)
    note(memory, "d")
    await settle(memory)
    assert agent.client.requests[1].messages[1].content == "# Entries\n1. Step 1. note: w: d"
    assert memory._episodes[3].importance == 1


async def test_many_entries_are_graded_twenty_at_a_time():
    agent = Someone(answer_memory)
    memory = EpisodicMemory(agent)
    note(memory, *range(45))
    await settle(memory)
    assert [len(request.response_format.schema["required"]) for request in agent.client.requests] == [20, 20, 5]
    assert {episode.importance for episode in memory._episodes} == {7}


@pytest.mark.parametrize("bad", [ConnectionResetError("down"), "high", '{"1": 3}'])
async def test_a_failure_leaves_the_entries_ungraded_and_owed(bad):
    agent = Someone(lambda request: bad if is_down else answer_memory(request))
    memory = EpisodicMemory(agent)
    note(memory, "a", "b")
    is_down = True
    with pytest.raises((ConnectionResetError, DecisionError)):
        await memory.asettle()
    assert [episode.importance for episode in memory._episodes] == [None, None]
    assert words(memory) == ["a", "b"]
    is_down = False
    await settle(memory)
    assert [episode.importance for episode in memory._episodes] == [7, 7]


async def test_what_comes_while_the_model_grades_is_graded_next_time():
    async def answer(request):
        if len(agent.client.requests) == 1:
            note(memory, "late")
        return answer_memory(request)

    agent = Someone(answer)
    memory = EpisodicMemory(agent, max_capacity=2)
    note(memory, "a", "b")
    await settle(memory)
    assert [(e.entry.content["w"], e.importance) for e in memory._episodes] == [("b", 7), ("late", None)]
    await settle(memory)
    assert memory._episodes[1].importance == 7


def test_scores_are_weighted_sums_of_scaled_recency_importance_and_relevance():
    """By hand: three entries of steps 1, 2 and 4, at step 4, with a decay of 0.5; the last one is what is new."""
    memory = EpisodicMemory(Someone(), recency_decay=0.5)
    note(memory, "old wolf", step=1)
    note(memory, "a sheep", step=2)
    note(memory, "the wolf", step=4)
    graded(memory, [9, 1, 5])
    # recency 1/8, 1/4, 1 -> 0, 1/7, 1; importance -> 1, 0, 1/2
    # relevance: "wolf" counts log(3/2), "the" log(3): 0.27 and 0 and 1 -> 0.27, 0, 1
    assert top(memory) == ["the wolf", "old wolf", "a sheep"]
    for weights, order in [
        (only(recency_weight=1), ["the wolf", "a sheep", "old wolf"]),
        (only(importance_weight=1), ["old wolf", "the wolf", "a sheep"]),
        (only(relevance_weight=1), ["the wolf", "old wolf", "a sheep"]),
        (only(recency_weight=2, importance_weight=1), ["the wolf", "old wolf", "a sheep"]),
        (only(recency_weight=1, importance_weight=10), ["old wolf", "the wolf", "a sheep"]),
    ]:
        memory._weights = tuple(weights[f"{name}_weight"] for name in ("recency", "importance", "relevance"))
        assert top(memory) == order
        assert top(memory, 1) == order[:1]


def test_weights_are_arguments():
    memory = EpisodicMemory(Someone(), **only(importance_weight=1.0))
    note(memory, "high", "low", step=1)
    graded(memory, [9, 1])
    note(memory, "new", step=2)
    assert top(memory) == ["high", "new", "low"]  # ungraded yet: 5


def test_of_equal_entries_the_newest_comes_first():
    memory = EpisodicMemory(Someone())
    note(memory, "a", "b", "c")
    assert top(memory) == ["c", "b", "a"]
    assert EpisodicMemory(Someone()).retrieve_top_k_entries(3) == []


def test_the_prompt_has_what_is_new_and_then_the_highest_scores_in_their_order():
    memory = EpisodicMemory(Someone(), considered_entries=4, **only(importance_weight=1.0))
    assert memory.get_prompt_ready() == "Nothing yet."
    for step, grade in enumerate([3, 9, 1, 8, 2], 1):
        note(memory, f"graded{grade}", step=step)
    graded(memory, [3, 9, 1, 8, 2])
    memory.agent.model.steps = 6
    assert in_prompt(memory) == ["graded3", "graded9", "graded8", "graded2"]  # of the step before, whatever its grade
    note(memory, "new", step=6)
    assert in_prompt(memory) == ["graded9", "graded8", "graded2", "new"]
    note(memory, "seen", type="observation")
    assert in_prompt(memory) == ["graded9", "graded8", "graded2", "new"]
    memory.agent.model.steps = 9  # not graded: it came since the agent has settled
    assert "new" in in_prompt(memory)
    note(memory, *"abcdef")
    assert in_prompt(memory) == [*"cdef"]


def test_what_does_not_fit_makes_way_for_what_scores_less():
    memory = EpisodicMemory(Someone(), max_tokens=100, **only(importance_weight=1.0))
    for step, word in enumerate(["x" * 80, "y" * 80, "z" * 80, "small", "w" * 80, "v" * 80], 1):
        note(memory, word, step=step)
    graded(memory, [9, 8, 7, 1, 6, 6])
    memory.agent.model.steps = 9
    assert [word[0] for word in in_prompt(memory)] == ["x", "y", "z", "s"]


def test_relevance_goes_by_the_words_of_what_is_new_the_observation_and_the_task():
    memory = EpisodicMemory(Someone(), considered_entries=2, **only(relevance_weight=1.0))
    note(memory, "the mill burns", "the fox sleeps", "the hen lays", step=1)
    graded(memory, [5, 5, 5])
    note(memory, "something else", step=5)
    memory.agent.step_prompt = "Where is the Fox?"
    assert "## Step 1\nnote: w: the fox sleeps" in memory.get_prompt_ready()
    memory.agent.step_prompt = None
    note(memory, "a mill", type="observation")
    assert "## Step 1\nnote: w: the mill burns" in memory.get_prompt_ready()


def test_shared_words_count_the_more_the_rarer_they_are():
    entries = [frozenset(text.split()) for text in ("a b", "a c", "a", "d")]
    assert shared_words(frozenset("ab"), entries) == pytest.approx(
        [1.0, math.log(4 / 3) / math.log(16 / 3), math.log(4 / 3) / math.log(16 / 3), 0]
    )
    assert shared_words(frozenset("x"), entries) == [0, 0, 0, 0]
    assert shared_words(frozenset("a"), entries[:3]) == [0, 0, 0]  # all have it: it tells nothing


def test_scores_are_the_same_in_every_process():
    code = (
        "from mesa_llm.memory.episodic_memory import shared_words;"
        "es=[frozenset(f'w{j}' for j in range(97) if i*(j+7)%(j+3)<2) for i in range(60)];"
        "print([x.hex() for x in shared_words(frozenset(f'w{i}' for i in range(97)), es)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_values_are_scaled_to_0_to_1(values):
    found = scaled(values)
    assert all(0 <= value <= 1 for value in found)
    if min(values) < max(values):
        assert (min(found), max(found)) == (0, 1)
    else:
        assert set(found) == {0}


AXES = {"sheep": [1.0, 0.0], "lamb": [3.0, 0.3], "engine": [0.0, 1.0]}


def embed(texts):
    return [AXES[text.rpartition(" ")[2]] for text in texts]


async def aembed(texts):
    return embed(texts)


@pytest.mark.parametrize("embedder", [embed, aembed])
async def test_with_embeddings_relevance_is_their_cosine_with_what_is_new(embedder):
    agent = Someone(answer_memory)
    memory = EpisodicMemory(agent, considered_entries=2, embed=embedder, **only(relevance_weight=1.0))
    note(memory, "sheep", "engine", step=1)
    await settle(memory)
    note(memory, "lamb", step=5)
    await settle(memory)
    assert in_prompt(memory) == ["sheep", "lamb"]
    assert top(memory) == ["lamb", "sheep", "engine"]


async def test_a_decision_waits_for_no_embedding_and_settling_has_it_made_on_its_own_thread():
    calls = []

    def counted(texts):
        calls.append(texts)
        assert threading.current_thread() is here
        return embed(texts)

    here = threading.current_thread()
    memory = EpisodicMemory(Someone(answer_memory), embed=counted)
    note(memory, "sheep", "engine")
    assert in_prompt(memory) == ["sheep", "engine"]
    assert calls == []
    await settle(memory)
    assert calls == [["Step 1. note: w: sheep", "Step 1. note: w: engine"]]
    assert not await settle(memory)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([[1.0, 2.0]], "2 texts were to be embedded, and 1 vectors came back"),
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        ([[math.nan], [1.0]], "a list of finite numbers"),
        ([1.0, 2.0], "a list of finite numbers"),
        (OSError("down"), "down"),
    ],
)
async def test_failing_embeddings_leave_everything_owed(answer, error):
    def failing(texts):
        if isinstance(answer, OSError):
            raise answer
        return answer

    memory = EpisodicMemory(Someone(answer_memory), embed=failing)
    note(memory, "sheep", "engine")
    with pytest.raises((ValueError, OSError), match=error):
        await memory.asettle()
    assert [(episode.importance, episode.vector) for episode in memory._episodes] == [(None, None)] * 2


def test_vectors_without_length_are_near_to_nothing():
    zero, one = unit_vectors([[0.0, 0.0], [3.0, 4.0]], 2)
    assert cosines([one], [zero, one, None]) == pytest.approx([0, 1, 0])
    assert cosines([zero], [one]) == [0]
    assert cosines([], [one, None]) == [0, 0]


async def test_an_event_can_be_graded_at_once():
    agent = Someone(['{"1": 4}', '{"1": 6}'])
    memory = EpisodicMemory(agent)
    assert memory.grade_event_importance("note", {"w": "a"}) == 4
    assert await memory.agrade_event_importance("note", {"w": "a"}) == 6
    assert agent.client.requests[0] == agent.client.requests[1]
    assert agent.client.requests[0].messages[1].content == "# Entries\n1. Step 1. note: w: a"
    assert memory.entries == ()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_capacity": 0}, "max_capacity must be at least 1 entry, got 0"),
        ({"considered_entries": 0}, "considered_entries must be at least 1 entry, got 0"),
        ({"recency_decay": 0}, "recency_decay must be > 0 and <= 1, got 0"),
        ({"recency_decay": 1.1}, "recency_decay must be > 0 and <= 1, got 1.1"),
        ({"relevance_weight": -1}, "relevance_weight must be >= 0, got -1"),
        ({"recency_weight": math.nan}, "recency_weight must be >= 0, got nan"),
    ],
)
def test_what_cannot_work_is_an_error(arguments, error):
    with pytest.raises(ConfigurationError, match=error):
        EpisodicMemory(Someone(), **arguments)
