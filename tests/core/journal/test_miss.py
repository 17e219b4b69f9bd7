"""What a replay says of a request that is not recorded."""

import pytest
from helpers.journals import REQUEST, Reporting
from helpers.speakers import Speaker, SpeakersModel, digest
from inline_snapshot import snapshot

from mesa_llm.clients import LLMRequest, Message, ToolSpec, tool_call
from mesa_llm.errors import JournalMissError
from mesa_llm.journal import Journal, JournaledClient
from mesa_llm.parallel_stepping import ParallelStepError, enable_automatic_parallel_stepping
from mesa_llm.testing import ScriptedLLM


@pytest.fixture(autouse=True)
def _parallel():
    enable_automatic_parallel_stepping()


def missed(path, request):
    """The text of the error, without the path."""
    with JournaledClient(None, path, mode="replay") as client, pytest.raises(JournalMissError) as raised:
        client.generate(request)
    return str(raised.value).replace(str(path), "run.db")


def record(path, *requests):
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        for request in requests:
            client.generate(request)


def ask(*contents, **fields):
    return LLMRequest(model="a/b", messages=tuple(Message("user", content) for content in contents), **fields)


def test_the_nearest_request_as_a_diff(path):
    tool = ToolSpec("move", "Moves.", {"type": "object"})
    record(
        path,
        ask("far away"),
        ask("You see:\nAnna\nBert\nCarl\nDoro\nEmil", "What now?", tools=(tool,), options={"seed": 1}),
    )
    request = ask("You see:\nAnna\nBert\nCarla\nDoro\nEmil", "What now?", tools=(tool,), options={"seed": 2})
    assert missed(path, request) == snapshot("""\
Call 1 outside of agents' steps is not recorded in run '1' of run.db. The nearest recorded request, made outside of steps too, differs:
--- recorded: call 2 outside of agents' steps
+++ asked now
@@ -4,3 +4,3 @@
 Bert
-Carl
+Carla
 Doro
@@ -10,3 +10,3 @@
 model: "a/b"
-seed: 1
+seed: 2
 tool move: {"description": "Moves.", "name": "move", "parameters": {"type": "object"}}\
""")


def test_tool_calls_and_changed_tools_are_in_it(path):
    def conversation(direction, *tools):
        return LLMRequest(
            model="a/b",
            messages=(Message("assistant", "I move.", tool_calls=(tool_call("move", to=direction),)),),
            tools=tuple(ToolSpec(name, f"To {name}.", {}) for name in tools),
        )

    record(path, conversation("north", "move"))
    assert missed(path, conversation("south", "move", "stay")) == snapshot("""\
Call 1 outside of agents' steps is not recorded in run '1' of run.db. The nearest recorded request, made outside of steps too, differs:
--- recorded: call 1 outside of agents' steps
+++ asked now
@@ -2,4 +2,5 @@
 I move.
-calls move({"to": "north"})
+calls move({"to": "south"})
 model: "a/b"
 tool move: {"description": "To move.", "name": "move", "parameters": {}}
+tool stay: {"description": "To stay.", "name": "stay", "parameters": {}}\
""")


def test_tools_in_a_form_that_only_the_provider_knows(path):
    def searching(where):
        return ask("Look it up.", options={"tools": [{"type": "web_search", "in": where}]})

    record(path, searching("news"))
    text = missed(path, searching("books"))
    assert '-tool: {"in": "news", "type": "web_search"}\n+tool: {"in": "books", "type": "web_search"}' in text


def test_a_long_line_is_broken_up_and_a_long_diff_is_cut(path):
    numbers = {f"agent {n}": n for n in range(300)}
    record(path, ask(str(numbers)))
    text = missed(path, ask(str(numbers | {"agent 150": -1})))
    assert "-  'agent 150': 150,\n+  'agent 150': -1,\n" in text
    assert len(text.splitlines()) < 15
    text = missed(path, ask(str({name: -n for name, n in numbers.items()})))
    assert text.endswith("more lines")
    assert len(text.splitlines()) == 62


def test_a_run_without_calls_says_so(path):
    with JournaledClient(ScriptedLLM("hello"), path):
        assert missed(path, REQUEST) == snapshot(
            "Call 1 outside of agents' steps is not recorded in run '1' of run.db, which holds no calls."
        )


def test_what_was_in_flight_has_no_answer(path):
    async def hang(request):
        import asyncio

        await asyncio.Event().wait()

    with JournaledClient(ScriptedLLM(hang), path) as client:
        call = client.agenerate(REQUEST)
        with pytest.raises(TimeoutError):
            wait_for(call, until=lambda: list(Journal(path).calls()))
    assert missed(path, REQUEST) == snapshot(
        "Call 1 outside of agents' steps was in flight when the run was interrupted, and has no answer, in run '1' of run.db."
    )


def wait_for(call, until):
    """Give a call up as soon as something has happened."""
    import asyncio

    from mesa_llm.concurrency import calling_loop

    async def scenario():
        task = asyncio.create_task(call)
        while not until():  # noqa: ASYNC110 - of the file
            await asyncio.sleep(0)
        await asyncio.wait_for(task, 0)

    calling_loop.run(scenario())


class Curious(Speaker):
    """Asks what it is told to ask by its model."""

    async def astep(self):
        await self.llm.agenerate(self.model.question.format(agent=self.unique_id, step=len(self.model.log)))
        await super().astep()
        self.model.log.append(self.unique_id)


def missed_by_curious(path, question, agent_id=1, n=2, steps=2):
    with JournaledClient(None, path, mode="replay") as client:
        model = SpeakersModel(n, client, Curious)
        model.question = "{agent} asks in {step}"
        for _ in range(steps - 1):
            model.step()
        model.question = question
        with pytest.raises(ParallelStepError) as raised:
            model.step()
    error = raised.value.exceptions[raised.value.agent_ids.index(agent_id)]
    return str(error).replace(str(path), "run.db")


@pytest.fixture
def curious_run(path):
    with JournaledClient(ScriptedLLM("hello"), path) as client:
        model = SpeakersModel(2, client, Curious)
        model.question = "{agent} asks in {step}"
        model.step()
        model.step()
    return path


def test_the_same_agent_in_the_same_step_is_nearest(curious_run):
    text = missed_by_curious(curious_run, "{agent} asked in {step}")
    assert text.startswith(
        "Call 1 of Curious 1 in step 2 is not recorded in run '1' of run.db. The nearest recorded request, of the same agent in the same step, differs:\n--- recorded: call 1 of Curious 1 in step 2\n+++ asked now\n"
    )
    assert "-1 asks in 4\n+1 asked in 4\n" in text


def test_then_the_same_agent_in_another_step(curious_run):
    text = missed_by_curious(curious_run, "{agent} asks in {step}", steps=3)
    assert "Call 1 of Curious 1 in step 3 is not recorded" in text
    assert (
        "The nearest recorded request, of the same agent, differs:\n--- recorded: call 1 of Curious 1 in step 2\n"
        in text
    )


def test_then_the_nearest_of_all(curious_run):
    text = missed_by_curious(curious_run, "{agent} asks in {step}", agent_id=3, n=3, steps=1)
    assert "of Curious 3 in step 1 is not recorded" in text
    assert "The nearest recorded request, of the run, differs:\n--- recorded: call 1 of Curious 2 in step 1\n" in text


def test_an_equal_request_too_many_is_told_by_its_number(path):
    record(path, REQUEST)
    with JournaledClient(None, path, mode="replay") as client:
        client.generate(REQUEST)
        with pytest.raises(
            JournalMissError, match=r"^Call 2 outside of agents' steps \(equal request number 2\) is not"
        ):
            client.generate(REQUEST)


def test_digests_do_not_depend_on_the_class(path):
    """The same agents under another class name are the same run: what they ask is what counts."""

    class Renamed(Speaker):
        pass

    with JournaledClient(ScriptedLLM(digest), path) as client:
        model = Reporting(1, client)
        model.step()
    with JournaledClient(None, path, mode="replay") as client:
        twin = Reporting(1, client, Renamed)
        twin.step()
    assert twin.log == model.log
