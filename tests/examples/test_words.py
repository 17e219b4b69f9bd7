"""How numbers are put into words."""

import pytest

from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.simulation import DecisionCounts
from mesa_llm_examples.words import answers_took, counted, decisions_in_words


@pytest.mark.parametrize(("count", "words"), [(0, "0 cops"), (1, "1 cop"), (2, "2 cops"), (1234, "1,234 cops")])
def test_one_is_no_plural(count, words):
    assert counted(count, "cop") == words


@pytest.mark.parametrize(
    ("count", "simulated", "words"),
    [
        (1, "", "1 answer took 2.50 s"),
        (40, "", "40 answers took 2.50 s, added up"),
        (40, "simulated", "40 answers took 2.50 s, added up (simulated)"),
    ],
)
def test_what_answers_took(count, simulated, words):
    assert answers_took(count, 2.5, simulated=simulated) == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ""),
        (
            {"decisions": 1, "tool_calls": 1},
            "1 decision; 0 of 1 action refused, 0 crashed",
        ),
        ({"decisions": 3, "without_call": 3}, "3 decisions, 3 of them without a valid call"),
        ({"tool_calls": 2, "crashed_tool_calls": 1}, "0 of 2 actions refused, 1 crashed"),
        ({"failed_decisions": 2}, "2 decisions failed"),
        ({"failed_decisions": 1, "asked_again": 1}, "1 decision failed; 1 answer was asked for again"),
        (
            {
                "decisions": 1142,
                "failed_decisions": 1,
                "without_call": 2,
                "asked_again": 4,
                "tool_calls": 1150,
                "refused_tool_calls": 3,
            },
            "1,142 decisions, 2 of them without a valid call; 1 more decision failed; 4 answers were asked for again; "
            "3 of 1,150 actions refused, 0 crashed",
        ),
    ],
)
def test_what_decisions_were_worth(counts, words):
    assert decisions_in_words(DecisionCounts(**counts)) == words


@pytest.mark.parametrize(
    ("name", "options", "headline"),
    [
        ("civil-violence", {"citizens": 1, "cops": 1}, "Civil violence (Epstein 2002): 1 citizen, 1 cop, seed 7"),
        ("civil-violence", {"citizens": 0, "cops": 2}, "Civil violence (Epstein 2002): 0 citizens, 2 cops, seed 7"),
        (
            "negotiation",
            {"buyers": 1, "sellers": 2, "rounds": 1},
            "Negotiation (Faratin et al. 1998): 1 buyer, 2 sellers, 1 round, seed 7",
        ),
        ("opinion", {"people": 1}, "Opinion dynamics (Deffuant et al. 2000): 1 person, confidence 0.3, seed 7"),
        (
            "sugarscape",
            {"traders": 1},
            "Sugarscape with trade (Epstein and Axtell 1996): 1 trader on 20 x 20 cells, seed 7",
        ),
    ],
)
def test_headlines_count_right(name, options, headline):
    example = EXAMPLES[name]
    defaults = {option.name: option.default for option in example.options}
    assert example.headline_of({**defaults, **options, "seed": 7}) == headline
