"""What holds for every example: options, reproducibility, the command."""

import inspect
import pickle
import random

import pytest

from mesa_llm.clients import RuleBasedClient
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
from mesa_llm_examples import cli
from mesa_llm_examples.catalogue import EXAMPLES
from mesa_llm_examples.civil_violence import Cop

ASYNCIO = ParallelStepping()
SMALL = {
    "civil-violence": {"citizens": 12, "cops": 3},
    "negotiation": {"buyers": 5, "sellers": 5, "rounds": 5},
    "sugarscape": {"traders": 12, "width": 6, "height": 6},
    "opinion": {"people": 12, "neighbors": 4},
}
NEW = [name for name in EXAMPLES if name != "civil-violence"]
each_example = pytest.mark.parametrize("name", EXAMPLES)


def random_latency(seed):
    draw = random.Random(seed)
    return lambda request: draw.random() / 200


def made(name, *, seed=42, config=ASYNCIO, latency=0.0, **options):
    enable_automatic_parallel_stepping()
    example = EXAMPLES[name]
    client = RuleBasedClient(example.policy(), latency=latency)
    return example.model_class()(**SMALL[name] | options, seed=seed, client=client, parallel_stepping=config)


def run_of(name, steps=5, **arguments):
    """All that a run has come to: measures, states, memories, and the state of the random generator."""
    model = made(name, **arguments)
    for _ in range(steps):
        model.step()
    agents = [
        (agent.unique_id, agent.internal_state, [str(entry) for entry in agent.memory.entries])
        for agent in model.agents
    ]
    return model.datacollector.model_vars, agents, model.random.getstate(), model.result()


@each_example
def test_the_options_are_the_parameters_of_the_model(name):
    of_model = dict(inspect.signature(EXAMPLES[name].model_class()).parameters)
    for common in ("seed", "llm_model", "api_base", "client", "parallel_stepping"):
        of_model.pop(common)
    if name == "civil-violence":
        del of_model["active_threshold"], of_model["arrest_constant"]
    options = EXAMPLES[name].options
    assert [(option.name, option.default, inspect.formatannotation(option.type)) for option in options] == [
        (parameter.name, parameter.default, parameter.annotation) for parameter in of_model.values()
    ]
    documented = " ".join(inspect.getdoc(EXAMPLES[name].model_class()).replace("`", "").split())
    assert all(f"{option.name}: {option.help[0].lower()}{option.help[1:]}" in documented for option in options)


@each_example
def test_agents_return_what_they_tell_about_themselves_and_write_nothing_to_observe(name):
    for cls in {type(agent) for agent in made(name).agents}:
        assert isinstance(inspect.getattr_static(cls, "internal_state"), property) or cls is Cop
        assert cls.generate_obs is LLMAgent.generate_obs
        assert cls.agenerate_obs is LLMAgent.agenerate_obs


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("latency", [0.0, random_latency(1), random_latency(2)], ids=["0", "a", "b"])
@pytest.mark.parametrize(
    "config",
    [ASYNCIO, ParallelStepping(mode="threading"), ParallelStepping(mode="threading", max_workers=2)],
    ids=["asyncio", "threading", "two threads"],
)
def test_same_seed_same_run(name, config, latency):
    assert run_of(name, config=config, latency=latency) == run_of(name)


@pytest.mark.parametrize("name", NEW)
def test_one_after_another_the_same_seed_gives_the_same_run(name):
    assert run_of(name, config=False) == run_of(name, config=False, latency=0.001)


@each_example
def test_other_seeds_give_other_runs(name):
    assert run_of(name, seed=1) != run_of(name, seed=2)


@each_example
def test_a_model_goes_on_after_it_was_pickled(name):
    straight, stopped = made(name), made(name)
    for model in (straight, straight, stopped):
        model.step()
    again = pickle.loads(pickle.dumps(stopped))
    again.step()
    assert again.datacollector.model_vars == straight.datacollector.model_vars


@each_example
def test_without_a_client_and_a_model_the_rule_decides(name):
    model = EXAMPLES[name].model_class()(**SMALL[name])
    assert isinstance(model.client, RuleBasedClient)
    assert model.client.policy is EXAMPLES[name].policy()
    assert {agent.llm.llm_model.partition("/")[0] for agent in model.agents} == {"rule-based"}
    assert EXAMPLES[name].model_class()(**SMALL[name], llm_model="openai/some-model").client is None


@each_example
def test_the_default_run_is_quick(name):
    """Its agents wait for few answers one after the other, whatever each of these takes."""
    enable_automatic_parallel_stepping()
    model = EXAMPLES[name].model_class()(seed=1, client=RuleBasedClient(EXAMPLES[name].policy()))
    answers = 0
    for _ in range(EXAMPLES[name].steps):
        model.step()
        answers += sum(max(agent.calls for agent in report.agents) for report in model.parallel_reports)
    assert answers <= 100


def command(*arguments):
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(map(str, arguments)))
    return exit_.value.code


def as_arguments(options):
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]


@each_example
def test_the_command_runs_it(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["run", name, *as_arguments(SMALL[name]), "--steps", 2, "--seed", 7, "--latency", 0]
    assert command(*arguments) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert ", seed 7\n" in output
    assert "{" not in output
    model = made(name, seed=7)
    for _ in range(2):
        model.step()
    assert model.result() in output
    assert all(measure in output for measure in model.datacollector.model_vars)


@each_example
def test_a_recorded_run_is_repeated(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    journal = ["--journal", tmp_path / "run.db"]
    assert command("run", name, *as_arguments(SMALL[name]), "--steps", 2, "--latency", 0, *journal) == 0
    recorded = capsys.readouterr().out
    assert command("run", name, *journal, "--replay") == 0
    replayed = capsys.readouterr().out
    assert replayed.splitlines()[0] == recorded.splitlines()[0]
    assert replayed.split("\n\n")[-2] == recorded.split("\n\n")[-2]  # what came of it
    assert "no LLM was called" in replayed


@each_example
def test_it_is_listed_and_has_a_page_of_help(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert command("list") == 0
    assert f"{name} " in capsys.readouterr().out
    assert command("run", name, "--help") == 0
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in EXAMPLES[name].options:
        assert f"--{option.name.replace('_', '-')}" in page
        assert option.help in page


@each_example
def test_a_bad_option_is_one_line(name, capsys):
    count = next(iter(SMALL[name]))
    assert command("run", name, f"--{count}", -1) == 2
    errors = capsys.readouterr().err
    assert errors == f"mesa-llm-examples: {count} must be a whole number >= 0, got -1.\n"
