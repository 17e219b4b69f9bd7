"""What answers agents in a sequential step: at their turns, and on the copies where the step looks ahead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, override

from mesa_llm.activation.call import ModelCall, model_call
from mesa_llm.activation.context import Answers, LookEnded, detached
from mesa_llm.concurrency import calling_loop, transport_loop
from mesa_llm.parallel_stepping.memo import LATER, NOW, SOON, Asked, Key, Memo
from mesa_llm.parallel_stepping.report import CallSpan

if TYPE_CHECKING:
    from mesa import Agent

    from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse


class AnswersAtTurn(Answers):
    """Answers agents whose turn it is: from the memo, or by asking now.

    Args:
        memo: the answers asked ahead.
        look: looks ahead while an agent waits; says whether it did.

    Attributes:
        agent_id: the agent whose turn it is.
        calls: the calls of the agent whose turn it is.
        waits: when it has waited, in seconds since the step began.
    """

    __slots__ = ("_look", "agent_id", "calls", "memo", "waits")

    def __init__(self, memo: Memo, look: Callable[[], bool]) -> None:
        self.memo = memo
        self._look = look
        self.agent_id = 0
        self.calls: list[CallSpan] = []
        self.waits: list[tuple[float, float]] = []

    @override
    def ask(self, client: LLMClient, request: LLMRequest) -> LLMResponse:
        waiting = self._answer(client, request)
        try:
            while True:
                bell = next(waiting)
                with calling_loop.heeding_cancellation():
                    calling_loop.result_of(bell)
        except StopIteration as end:
            response: LLMResponse = end.value
            return response
        finally:
            waiting.close()

    @override
    async def aask(self, client: LLMClient, request: LLMRequest) -> LLMResponse:
        waiting = self._answer(client, request)
        try:
            while True:
                await asyncio.wrap_future(next(waiting))
        except StopIteration as end:
            response: LLMResponse = end.value
            return response
        finally:
            waiting.close()

    def _answer(self, client: LLMClient, request: LLMRequest) -> Generator[Future[None], None, LLMResponse]:
        """Yields what to wait for; returns the answer."""
        memo = self.memo
        call = ModelCall()
        call.identify()
        with memo.lock:
            memo.gather()
            key = memo.at_turn(self.agent_id, call.origin, client, request)
            asked = memo.find(key, request)
        began = memo.now()
        try:
            if asked is not None:
                asked.call.lane = NOW
                yield from self._until(asked.has_arrived)
                if asked.error is not None:
                    with memo.lock:
                        memo.forget(key)
                    asked = None
            with model_call(call):
                if asked is None:
                    asked = yield from self._asked_now(key, client, request, call)
                elif asked.call.passed_journal:
                    call.known = asked.response
                    yield from self._recorded(client, replace(request, call=call))
                with memo.lock:
                    memo.use(asked)
                call.response = asked.response
                self.calls.append(CallSpan.of(call, "decide", start=asked.sent, end=asked.arrived or asked.sent))
                assert asked.response is not None
                return asked.response
        finally:
            self.waits.append((began, memo.now()))

    def _asked_now(
        self, key: Key, client: LLMClient, request: LLMRequest, call: ModelCall
    ) -> Generator[Future[None], None, Asked]:
        memo = self.memo
        with memo.lock:
            asked = memo.send(key, self.agent_id, client, request, call, is_ahead=False)
        call.cancel = asked.future.cancel
        try:
            yield from self._until(asked.has_arrived)
        except BaseException:
            asked.future.cancel()
            raise
        if asked.error is not None:
            call.error = asked.error
            self.calls.append(CallSpan.of(call, "decide", start=asked.sent, end=asked.arrived or asked.sent))
            raise asked.error
        memo.answered_now(client, asked)
        return asked

    def _recorded(self, client: LLMClient, request: LLMRequest) -> Generator[Future[None], None, None]:
        """Let the journal record an answer that was asked ahead."""
        call = request.call
        recorded = transport_loop.get().submit(
            client.complete(request), begins_anyway=True, context=detached(call), ended=call.detach
        )
        recorded.add_done_callback(lambda _: self.memo.ring())
        try:
            yield from self._until(recorded.done)
        except BaseException:
            recorded.cancel()
            raise
        recorded.result()

    def _until(self, done: Callable[[], bool]) -> Generator[Future[None], None, None]:
        """Wait for something, and look ahead when answers arrive meanwhile."""
        memo = self.memo
        while True:
            bell = memo.bell()
            with memo.lock:
                memo.gather()
                if done():
                    return
                memo.wait()
                if self._look():
                    continue
            memo.before_wait()
            yield bell


class AnswersInLook(Answers):
    """Answers agents on a copy: from the memo; what is not known may be asked ahead, and ends their look or is guessed.

    Args:
        memo: the answers asked ahead.
        model: the model itself, which the copy was made of.
        counts: `Memo.counts` as they were then.
        window: for how many agents, from the next one on, bets are made.

    Attributes:
        undecided: ids of the agents whose acts are not known yet.
        is_near: whether the agent's turn comes soon.
        is_exact: whether all before the agent have done on the copy what they will do.
        missed: whether an answer was not known. If the agent has been answered such a call before, it goes on with that
            answer: those who see it then ask what they will ask, if the answer comes out alike.
        is_doubtful: whether an answer was used although somebody whom the agent sees is undecided.
    """

    looking_ahead = True

    def __init__(self, memo: Memo, model: Any, counts: Counter[Key], window: float) -> None:
        self._memo = memo
        self._model = model
        self._counts = counts.copy()
        self._window = window
        self._bettors: set[int] = set()
        self.undecided: set[int] = set()
        self.is_exact = True
        self.begin(0, is_near=True)

    def begin(self, agent_id: int, *, is_near: bool) -> None:
        """The next agent steps."""
        self._agent_id = agent_id
        self._nth = 0
        self._seen: set[int] | None = None
        self.is_near = is_near
        self.missed = self.is_doubtful = False

    @override
    def sees(self, agent: Agent, others: Iterable[Agent]) -> None:
        self._seen = (self._seen or set()) | {other.unique_id for other in others}

    @override
    def ask(self, client: LLMClient, request: LLMRequest) -> LLMResponse:
        memo = self._memo
        call = ModelCall()
        call.identify()
        self._nth += 1
        key = memo.key(self._agent_id, call.origin, client, request, self._counts)
        asked = memo.find(key, request)
        sees_undecided = self._seen is None or not self._seen.isdisjoint(self.undecided)
        is_bet = self.missed or (sees_undecided and not self.is_exact)
        if is_bet:
            self._bettors.add(self._agent_id)
        elif asked is not None:
            memo.won(asked)
        if asked is not None and asked.response is not None:
            self.is_doubtful |= is_bet
            return asked.response
        self.missed = True
        if asked is None and (not is_bet or len(self._bettors) <= self._window):
            origin = None if call.origin is None else replace(call.origin, model=self._model)
            memo.ask_ahead(
                key,
                self._agent_id,
                client,
                request,
                origin,
                nth=self._nth,
                lane=SOON if self.is_near else LATER,
                is_bet=is_bet,
            )
        guess = memo.last_answer(self._agent_id, self._nth)
        if guess is None:
            raise LookEnded("a call whose answer is not known")
        return guess

    @override
    async def aask(self, client: LLMClient, request: LLMRequest) -> LLMResponse:
        return self.ask(client, request)
