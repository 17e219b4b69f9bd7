"""What a request is thought to take before it is sent."""

from helpers.busy_endpoint import request

from mesa_llm.clients import LLMRequest, Message, ResponseFormat, ToolCall, ToolSpec, Usage
from mesa_llm.limits.budget import FIRST_GUESS, TokenEstimator


def estimate(asked, estimator=None):
    return (estimator or TokenEstimator()).estimate(asked)


def test_a_prompt_has_a_token_for_four_bytes_and_some_for_each_message():
    assert estimate(request("")).prompt_tokens == 4
    assert estimate(request("a" * 400)).prompt_tokens == 104
    assert estimate(request("a" * 401)).prompt_tokens == 105
    assert estimate(request("字" * 400)).prompt_tokens == 304  # such a script has about a token for a character
    assert estimate(request("\ud800")).prompt_tokens == 5  # half a character, as a broken answer may hold


def test_tools_formats_and_tool_calls_count_too():
    plain = estimate(request("hello")).prompt_tokens
    tool = ToolSpec("move", "Move " * 100, {"type": "object"})
    messages = (Message("user", "hello"),)
    with_tools = LLMRequest(model="a/b", messages=messages, tools=(tool,))
    assert estimate(with_tools).prompt_tokens > plain + 125
    with_format = LLMRequest(model="a/b", messages=messages, response_format=ResponseFormat("x", {"a": "b" * 400}))
    assert estimate(with_format).prompt_tokens > plain + 100
    called = Message("assistant", tool_calls=(ToolCall("id", "move", "x" * 400),))
    with_calls = LLMRequest(model="a/b", messages=(*messages, called))
    assert estimate(with_calls).prompt_tokens > plain + 100


def test_a_completion_is_what_the_request_allows():
    estimator = TokenEstimator()
    estimator.learn(request(), Usage(1, 10))
    assert estimate(request(max_tokens=77), estimator).completion_tokens == 77
    assert estimate(request(max_completion_tokens=55, max_tokens=77), estimator).completion_tokens == 55
    assert estimate(request(max_tokens=-1), estimator).completion_tokens == 10


def test_or_else_the_mean_of_the_models_completions_so_far():
    estimator = TokenEstimator()
    assert estimate(request(), estimator).completion_tokens == FIRST_GUESS
    for tokens in (10, 20, 0, 60):  # zero: the provider did not tell
        estimator.learn(request(), Usage(5, tokens))
    assert estimate(request(), estimator).completion_tokens == 30
    assert estimate(request(model="c/d"), estimator).completion_tokens == FIRST_GUESS
    assert estimate(request("abcd"), estimator).total_tokens == 35
