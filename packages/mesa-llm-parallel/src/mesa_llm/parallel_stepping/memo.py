"""Answers asked ahead: who asked what, what has come back, what was used, and what was wasted.

An answer belongs to an agent, one of its own steps, a request, and the number of this request among equal ones in that
step. It is used at most once, by that agent, and never because of what it says. So a run with random answers has the
distribution of the run in which each agent asks at its turn.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mesa_llm.activation.call import ModelCall
from mesa_llm.activation.context import detached
from mesa_llm.concurrency import transport_loop
from mesa_llm.errors import BudgetExhaustedError, JournalError
from mesa_llm.journal import JournaledClient, journal_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from mesa_llm.activation.call import CallOrigin
    from mesa_llm.clients import LLMClient, LLMRequest, LLMResponse

type Key = Hashable

NOW, SOON, LATER = 0, 1, 2
"""The lanes of a call, see `ModelCall.lane`."""
_FIRST_WASTE = 8
"""How many calls may be wasted before any is used."""
_ENDS_LOOKING = (BudgetExhaustedError, JournalError)
"""What ends asking ahead for the rest of a step: a budget that is spent, a journal that is replayed."""


_past_record: weakref.WeakSet[JournaledClient] = weakref.WeakSet()
"""Journals of which a resumed run has come to the end."""


@dataclass(slots=True, eq=False)
class Asked:
    """One call that the memo knows.

    Attributes:
        agent_id: the agent whose turn it is for.
        request: what is asked.
        is_ahead: whether it was asked before the agent's turn.
        round: 1 for a call that waits for no other answer, and one more than the last answer known when it was sent.
        sent: when, on the clock of the memo, in seconds.
        future: cancels it.
        call: the call under way.
        arrived: when its answer came; `None` before.
        response: the answer.
        error: what it has failed with.
        is_used: whether the agent has got the answer.
        is_replaced: whether the agent has been found to ask something else in its place.
        is_bet: whether somebody undecided whom the agent sees may still change what it asks.
        nth: which call of its turn it is, if it was asked ahead.
    """

    agent_id: int
    request: LLMRequest
    is_ahead: bool
    round: int
    sent: float
    future: Future[LLMResponse]
    call: ModelCall
    arrived: float | None = None
    response: LLMResponse | None = None
    error: BaseException | None = None
    is_used: bool = False
    is_replaced: bool = False
    is_bet: bool = False
    nth: int = 0

    def has_arrived(self) -> bool:
        """Whether its answer, or its failure, is known."""
        return self.arrived is not None


@dataclass(slots=True)
class Waste:
    """Calls that were asked ahead and not used.

    Attributes:
        calls: how many.
        tokens: tokens read and written by those that were answered.
        cost: their price in US dollars, as far as it is known.
    """

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def add(self, asked: Asked) -> None:
        """Count a call."""
        self.calls += 1
        if asked.response is not None:
            self.tokens += asked.response.usage.total_tokens
            self.cost += asked.response.cost or 0.0


@dataclass(slots=True)
class Experience:
    """What earlier steps of a model have shown.

    Attributes:
        used: how many calls agents made at their turns.
        wasted: how many calls were asked ahead and not used.
        won: how many bets were won. Each step counts half of the next one.
        lost: how many bets were lost, likewise.
    """

    used: int = 0
    wasted: int = 0
    won: float = 0
    lost: float = 0


class Memo:
    """The calls of one step: those asked ahead, and those of the agent whose turn it is.

    The transport loop's thread delivers answers; everything else happens under `lock`.

    Args:
        max_waste: how many calls may be wasted for each that is used, in all steps together; `None` for any number.
        experience: what earlier steps have shown; this one is added at its end.

    Attributes:
        lock: held while agents look ahead, so that answers are not used meanwhile.
        asked_ahead: how many calls were asked ahead.
        used: how many calls agents made at their turns.
        used_ahead: how many of them had been asked ahead.
        waste: calls that were asked ahead and not used.
        turns_waited: how many agents had to wait at their turns.
        rounds: the longest chain of answers used, each asked when the one before it was known.
        may_ask_ahead: whether anything may be asked ahead.
        is_replaying: whether answers come from a journal so far.
    """

    def __init__(self, max_waste: float | None, *, experience: Experience | None = None) -> None:
        self.lock = threading.RLock()
        self.asked_ahead = self.used = self.used_ahead = self.rounds = self.turns_waited = 0
        self.waste = Waste()
        self.may_ask_ahead = True
        self.is_replaying = False
        self._max_waste = max_waste
        self._began = time.perf_counter()
        self._asked: dict[Key, Asked] = {}
        self._by_agent: dict[int, list[Key]] = {}
        self._latest: dict[tuple[int, int], Asked] = {}  # by agent and number of the call in its turn
        self._answered: dict[tuple[int, int], LLMResponse] = {}  # likewise, the last answer
        self._repeats: Counter[Key] = Counter()
        self._n_safe = self._n_safe_lost = 0  # calls that are no bets: that may still be used, and that cannot
        self._before = Experience() if experience is None else experience
        self._known_round = 0
        self._arrivals: deque[Asked] = deque()
        self._bells: list[Future[None]] = []
        self._ringing = threading.Lock()  # protects _bells: answers arrive on the transport loop's thread
        self._news = False
        self._has_waited = False

    def before_wait(self) -> None:
        """Nothing can be done but wait. A test with a clock of its own lets answers arrive here."""

    def now(self) -> float:
        """Seconds since the step began."""
        return time.perf_counter() - self._began

    # Arrivals.

    def bell(self) -> Future[None]:
        """Completes when the next answer arrives. One for each who waits, who may cancel it."""
        bell: Future[None] = Future()
        with self._ringing:
            self._bells.append(bell)
        return bell

    def ring(self) -> None:
        """Wake up all who wait. From any thread."""
        with self._ringing:
            bells, self._bells = self._bells, []
        for bell in bells:
            if bell.set_running_or_notify_cancel():
                bell.set_result(None)

    def gather(self) -> None:
        """Take in what has arrived."""
        while self._arrivals:
            asked = self._arrivals.popleft()
            asked.arrived = self.now()
            future = asked.future
            asked.error = asyncio.CancelledError() if future.cancelled() else future.exception()
            if asked.error is None:
                asked.response = self._answered[asked.agent_id, asked.nth] = future.result()
                self._known_round = max(self._known_round, asked.round)
            elif isinstance(asked.error, _ENDS_LOOKING) and asked.is_ahead:
                self.may_ask_ahead = False
            self._news = True

    @property
    def has_news(self) -> bool:
        """Whether answers have arrived since `take_news` was asked last."""
        return self._news

    def take_news(self) -> bool:
        """Whether answers have arrived since this was asked last."""
        news, self._news = self._news, False
        return news

    # Asking.

    def key(
        self, agent_id: int, origin: CallOrigin | None, client: LLMClient, request: LLMRequest, counts: Counter[Key]
    ) -> Key:
        """What a call is known by.

        Args:
            agent_id: whose turn it is.
            origin: who asks; `None` if the call does not say.
            client: whom.
            request: what.
            counts: how often each request was made, by agent and step; counts this one.
        """
        who = (agent_id, 0) if origin is None else (origin.agent_id, origin.step)
        what = (*who, id(client), request.model, request.messages, request.tool_choice, request.max_tool_calls)
        counts[what] += 1
        return (*what, counts[what])

    def at_turn(self, agent_id: int, origin: CallOrigin | None, client: LLMClient, request: LLMRequest) -> Key:
        """The key of a call at its agent's turn."""
        return self.key(agent_id, origin, client, request, self._repeats)

    def counts(self) -> Counter[Key]:
        """How often each request was made so far, to be counted on by a look."""
        return self._repeats.copy()

    def find(self, key: Key, request: LLMRequest) -> Asked | None:
        """The call with a key, if it is this request in all respects, the observation that rules read included."""
        asked = self._asked.get(key)
        if asked is None or asked.request != request or asked.request.observation != request.observation:
            return None
        return asked

    def last_answer(self, agent_id: int, nth: int) -> LLMResponse | None:
        """What was answered last to such a call of an agent, perhaps to another request: a guess at the answer."""
        return self._answered.get((agent_id, nth))

    def send(
        self, key: Key, agent_id: int, client: LLMClient, request: LLMRequest, call: ModelCall, *, is_ahead: bool
    ) -> Asked:
        """Send a call for an agent's turn, and know it."""
        sent = replace(request, call=call)
        future = transport_loop.get().submit(
            client.complete(sent), begins_anyway=not is_ahead, context=detached(call), ended=call.detach
        )
        asked = Asked(agent_id, request, is_ahead, self._known_round + 1, self.now(), future, call)
        in_its_place = self._asked.pop(key, None)  # alike in what the key holds, and not in all
        if in_its_place is not None and not in_its_place.is_used:
            self._waste(in_its_place)
        self._asked[key] = asked
        self._by_agent.setdefault(agent_id, []).append(key)
        future.add_done_callback(lambda _: self._arrived(asked))
        return asked

    def _arrived(self, asked: Asked) -> None:
        self._arrivals.append(asked)
        self.ring()

    def ask_ahead(
        self,
        key: Key,
        agent_id: int,
        client: LLMClient,
        request: LLMRequest,
        origin: CallOrigin | None,
        *,
        nth: int,
        lane: int,
        is_bet: bool,
    ) -> None:
        """Send a call before its agent's turn, unless too much is being wasted.

        Args:
            key: the call's key.
            agent_id: for whose turn.
            client: answers.
            request: what is asked.
            origin: who asks, in the model itself.
            nth: which call of the turn it is; another request in its place replaces it.
            lane: how soon it is needed.
            is_bet: whether somebody undecided whom the agent sees may still change the request.
        """
        before = self._latest.get((agent_id, nth))
        if before is not None and not before.is_used and not before.is_replaced:
            self._lose(before)
            before.is_replaced = True
        if self._is_replayed(client) or not self.may_ask_ahead or not self._has_room(is_bet=is_bet):
            return
        call = ModelCall()
        call.off_record = call.asked_ahead = True
        call.lane, call.origin = lane, origin
        asked = self._latest[agent_id, nth] = self.send(key, agent_id, client, request, call, is_ahead=True)
        asked.is_bet, asked.nth = is_bet, nth
        self.asked_ahead += 1
        self._n_safe += not is_bet

    def _is_replayed(self, client: LLMClient) -> bool:
        """Whether a journal may hold the answer: until it has once been asked of a model, nothing is asked ahead."""
        journal = journal_of(client)
        if journal is None or journal.mode == "record" or journal in _past_record:
            return False
        self.is_replaying = True
        return True

    def answered_now(self, client: LLMClient, asked: Asked) -> None:
        """A call was answered that was made at its agent's turn."""
        journal = journal_of(client)
        if journal is not None and asked.response is not None and asked.response.source != "journal":
            _past_record.add(journal)
            self.is_replaying = False

    def _has_room(self, *, is_bet: bool) -> bool:
        if self._max_waste is None:
            return True
        if not is_bet:
            return self._n_safe_lost < self._max_waste * (self.used + self._n_safe) + _FIRST_WASTE
        may_be_wasted = self._before.wasted + self.asked_ahead - self.used_ahead - self._n_safe
        allowed = self._max_waste * (self._before.used + self.used) + _FIRST_WASTE
        return self._max_waste > 0 and may_be_wasted < allowed

    def won(self, asked: Asked) -> None:
        """A look has met a call again, and nobody undecided can change it any more: its stake is free again."""
        if asked.is_bet and not asked.is_used and not asked.is_replaced:
            asked.is_bet = False
            self._n_safe += 1
            self._before.won += 1

    def _win(self, asked: Asked) -> None:
        """A call asked ahead is used, perhaps one that had seemed lost."""
        if asked.is_bet:
            self._before.won += 1
            self._before.lost -= asked.is_replaced
        elif asked.is_replaced:
            self._n_safe_lost -= 1
        else:
            self._n_safe -= 1

    def _lose(self, asked: Asked) -> None:
        """A call will not be used."""
        if asked.is_replaced:  # counted already
            return
        if asked.is_bet:
            self._before.lost += 1
        else:
            self._n_safe -= 1
            self._n_safe_lost += 1

    @property
    def bets_pay(self) -> bool:
        """Whether at least two of three bets are won, by Laplace's rule of succession."""
        return self._max_waste is None or self._before.won + 1 >= 2 * (self._before.lost + 1)

    # Using.

    def use(self, asked: Asked) -> None:
        """An agent gets the answer at its turn."""
        asked.is_used = True
        self.used += 1
        self.rounds = max(self.rounds, asked.round)
        if asked.is_ahead:
            self.used_ahead += 1
            self._win(asked)

    def forget(self, key: Key) -> None:
        """A failed call is asked again at the turn."""
        self._waste(self._asked.pop(key))

    def wait(self) -> None:
        """The agent whose turn it is begins to wait for an answer."""
        self.turns_waited += not self._has_waited
        self._has_waited = True

    def turn_ended(self, agent_id: int) -> None:
        """What an agent has not used by the end of its turn is wasted."""
        self._has_waited = False
        for key in self._by_agent.pop(agent_id, ()):
            asked = self._asked.pop(key, None)
            if asked is not None and not asked.is_used:
                self._waste(asked)

    def close(self) -> None:
        """Cancel what is in flight, and forget everything."""
        for agent_id in list(self._by_agent):
            self.turn_ended(agent_id)
        self._before.used += self.used
        self._before.wasted += self.waste.calls
        self._before.won, self._before.lost = self._before.won / 2, self._before.lost / 2
        self._latest.clear()
        self._answered.clear()
        self._repeats.clear()

    def _waste(self, asked: Asked) -> None:
        if asked.is_ahead:
            self.waste.add(asked)
            self._lose(asked)
        asked.future.cancel()
