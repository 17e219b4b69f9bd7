"""A sequential step: what looking ahead must not do, what fails, what is recorded, and what it reports."""

import asyncio
import collections
import gc
import itertools
import json
import logging
import pickle
import random
import threading
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
from helpers.virtual_latency import VirtualTimeClient, on_virtual_time
from mesa import Agent, Model
from mesa.discrete_space import CellAgent, OrthogonalMooreGrid

from mesa_llm.activation import looking_ahead
from mesa_llm.clients import AsyncClient, RuleBasedClient
from mesa_llm.errors import ConfigurationError, ModelCallError, NotParallelWarning
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.limits import Budget, BudgetClient, LimitedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import (
    ParallelStepping,
    StepReport,
    VerificationError,
    agent_reporters,
    chrome_trace,
    disable_automatic_parallel_stepping,
    enable_automatic_parallel_stepping,
    model_reporters,
    progress_of,
    step_agents_parallel,
    step_agents_parallel_sync,
    verify_sequential,
)
from mesa_llm.reasoning import CoTReasoning
from mesa_llm.recording import SimulationRecorder, state_hash
from mesa_llm.testing import ScriptedLLM

SEQUENTIAL = ParallelStepping(activation="sequential")
EAGER_TO_LOOK = ParallelStepping(activation="sequential", max_waste=None)


@pytest.fixture(autouse=True)
def _patched():
    enable_automatic_parallel_stepping()


class Speaker(LLMAgent):
    """Says a word that depends on what the others have said."""

    def __init__(self, model, client):
        super().__init__(model, CoTReasoning, client=client, llm_model="rule/speaker", vision=-1, step_prompt="Speak.")
        self.said = ""

    def ask(self):
        heard = [getattr(other, "said", "") for other in self.model.agents if other is not self]
        return self.llm.generate(json.dumps([self.unique_id, self.said, heard])).message.content

    def before(self):
        """What a hazard does before the agent asks."""

    def after(self):
        """What a hazard does after that."""

    def step(self):
        self.before()
        self.said = self.ask()
        self.after()


class Room(Model):
    def __init__(self, client, parallel_stepping=False, speaker=Speaker, n=6, rng=7):
        super().__init__(rng=rng)
        self.parallel_stepping = parallel_stepping
        for _ in range(n):
            speaker(self, client)

    def step(self):
        self.agents.shuffle_do("step")


def word(request):
    """Depends on what others have said, and settles after a while."""
    number, said, heard = json.loads(request.messages[-1].content)
    return f"{(number + (sum(map(len, heard)) > len(heard) // 2)) % 3}{said[:1]}"


def words():
    return RuleBasedClient(word)


def run(model, steps=3):
    for _ in range(steps):
        model.step()
    return model


def waits_together():
    """A client on a virtual clock, and the context in which it moves on."""
    return on_virtual_time(VirtualTimeClient(words()))


def test_agents_wait_together_and_get_what_plain_mesa_gives():
    expected = run(Room(words()))
    with waits_together() as client:
        model = run(Room(client, EAGER_TO_LOOK))
    assert state_hash(model) == state_hash(expected)
    assert client.now < 3 * 6  # latencies that plain Mesa would take


EFFECTS = {}


def writes_a_file(agent):
    with EFFECTS["path"].open("a", encoding="utf-8") as file:
        file.write("x")


def prints(agent):
    print(agent.unique_id)


def logs(agent):
    logging.getLogger("hazard").warning("%d", agent.unique_id)


def warns(agent):
    warnings.warn(f"{agent.unique_id}", UserWarning, stacklevel=1)


def draws_from_the_model(agent):
    agent.luck = agent.random.random(), agent.rng.random()


def draws_from_everywhere(agent):
    agent.luck = random.random(), np.random.random()


def counts_where_it_looks(agent):
    if not looking_ahead():
        EFFECTS["count"] += 1


def meets_others(agent):
    agent.friends = [*getattr(agent, "friends", []), *agent.model.agents]


def touches_others(agent):
    for other in agent.model.agents:
        other.touched = getattr(other, "touched", 0) + agent.unique_id


def swallows_everything(agent):
    try:
        agent.said = agent.ask()
    except BaseException:
        agent.said = "swallowed"
        raise


def starts_a_thread(agent):
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    agent.done = done


HAZARDS = [
    writes_a_file,
    prints,
    logs,
    warns,
    draws_from_the_model,
    draws_from_everywhere,
    counts_where_it_looks,
    meets_others,
    touches_others,
    swallows_everything,
    starts_a_thread,
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("hazard", HAZARDS)
def test_nothing_of_a_look_stays(hazard, when, tmp_path, capsys, caplog):
    speaker = type("Hazardous", (Speaker,), {when: hazard})
    EFFECTS.update(path=tmp_path / "file", count=0)

    def effects():
        written = EFFECTS["path"].read_text() if EFFECTS["path"].exists() else ""
        EFFECTS["path"].unlink(missing_ok=True)
        count, EFFECTS["count"] = EFFECTS["count"], 0
        logged = [record.getMessage() for record in caplog.records if record.name == "hazard"]
        caplog.clear()
        return written, count, logged, capsys.readouterr(), [str(warning.message) for warning in caught]

    def made_by(model):
        random.seed(5)
        np.random.seed(5)
        nonlocal caught
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(model)
        return state_hash(model), random.random(), np.random.random(), effects()

    caught = []
    expected = made_by(Room(words(), speaker=speaker))
    with waits_together() as client:
        assert made_by(Room(client, EAGER_TO_LOOK, speaker)) == expected


def test_agents_that_hold_lists_of_each_other_are_copied_without_end():
    room = Room(words(), SEQUENTIAL, n=400)
    for agent in room.agents:
        agent.friends = list(room.agents)
    room.agents.select(at_most=3).shuffle_do("step")
    assert room.parallel_reports[-1].look_ahead.looks


class Cells(Model):
    """A grid with a property layer that agents read and write."""

    def __init__(self, client, parallel_stepping=False):
        super().__init__(rng=3)
        self.parallel_stepping = parallel_stepping
        self.grid = OrthogonalMooreGrid((5, 5), random=self.random)
        self.grid.create_property_layer("sugar", default_value=5, dtype=int)
        for _ in range(6):
            Eater(self, client).cell = self.grid.select_random_empty_cell()

    def step(self):
        self.agents.shuffle_do("step")


class Eater(Speaker, CellAgent):
    def before(self):
        self.said += str(self.cell.sugar)

    def after(self):
        self.cell.sugar -= 1
        empty = [cell for cell in self.cell.neighborhood if cell.is_empty]
        if empty:
            self.cell = self.random.choice(empty)


def test_a_copy_has_cells_and_property_layers_of_its_own():
    expected = run(Cells(words()))
    with waits_together() as client:
        model = run(Cells(client, EAGER_TO_LOOK))
    assert state_hash(model) == state_hash(expected)
    assert all(report.look_ahead.failed_looks == 0 for report in model.parallel_reports)


class Unloved(Speaker):
    def before(self):
        EFFECTS.setdefault("alive", weakref.WeakSet()).add(self)


def test_no_copy_outlives_its_step():
    EFFECTS["alive"] = weakref.WeakSet()
    with waits_together() as client:
        model = run(Room(client, EAGER_TO_LOOK, Unloved))
    gc.collect()
    assert set(EFFECTS["alive"]) == set(model.agents)


class Holder(Speaker):
    def __init__(self, model, client):
        super().__init__(model, client)
        self.lock = threading.Lock()


def test_a_model_that_cannot_be_copied_runs_as_plain_mesa_and_says_what_is_in_the_way():
    expected = run(Room(words()))
    model = Room(words(), SEQUENTIAL, type("NeverCopied", (Holder,), {}))
    model.__class__ = type("Uncopied", (Room,), {})
    with pytest.warns(NotParallelWarning, match=r"Uncopied cannot be copied.*NeverCopied 1\.lock \(lock\)"):
        run(model)
    assert [agent.said for agent in model.agents] == [agent.said for agent in expected.agents]
    assert all(not report.look_ahead.looks for report in model.parallel_reports)


def test_a_function_that_holds_an_agent_is_not_shared_with_a_copy():
    model = Room(words(), SEQUENTIAL)
    model.__class__ = type("WithClosure", (Room,), {})
    first = next(iter(model.agents))
    model.reporter = lambda: first.said
    with pytest.warns(NotParallelWarning, match=r"WithClosure\.reporter \(function\).*holds 'first' \(Speaker\)"):
        model.step()


# What fails.


class Failing(AsyncClient):
    """Fails for one agent, as long as it is to."""

    def __init__(self, agent_id):
        self.inner = words()
        self.agent_id = agent_id
        self.fails = True
        self.asked = collections.Counter()

    async def complete(self, request):
        number, *_ = json.loads(request.messages[-1].content)
        self.asked[number] += 1
        if number == self.agent_id and self.fails:
            raise ModelCallError("no answer")
        return await self.inner.complete(request)


def test_a_failure_comes_from_the_agents_turn_as_in_plain_mesa():
    def outcome(model, failing):
        with pytest.raises(ModelCallError, match="no answer"):
            model.step()
        acted = [agent.unique_id for agent in model.agents if agent.said]
        failing.fails = False
        model.step()  # the model steps on
        return acted, state_hash(model)

    failing = Failing(3)
    expected = outcome(Room(failing), failing)
    with on_virtual_time(VirtualTimeClient(Failing(3))) as client:
        assert outcome(Room(client, SEQUENTIAL), client.inner) == expected


class Steady(Speaker):
    """Asks the same whatever the others say."""

    def ask(self):
        return self.llm.generate(json.dumps([self.unique_id, "", []])).message.content


def test_a_call_that_failed_ahead_is_asked_again_at_the_turn():
    expected = run(Room(words(), speaker=Steady), 1)
    failing = Failing(3)

    def before(agent):
        if agent.unique_id == 3 and not looking_ahead():
            failing.fails = False

    with on_virtual_time(VirtualTimeClient(failing)) as client:
        model = run(Room(client, EAGER_TO_LOOK, type("Hopeful", (Steady,), {"before": before})), 1)
    assert [agent.said for agent in model.agents] == [agent.said for agent in expected.agents]
    assert failing.asked[3] == 2


@pytest.mark.parametrize(
    ("on_error", "outcome", "said"),
    [("skip", "failed", ""), (lambda agent, error: setattr(agent, "said", "fallback"), "fell back", "fallback")],
)
def test_on_error_goes_on_without_an_agent_and_what_it_wrote_before_stays(on_error, outcome, said):
    speaker = type("Writing", (Speaker,), {"before": lambda self: setattr(self, "tried", True)})
    model = Room(Failing(3), ParallelStepping(activation="sequential", on_error=on_error), speaker)
    model.step()
    report = model.parallel_reports[-1]
    third = next(agent for agent in model.agents if agent.unique_id == 3)
    assert (report.of_agent(3).outcome, report.failures, third.said, third.tried) == (outcome, 1, said, True)
    assert all(agent.said for agent in model.agents if agent is not third)


def test_an_error_in_a_look_is_counted_and_goes_no_further():
    def fails_on_copies(agent):
        if looking_ahead():
            raise LookupError("only on a copy")

    expected = run(Room(words()))
    with waits_together() as client:
        model = run(Room(client, EAGER_TO_LOOK, type("Fragile", (Speaker,), {"before": fails_on_copies})))
    assert [agent.said for agent in model.agents] == [agent.said for agent in expected.agents]
    assert model.parallel_reports[-1].look_ahead.failed_looks > 0


def test_more_failures_than_allowed_are_raised():
    settings = ParallelStepping(activation="sequential", on_error="skip", max_failures=0)
    with pytest.raises(ModelCallError):
        Room(Failing(3), settings).step()


def test_errors_of_a_models_own_are_never_skipped():
    speaker = type("Crashing", (Speaker,), {"after": lambda self: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        Room(words(), ParallelStepping(activation="sequential", on_error="skip"), speaker).step()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"mode": "threading"}, "calling thread"),
        ({"decide_timeout": 5}, "would change the run"),
        ({"max_workers": 4}, "calling thread"),
        ({"plain_steps": "ordered"}, "in its place"),
    ],
)
def test_what_has_no_meaning_is_refused_with_the_reason(settings, reason):
    with pytest.raises(ConfigurationError, match=rf"{next(iter(settings))}=.*activation='sequential'.*{reason}"):
        ParallelStepping(activation="sequential", **settings)


@pytest.mark.parametrize("value", [-1, "much", True, float("inf"), float("nan")])
def test_max_waste_is_a_number(value):
    with pytest.raises(ConfigurationError, match="max_waste must be a number"):
        ParallelStepping(activation="sequential", max_waste=value)


# Waste, money, limits.


@pytest.mark.parametrize("max_waste", [0, 0.5, 2])
def test_waste_is_bounded(max_waste):
    contrary = RuleBasedClient(
        lambda request: str(hash(request.messages[-1].content))
    )  # every act changes all requests
    with on_virtual_time(VirtualTimeClient(contrary)) as client:
        model = Room(client, ParallelStepping(activation="sequential", max_waste=max_waste), n=20)
        reports = [run(model, 1).parallel_reports[-1] for _ in range(3)]
    for report in reports:
        assert report.wasted_calls <= max_waste * report.calls + 8
    assert client.asked == sum(report.calls + report.wasted_calls for report in reports)


def test_without_waste_only_agents_that_see_nobody_undecided_are_asked_ahead():
    with waits_together() as client:
        report = run(Room(client, ParallelStepping(activation="sequential", max_waste=0)), 1).parallel_reports[-1]
    assert (report.wasted_calls, client.asked) == (0, 6)


def test_a_spent_budget_ends_asking_ahead_and_not_the_step():
    expected = run(Room(words()), 1)
    counted = run(Room(client := BudgetClient(words(), Budget(tokens=10**9))), 1)
    assert counted is not None
    needed = client.budget.spent_tokens
    with on_virtual_time(VirtualTimeClient(words())) as virtual:
        model = Room(BudgetClient(virtual, Budget(tokens=max(1, needed) * 50)), EAGER_TO_LOOK)
        run(model, 1)
    assert state_hash(model) == state_hash(expected)


def test_limits_serve_who_waits_before_who_is_asked_ahead():
    with on_virtual_time(VirtualTimeClient(words())) as virtual:
        model = Room(LimitedClient(virtual, max_concurrency=1), EAGER_TO_LOOK)
        run(model, 1)
    assert virtual.now <= 2 * 6


# Journals.


def rows(path):
    return [(call.step, call.agent_id, call.call, call.request_key) for call in Journal(path).calls()]


@pytest.mark.parametrize(
    ("recorded", "replayed"), [(False, SEQUENTIAL), (EAGER_TO_LOOK, False), (EAGER_TO_LOOK, SEQUENTIAL)]
)
def test_journals_of_plain_mesa_and_of_this_are_interchangeable(recorded, replayed, tmp_path):
    path = tmp_path / "run.db"
    with (
        on_virtual_time(VirtualTimeClient(words())) as virtual,
        JournaledClient(virtual if recorded else words(), path) as client,
    ):
        expected = state_hash(run(Room(client, recorded)))
    with JournaledClient(None, path, mode="replay") as client:
        assert state_hash(run(Room(client, replayed))) == expected
        assert client.replayed == 18


def test_a_resumed_run_asks_nothing_that_is_recorded(tmp_path):
    path = tmp_path / "run.db"
    with JournaledClient(words(), path) as client:
        run(Room(client, SEQUENTIAL), 2)
    counting = VirtualTimeClient(words())
    with on_virtual_time(counting), JournaledClient(counting, path, mode="resume") as client:
        model = run(Room(client, SEQUENTIAL), 3)
    asked_ahead = model.parallel_reports[-1].look_ahead
    assert counting.asked == 6 + asked_ahead.wasted_calls


def test_answers_asked_ahead_are_recorded_once_and_where_plain_mesa_has_them(tmp_path):
    plain, ahead = tmp_path / "plain.db", tmp_path / "ahead.db"
    with JournaledClient(words(), plain) as client:
        run(Room(client))
    with on_virtual_time(VirtualTimeClient(words())) as virtual, JournaledClient(virtual, ahead) as client:
        run(Room(client, EAGER_TO_LOOK))
    assert sorted(rows(ahead)) == sorted(rows(plain))


def test_a_recording_is_that_of_plain_mesa(tmp_path):
    def events(client, parallel_stepping):
        model = Room(client, parallel_stepping)
        model.recorder = SimulationRecorder(model, tmp_path)
        for agent in model.agents:
            agent.recorder = model.recorder
        run(model)
        return [(event.step, event.agent_id, event.event_type, str(event.content)) for event in model.recorder.events]

    expected = events(words(), False)
    with waits_together() as client:
        assert events(client, EAGER_TO_LOOK) == expected
    assert len(list(tmp_path.iterdir())) <= 2


# What it reports.


def test_a_report_says_what_looking_ahead_took():
    with waits_together() as client:
        model = run(Room(client, SEQUENTIAL), 1)
    report = model.parallel_reports[-1]
    ahead = report.look_ahead
    assert (report.activation, len(report.agents), report.calls) == ("sequential", 6, 6)
    assert ahead.rounds == report.rounds == client.now
    assert ahead.asked_ahead == ahead.used_ahead + ahead.wasted_calls
    assert ahead.turns_waited <= client.now
    assert client.asked == report.calls + ahead.wasted_calls
    assert 0 < ahead.look_s <= report.wall_s
    assert StepReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report
    assert pickle.loads(pickle.dumps(report)) == report
    names = [event["args"]["name"] for event in chrome_trace([report])["traceEvents"] if event["name"] == "thread_name"]
    assert "looking ahead" in names


def test_reporters_count_what_plain_mesa_counts_and_what_was_wasted():
    with waits_together() as client:
        model = run(Room(client, SEQUENTIAL), 1)
    numbers = {name: reporter(model) for name, reporter in model_reporters("calls", "rounds", "wasted_calls").items()}
    assert numbers == {"calls": 6, "rounds": client.now, "wasted_calls": client.asked - 6}
    assert [agent_reporters("calls")["calls"](agent) for agent in model.agents] == [1] * 6


def test_progress_counts_turns():
    seen = []
    speaker = type(
        "Watching",
        (Speaker,),
        {"after": lambda self: None if looking_ahead() else seen.append(progress_of(self.model).acted)},
    )
    run(Room(words(), SEQUENTIAL, speaker), 1)
    assert seen == [0, 1, 2, 3, 4, 5]


# By hand, other sets, other agents.


def test_a_list_of_agents_keeps_its_order():
    def by_hand(model):
        for agent in model.agents:
            agent.step()

    expected, model = Room(words()), Room(words(), SEQUENTIAL)
    by_hand(expected)
    step_agents_parallel_sync(model.agents)
    assert state_hash(model) == state_hash(expected)
    by_hand(expected)
    asyncio.run(step_agents_parallel(model.agents))
    assert state_hash(model) == state_hash(expected)


class Asking(LLMAgent):
    """Asks twice at the same time."""

    def __init__(self, model, client):
        super().__init__(model, CoTReasoning, client=client, llm_model="rule/asking", step_prompt="?")
        self.said = ""

    async def astep(self):
        heard = [other.said for other in self.model.agents]
        questions = [json.dumps([self.unique_id, text, heard]) for text in ("a", "bb")]
        answers = await asyncio.gather(*map(self.llm.agenerate, questions))
        self.said = "".join(answer.message.content for answer in answers)


def test_calls_that_an_agent_makes_side_by_side_wait_together():
    llm = ScriptedLLM("word", hold_until=2)  # answers when two are asking at once
    model = run(Room(llm, ParallelStepping(activation="sequential", max_waste=0), Asking, n=3), 1)
    assert [agent.said for agent in model.agents] == ["wordword"] * 3


class Killer(Speaker):
    def after(self):
        others = [other for other in self.model.agents if other is not self]
        if self.unique_id % 3 == 0 and others:
            others[0].remove()
        elif self.unique_id % 3 == 1 and len(self.model.agents) < 9:
            type(self)(self.model, self.llm.client)


def test_births_and_deaths_are_those_of_plain_mesa():
    expected = run(Room(words(), speaker=Killer))
    with waits_together() as client:
        assert state_hash(run(Room(client, EAGER_TO_LOOK, Killer))) == state_hash(expected)


@pytest.mark.parametrize("parallel_stepping", [False, SEQUENTIAL])
def test_who_has_left_and_is_held_by_nobody_is_not_stepped(parallel_stepping):
    class Remover(Agent):
        said = ""

        def step(self):
            if not looking_ahead():
                self.model.log.append(self.unique_id)
            for other in list(self.model.agents)[-2:]:
                if other is not self:
                    other.remove()

    def log_of(parallel_stepping):
        model = Room(words(), parallel_stepping, n=1)
        model.log = []
        Remover.create_agents(model, 6)
        model.agents.select().shuffle_do("step")
        return model.log

    disable_automatic_parallel_stepping()
    expected = log_of(False)
    assert len(expected) < 6
    enable_automatic_parallel_stepping()
    assert log_of(parallel_stepping) == expected


def test_sets_that_a_user_makes_step_likewise():
    def odd(model):
        model.agents.select(lambda agent: agent.unique_id % 2).shuffle_do("step")
        model.agents_by_type[Speaker].do("step")
        return state_hash(model)

    expected = odd(Room(words()))
    with waits_together() as client:
        assert odd(Room(client, EAGER_TO_LOOK)) == expected


def test_random_answers_have_the_distribution_of_plain_mesa():
    """Each agent sees how many have said 1, and is answered 1 with that share; the sums after a step are compared."""
    chance = random.Random(11)

    def herd(request):
        heard = json.loads(request.messages[-1].content)[2]
        return str(int(chance.random() < (heard.count("1") + 0.3) / (len(heard) + 0.6)))

    def sums(client, parallel_stepping):
        counts = collections.Counter()
        for rng in range(300):
            model = run(Room(client, parallel_stepping, n=4, rng=rng), 1)
            counts[sum(agent.said == "1" for agent in model.agents)] += 1
        return [counts[number] for number in range(5)]

    plain = sums(RuleBasedClient(herd), False)
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(herd), lambda request: chance.random())) as client:
        ahead = sums(client, EAGER_TO_LOOK)
    chi_squared = sum((a - b) ** 2 / (a + b) for a, b in zip(plain, ahead, strict=True) if a + b)
    assert chi_squared < 18.5  # 99.9 % at 4 degrees of freedom


class Looker(Speaker):
    """Asks in the same words each time; what it sees goes along as data."""

    def ask(self):
        request = replace(self.llm.request("What now?"), observation=self.generate_obs())
        return self.llm.complete(request).message.content

    def step(self):
        super().step()
        self.internal_state = {"said": self.said}


def test_an_answer_belongs_to_what_a_rule_was_shown_too():
    def by_what_is_seen(request):
        return str(sum(map(len, str(request.observation.local_state))) % 7)

    expected = run(Room(RuleBasedClient(by_what_is_seen), speaker=Looker), 1)
    with on_virtual_time(VirtualTimeClient(RuleBasedClient(by_what_is_seen))) as client:
        model = run(Room(client, EAGER_TO_LOOK, Looker), 1)
    assert state_hash(model) == state_hash(expected)
    assert model.parallel_reports[-1].wasted_calls == client.asked - 6


class Alike(Speaker):
    """Asks the same as all others, if an even number of them has had their turns."""

    def step(self):
        if sum(bool(other.said) for other in self.model.agents) % 2:
            self.said = ["nothing"]
        else:
            self.said = [self.llm.generate("What now?").message.content for _ in range(2)]


def test_an_answer_is_used_once_and_by_the_agent_for_which_it_was_asked():
    numbers = itertools.count()

    def who_asks(request):
        return f"{request.call.origin.agent_id} {next(numbers)}"

    with on_virtual_time(VirtualTimeClient(RuleBasedClient(who_asks))) as client:
        model = run(Room(client, EAGER_TO_LOOK, Alike), 1)
    assert model.parallel_reports[-1].look_ahead.used_ahead > 0
    said = {agent.unique_id: agent.said for agent in model.agents if len(agent.said) == 2}
    assert len(said) == 3
    assert all(answer.split()[0] == str(agent_id) for agent_id, answers in said.items() for answer in answers)
    assert len({answer for answers in said.values() for answer in answers}) == 6


# Verification.


def test_a_model_is_verified():
    found = verify_sequential(Room, 2, words(), max_waste=None)
    assert (found.steps, found.calls) == (2, 12)
    assert found.asked_ahead > 0


NUMBERS = {}


class Numbered(Speaker):
    def before(self):
        self.number = next(NUMBERS["all"])  # state outside of the model


def test_verification_names_the_agent_and_the_attribute_that_differ():
    def make(client):
        NUMBERS["all"] = itertools.count()
        return Room(client, speaker=Numbered)

    with pytest.raises(
        VerificationError, match=r"After step 1, Numbered \d differs in number: \d+ .* \d+ in plain Mesa"
    ):
        verify_sequential(make, 2, words(), max_waste=None)


def test_verification_covers_the_error_that_ends_a_run():
    speaker = type("Breaking", (Speaker,), {"after": lambda self: 1 / (self.unique_id - 4)})
    assert verify_sequential(lambda client: Room(client, speaker=speaker), 2, words()).steps == 0
    with pytest.raises(ConfigurationError, match="steps must be at least 1"):
        verify_sequential(Room, 0, words())


def test_agents_without_models_step_in_their_places():
    class Walker(Agent):
        def step(self):
            self.place = self.random.random()

    def mixed(client, parallel_stepping=False):
        model = Room(client, parallel_stepping)
        for _ in range(3):
            Walker(model)
        return run(model)

    expected = mixed(words())
    with waits_together() as client:
        assert state_hash(mixed(client, EAGER_TO_LOOK)) == state_hash(expected)


def test_an_interrupt_ends_the_step_and_the_next_one_works():
    class Interrupting(Speaker):
        def after(self):
            if not looking_ahead() and not EFFECTS.get("done"):
                EFFECTS["done"] = True
                raise KeyboardInterrupt

    EFFECTS.pop("done", None)
    model = Room(words(), SEQUENTIAL, Interrupting)
    with pytest.raises(KeyboardInterrupt):
        model.step()
    model.step()
    assert all(agent.said for agent in model.agents)
