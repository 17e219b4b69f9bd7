"""A client that needs no model: a policy written in Python answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from mesa_llm.clients.chat_completion import Answer, to_response
from mesa_llm.clients.client import AsyncClient
from mesa_llm.clients.latency import Latency, check_latency, pause
from mesa_llm.clients.messages import LLMRequest, LLMResponse
from mesa_llm.clients.questions import QUESTIONS, Question, instructions_of
from mesa_llm.clients.rule_answers import answer_instead, fitted
from mesa_llm.errors import ConfigurationError, DecisionError, ModelCallError

NOTHING = "nothing"
"""The `finish_reason` of a rule's empty answer: it decides to do nothing. A model's empty answer is a failure."""


class RuleBasedClient(AsyncClient):
    """Answers by a policy, without a network and without a key.

    For a first contact, for examples, and as a baseline to compare a model with. The policy is a pure function of the
    request: it has no agent and no Mesa model to look at, so it knows what a language model would know, and the same
    request gets the same answer in any order. It runs on the transport loop, so it must be quick. Its answers cost
    nothing (`LLMResponse.cost` is 0.0), but for a full `LLMResponse`, which has the cost that it names. All have
    `source="rule"`, so that nobody takes their simulated latency (`LLMResponse.latency_s`) for a measured one.

    ```python
    from mesa_llm.clients import LLMRequest, Message, RuleBasedClient


    def policy(request):
        return "Rest." if "tired" in request.messages[-1].content else "Work."


    client = RuleBasedClient(policy)
    request = LLMRequest(model="any/model", messages=(Message(role="user", content="You are tired. What do you do?"),))
    print(client.generate(request).message.content)
    #> Rest.
    ```

    One policy works with every reasoning and every memory, by what `question_of` says of a request:

    `decide`
        The policy answers. Tool calls that it gives where a decision in words is asked for (`CoTReasoning`,
        `ReActReasoning`, `ReWOOReasoning`) are written as words. Where an action is to be chosen, one tool call is the
        choice.
    `call tools`
        If the words are tool calls that the policy gave, the client answers with these. Other words go to the policy.
    `sum up`
        The client answers, with the last lines of what has happened, up to 600 characters.
    `grade`
        The client answers, with 5 for each entry, the middle of the scale.

    Args:
        policy: gives the answer to a request: a text, one or several tool calls (see `tool_call`), a `Message`, or a
            full `LLMResponse`; an empty text or list decides to do nothing. What it raises reaches the caller with its
            traceback, and names the question: a `DecisionError` in its text, others in a note.
        latency: seconds until the answer, or a function that gives them for a request. Waiting overlaps, as with a
            model.
        answers: the questions that the policy answers: `decide`, and perhaps others. Without `call tools`, its words
            call no tools. With `sum up` and `grade`, it answers memories too.

    Raises:
        ConfigurationError: if `latency` is below zero, or `answers` has another question or lacks `decide`.
    """

    def __init__(
        self,
        policy: Callable[[LLMRequest], Answer],
        *,
        latency: Latency[LLMRequest] = 0.0,
        answers: Iterable[Question] = ("decide", "call tools"),
    ) -> None:
        self.policy = policy
        self.latency = check_latency(latency)
        self.answers = frozenset(answers)
        if "decide" not in self.answers or not self.answers.issubset(QUESTIONS):
            raise ConfigurationError(
                f"answers must have 'decide' and may have {', '.join(map(repr, QUESTIONS[1:]))}, got {answers!r}."
            )

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Answer a request. Runs on the transport loop.

        Raises:
            DecisionError: if the policy's answer is not in the form asked for.
        """
        seconds = await pause(self.latency, request)
        asked = instructions_of(request)
        answer = answer_instead(asked.question, request, self.answers)
        try:
            if answer is None:
                answer = self.policy(request)
            response = fitted(to_response(answer, model=request.model, cost=0.0, latency_s=seconds), request, asked)
        except ModelCallError:  # a model's failure, shown on purpose
            raise
        except Exception as error:
            asked_to, way_out = self._asked_to(asked.question)
            if type(error) is DecisionError:
                raise DecisionError(f"{asked_to}: {error}{way_out}") from error
            error.add_note(f"{asked_to}.{way_out}")
            raise
        if response.source != "model":
            return response
        message, reason = response.message, response.finish_reason
        if reason == "stop" and not message.content and not message.tool_calls:
            reason = NOTHING
        return replace(response, source="rule", finish_reason=reason)

    def _asked_to(self, question: Question) -> tuple[str, str]:
        """What the policy was asked, and, where it may not have expected that, what to do about it."""
        name = getattr(self.policy, "__name__", type(self.policy).__name__)
        way_out = (
            " It is asked because it has decided in words. Let it decide by tool calls ([] for none), or answer this "
            "question too (see question_of); or give answers={'decide'}: then words call no tools."
        )
        return f"The rule was asked to {question!r} ({name})", way_out if question == "call tools" else ""
