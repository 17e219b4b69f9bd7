"""Reading JSON out of what real models answer, and asking again."""

import json
from typing import Literal

import pytest
from helpers.speakers import tool_call
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel

from mesa_llm.clients import LLMResponse, Message, ResponseFormat, Usage
from mesa_llm.errors import ConfigurationError, DecisionError
from mesa_llm.module_llm import ModuleLLM
from mesa_llm.module_llm.dialogue import ask_structured, converse, read_structured
from mesa_llm.testing import ScriptedLLM


class Move(BaseModel):
    reason: str
    steps: int
    toward: Literal["north", "south"] = "north"
    tags: list[str] = []


SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "steps": {"type": "integer"}},
    "required": ["reason", "steps"],
}
MOVE = {"reason": "r", "steps": 3, "toward": "south", "tags": ["a"]}
TEXT = json.dumps(MOVE)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"\ufeff{TEXT}",
        f"```json\n{TEXT}\n```",
        f"```\n{json.dumps(MOVE, indent=2)}\n```",
        f"Sure! Here you are: {TEXT} Good luck.",
        f"With {{braces}} and [brackets] [1]: {TEXT}",
        f"<think>I might {{'reason': 1}} or\n{json.dumps(MOVE | {'steps': 9})}</think>\n{TEXT}",
        f"<THINKING>a</THINKING>\n<think>b</think>{TEXT}",
        f"or {json.dumps(MOVE | {'steps': 9})} ... no.\n</think>\n\n{TEXT}",
        f'{{"unlike": 1}} and then {TEXT}',
        f"{TEXT} or else {json.dumps(MOVE | {'steps': 9})}",
        f"[{TEXT}]",
        str(MOVE),
        TEXT.replace('["a"]', '["a",],'),
        "{reason: 'r', steps: 3, toward: 'south', /* why not */ tags: ['a']}",
        TEXT[:-1],
        TEXT[:-1] + "\n",
        TEXT[:-1] + ', "remarks": "a long rem',
        TEXT[:-1] + ', "remarks": [1, 2',
    ],
)
def test_what_is_read(text):
    assert read_structured(text, Move) == Move(**MOVE)
    assert read_structured(text, SCHEMA) == MOVE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("null", "there is no JSON object in it"),
        ("I go north.", "there is no JSON object in it"),
        ("<think>endless, see " + TEXT, "there is no JSON object in it"),
        ('"{}"', "steps: Field required"),
        (f"[{TEXT}, {TEXT}]", "it is a JSON array, not an object"),
        (f"[{TEXT}", "it is a JSON array, not an object"),
        ('{"reason": "r"}', "steps: Field required"),
        ('{"reason": "r", "steps": "many"}', "steps: Input should be a valid integer"),
        ('{"reason": "r", "steps": 3', "it breaks off"),
        (TEXT[: TEXT.index('"tags"')], "it breaks off"),
        ('{"tags": [], "toward": "south", "reason": "r", "steps": 3', "it breaks off"),
        (TEXT[:-1] + ', "steps": 1', "it breaks off"),
        ('{"reason": "r"} {"steps": 3}', "steps: Field required"),
        ("{'reason': 'r', 'steps': {\"reason\": \"r\", \"steps\": 3}", "there is no JSON object in it"),
        ('{"reason": "r", "steps": ' + "9" * 5000 + "}", "there is no JSON object in it"),
        ("[" * 100_000, "it is a JSON array, not an object|there is no JSON object"),
        ('{"reason":' * 100_000, "there is no JSON object in it|breaks off"),
    ],
)
def test_what_is_not_read(text, problem):
    with pytest.raises(DecisionError, match=f"The answer is not the JSON asked for .*({problem})") as refusal:
        read_structured(text, Move)
    assert len(str(refusal.value)) < 600


def test_a_line_break_inside_of_a_text():
    assert read_structured('Here: {"reason": "first\nsecond", "steps": 3}', Move).reason == "first\nsecond"


def test_a_schema_says_what_is_wrong():
    with pytest.raises(DecisionError, match=r"\(steps: 'many' is not of type 'integer'\)"):
        read_structured('{"reason": "r", "steps": "many"}', SCHEMA)
    with pytest.raises(DecisionError, match=r"\(answer: 'steps' is a required property\)"):
        read_structured('{"reason": "r"}', ResponseFormat("move", SCHEMA))


class Numbers(RootModel[list[int]]):
    pass


@pytest.mark.parametrize("form", [Numbers, {"type": "json_object"}, {"type": "array"}, 3])
def test_a_form_is_one_of_an_object(form):
    with pytest.raises(ConfigurationError):
        read_structured("[1]", form)


def test_a_schema_fetches_nothing():
    with pytest.raises(ConfigurationError, match="refers to a schema that is not in it"):
        read_structured("{}", {"type": "object", "$ref": "https://example.org/form.json"})


def test_aliases_and_strict_models():
    class Trip(BaseModel):
        model_config = ConfigDict(strict=True)
        start: tuple[int, int] = Field(alias="from")
        note: str | None = None

    assert read_structured('{"from": [1, 2], "note": null', Trip).start == (1, 2)
    with pytest.raises(DecisionError, match="breaks off"):
        read_structured('{"from": [1, 2], "no', Trip)


# Laws

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Anything(BaseModel):
    """Every text can be told from every other, and a lost entry is missed."""

    model_config = ConfigDict(extra="forbid")
    first: object
    second: object


objects = st.fixed_dictionaries({"first": values, "second": values})
noise = st.text().filter(lambda text: not set("{}[]<") & set(text))
wrappings = st.sampled_from(["{}", "```json\n{}\n```", "```\n{}```", "<think>hm, [1] {{}}</think>{}"])
layouts = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(objects, noise, noise, wrappings, layouts)
@example({"first": '</think>{"first": 1, "second": 2}', "second": "<think>"}, "a", "b", "{}", {})
def test_a_valid_object_is_read_back_equal_whatever_is_around_it(value, before, after, wrapping, layout):
    written = wrapping.replace("{{}}", "{x}").replace("{}", json.dumps(value, **layout))
    text = written if written.startswith("<think>") else f"{before}{written}{after}"
    assert read_structured(text, Anything).model_dump() == value


@given(st.text() | st.text(alphabet="{}[]\":,'<>/thinkab1e-.\\u \ud800\n") | values.map(json.dumps))
def test_any_text_gives_an_object_or_a_decision_error(text):
    for form in (Move, SCHEMA):
        try:
            read = read_structured(text, form)
        except DecisionError:
            continue
        assert isinstance(read, Move | dict)


@given(objects, noise, wrappings, layouts, st.data())
def test_a_text_that_breaks_off_never_gives_other_values(value, before, wrapping, layout, data):
    written = before + wrapping.replace("{{}}", "{x}").replace("{}", json.dumps(value, **layout))
    assume(not before.strip() or not written.lstrip().startswith("<think>"))
    text = written[: data.draw(st.integers(0, len(written)))]
    try:
        read = read_structured(text, Anything)
    except DecisionError:
        return
    assert read.model_dump() == value


# Asking again


def ask(script, form=Move, **options):
    llm = ModuleLLM("fake/model", client=ScriptedLLM(script), **options)
    return converse(ask_structured(llm.request("Where to?"), form, asker="Cop 3"), llm.complete), llm.client.requests


def cut_off(text, tokens=0):
    return LLMResponse(message=Message("assistant", text), model="m", usage=Usage(1, tokens), finish_reason="length")


def test_the_form_is_asked_for_and_a_good_answer_is_asked_once():
    move, requests = ask(TEXT)
    assert move == Move(**MOVE)
    assert [request.response_format for request in requests] == [ResponseFormat("Move", Move.model_json_schema())]
    _, (request,) = ask(TEXT, SCHEMA)
    assert request.response_format == ResponseFormat("answer", SCHEMA)


def test_a_bad_answer_is_asked_again_with_what_is_wrong():
    move, (first, second) = ask(["I go.", TEXT])
    assert move == Move(**MOVE)
    assert second.messages[:-2] == first.messages
    assert second.response_format == first.response_format
    assert second.messages[-2:] == (
        Message("assistant", "I go."),
        Message(
            "user",
            "Your answer cannot be read: there is no JSON object in it. Answer again, with nothing but the JSON object.",
        ),
    )


def test_a_long_bad_answer_is_not_repeated_in_full():
    _, (_, second) = ask(["x" * 10_000, TEXT])
    assert len(second.messages[-2].content) == 2000


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        (
            "I go.",
            {},
            r"Cop 3: the model's answer is not the JSON asked for \(there is no JSON object in it\): 'I go\.'",
        ),
        (cut_off('{"reason', 40), {}, r"\(the answer was cut off at 40 tokens; raise max_tokens\): '{\"reason'"),
        (cut_off(""), {"max_tokens": 9}, "cut off at 9 tokens; raise max_tokens"),
        (cut_off(""), {}, "cut off; raise max_tokens"),
        (tool_call("go"), {}, "the model called the tool 'go' instead of answering"),
        (
            LLMResponse(message=Message("assistant"), model="m", finish_reason="content_filter"),
            {},
            "the provider's content filter stopped it",
        ),
    ],
)
def test_a_second_bad_answer_is_an_error_that_names_asker_problem_and_answer(answer, options, message):
    with pytest.raises(DecisionError, match=message):
        ask([answer, answer], **options)


def test_an_answer_that_was_cut_off_is_asked_again_for_a_brief_one():
    _, (_, second) = ask([cut_off("{"), TEXT])
    assert "it was cut off, so be brief" in second.messages[-1].content
    move, requests = ask([cut_off(TEXT)])
    assert (move, len(requests)) == (Move(**MOVE), 1)
