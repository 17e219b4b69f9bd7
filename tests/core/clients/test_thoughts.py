"""Thoughts in the text of an answer, in the forms in which models and servers write them."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients.thoughts import without_thoughts

HARMONY = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Go."
A_CALL = '<|start|>assistant<|channel|>commentary to=functions.move <|constrain|>json<|message|>{"x": 1}<|call|>'
A_LATER_CALL = "<|start|>assistant to=functions.move<|channel|>commentary json<|message|>{}<|call|>"

FORMS = {
    "<think>hm</think>Go.": ("Go.", "hm"),
    "<think>\nhm\n</think>\n\nGo.": ("Go.", "hm"),
    "<Think>hm</Think> Go.": ("Go.", "hm"),
    "<thinking>hm</thinking>Go.": ("Go.", "hm"),
    '<think signature="x">hm</think>Go.': ("Go.", "hm"),
    "<thought>hm</thought>Go.": ("Go.", "hm"),
    "<reasoning>hm</reasoning>Go.": ("Go.", "hm"),
    "<seed:think>hm</seed:think>Go.": ("Go.", "hm"),
    "[THINK]hm[/THINK]Go.": ("Go.", "hm"),
    "◁think▷hm◁/think▷Go.": ("Go.", "hm"),
    "<|begin_of_thought|>hm<|end_of_thought|>Go.": ("Go.", "hm"),
    "<think></think>Go.": ("Go.", ""),
    "<think>a</think><think>b</think>Go.": ("Go.", "a\nb"),
    "<think>a</think>Go.<think>b</think>": ("Go.", "a\nb"),
    "<think>a <think>b</think> c</think>Go.": ("Go.", "b\na  c"),
    "hm</think>Go.": ("Go.", "hm"),
    "hm</thinking>\nGo.": ("Go.", "hm"),
    "a</think>b</think>Go.": ("Go.", "a</think>b"),
    "<think>hm": ("", "hm"),
    "<think>": ("", ""),
    "<think>hm</think>": ("", "hm"),
    "Go.\n<think>hm": ("Go.", "hm"),
    HARMONY: ("Go.", "hm"),
    f"{HARMONY}<|return|>": ("Go.", "hm"),
    f"<|start|>assistant{HARMONY}": ("Go.", "hm"),
    "<|channel|>analysis<|message|>hm": ("", "hm"),
    "<|channel|>analysis<|message|>hm<|end|>": ("", "hm"),
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Go.": ("Go.", "a\nb"),
    f"<|channel|>analysis<|message|>hm<|end|>{A_CALL}": (A_CALL, "hm"),
    f"<|channel|>analysis<|message|>hm<|end|>{A_LATER_CALL}": (A_LATER_CALL, "hm"),
    "analysisI wonder.assistantfinalGo.": ("Go.", "I wonder."),
    '```json\n{"say": "a</think>b"}\n```': ('```json\n{"say": "a</think>b"}\n```', ""),
    'I say {"say": "<think>a</think>"}.': ('I say {"say": "<think>a</think>"}.', ""),
    '<think>hm {"say": "</think>"}?</think>Go: ["</think>"]': ('Go: ["</think>"]', 'hm {"say": "</think>"}?'),
    '<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>{"say": "<|end|>"}': (
        '{"say": "<|end|>"}',
        "hm",
    ),
    '{"say": "a</think>b",}': ('{"say": "a</think>b",}', ""),
    '{"say": "a</think>b", "do": "cut o': ('{"say": "a</think>b", "do": "cut o', ""),
    'I could say: "hm", or "ho".</think>I say: "Go", friend.': ('I say: "Go", friend.', 'I could say: "hm", or "ho".'),
    '{"say": "hm</think>{"say": "Go."}': ('{"say": "Go."}', '{"say": "hm'),
    "I <think> so, therefore I go.": ("I <think> so, therefore I go.", ""),
    "analysis of the assistantfinal": ("analysis of the assistantfinal", ""),
    "Go.": ("Go.", ""),
    "  Go.\n": ("  Go.\n", ""),
    "": ("", ""),
}


@pytest.mark.parametrize("text", FORMS)
def test_forms(text):
    assert without_thoughts(text) == FORMS[text]


@pytest.mark.parametrize("value", [{"say": "<think>hm</think>"}, ["a</think>b"], "<think>x"])
def test_json_stays_as_it_is(value):
    assert without_thoughts(json.dumps(value)) == (json.dumps(value), "")


@given(st.lists(st.sampled_from(["<think>", "</think>", "<|channel|>final<|message|>", "<|end|>", "a", "\n"])))
def test_any_mixture_is_read_and_no_block_is_left(parts):
    answer, _ = without_thoughts("".join(parts))
    assert "</think>" not in answer


@given(st.text(alphabet=st.characters(exclude_characters="<[◁")))
def test_a_text_without_tags_stays_as_it_is(text):
    assert without_thoughts(text) == (text, "") or "assistantfinal" in text


def test_a_long_answer_takes_no_longer_after_thoughts_than_without():
    """In a process of its own: a search that tries each place again would take minutes, and could not be stopped."""
    code = """
from mesa_llm.clients.thoughts import without_thoughts
for answer in ("a" * 200_000, '{"' * 100_000, '["a", ' * 40_000):
    assert without_thoughts(f"hm</think>{answer}") == (answer.strip(), "hm")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
