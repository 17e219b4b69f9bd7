"""Claims of the documentation that no other test holds: numbers, defaults and definitions in the prose of a page."""

import ast
import inspect
import json
import re
import textwrap
import threading
from importlib import import_module
from pathlib import Path

import pytest
from mesa import Agent, Model
from typer.testing import CliRunner

from mesa_llm.errors import ConfigurationError, DistributionConflictError, MesaLLMError
from mesa_llm.limits import AdaptiveConcurrency
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.module_llm import connect
from mesa_llm.parallel_stepping import (
    ParallelStepping,
    my_turn,
    step_agents_multithreaded,
    step_agents_parallel_sync,
)
from mesa_llm.reasoning import OneCallReasoning
from mesa_llm.testing import ScriptedLLM
from mesa_llm_examples.cli import app

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("packages/*/README.md"))]


class Plain(Agent):
    def step(self):
        self.model.log.append(self.unique_id)


class WithAstep(Plain):
    async def astep(self):
        await my_turn()
        self.step()


class WithReasoning(Plain):
    reasoning = None

    def __init__(self, model):
        super().__init__(model)
        self.reasoning = "a strategy of its own"


class Thinker(LLMAgent):
    def __init__(self, model):
        super().__init__(model, OneCallReasoning, client=ScriptedLLM("I stay."), step_prompt="?", tools=[])


@pytest.mark.parametrize(
    ("agent_class", "is_plain"), [(Plain, True), (WithAstep, False), (WithReasoning, False), (Thinker, False)]
)
def test_an_agent_is_plain_if_it_is_no_llm_agent_and_has_neither_astep_nor_reasoning(agent_class, is_plain):
    """`choose-a-mode.md`: a plain agent only acts, so its report has no time to decide."""
    model = Model(rng=1)
    model.log = []
    agent = agent_class(model)
    step_agents_parallel_sync([agent])
    ((part,),) = (report.agents for report in model.parallel_reports)
    assert ("decide" not in {span.phase for span in part.spans}) is is_plain


class OnItsLoop(Agent):
    async def astep(self):
        self.model.threads.add(threading.get_ident())


@pytest.mark.parametrize(("max_workers", "n_threads"), [(None, 32), (3, 3)])
def test_agents_with_astep_alone_share_up_to_32_threads_in_threading_mode(max_workers, n_threads):
    """`choose-a-mode.md` and `ARCHITECTURE.md`."""
    model = Model(rng=1)
    model.parallel_stepping = ParallelStepping(mode="threading", max_workers=max_workers)
    model.threads = set()
    agents = [OnItsLoop(model) for _ in range(40)]
    step_agents_parallel_sync(agents)
    assert len(model.threads) == n_threads
    assert threading.get_ident() not in model.threads


@pytest.mark.parametrize(
    ("argument", "default", "words"),
    [
        ("max_attempts", 6, "sent at most 6 times, within 120 seconds"),
        ("max_elapsed", 120.0, "sent at most 6 times, within 120 seconds"),
        ("timeout", 60.0, "one attempt fails after 60 seconds"),
        ("budget", None, "| `budget` |"),
        ("single_flight", False, "| `single_flight` | whether"),
    ],
)
def test_the_defaults_of_connect_are_those_of_the_page(argument, default, words):
    assert inspect.signature(connect).parameters[argument].default == default
    assert words in (HOW_TO / "reach-a-model.md").read_text()


def test_the_page_describes_every_limit_of_connect():
    table = (HOW_TO / "reach-a-model.md").read_text().split("| argument |")[1].split("\n\n")[0]
    described = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert described == {*inspect.signature(connect).parameters} - {"api_base", "api_key", "transport"}


def test_an_adaptive_limit_begins_with_20():
    assert AdaptiveConcurrency().start == 20
    assert '`"adaptive"` begins with 20' in (HOW_TO / "reach-a-model.md").read_text()


def run(*command):
    result = CliRunner().invoke(app, ["run", *command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_record_has_the_lines_and_names_of_the_page():
    lines = [
        json.loads(line) for line in run("civil-violence", "--steps", "1", "--latency", "0", "--json").splitlines()
    ]
    page = (HOW_TO / "run-the-examples.md").read_text()
    for kind in ("run", "step", "end"):
        (row,) = re.findall(rf"^\| `{kind}` \| .*? \| (.*) \|$", page, re.MULTILINE)
        said = set(re.findall(r"`(\w+)`", row)) - {"StepReport", "completed", "failed", "interrupted"}
        line = next(line for line in lines if line["type"] == kind)
        assert said <= set(line), kind


def test_the_run_of_the_readme_decides_as_often_as_the_page_says():
    command = "civil-violence --citizens 60 --cops 12 --steps 10 --seed 42"
    output = run(*command.split(), "--latency", "0")
    (said,) = re.findall(r"^1,134 decisions; .*$", (HOW_TO / "run-the-examples.md").read_text(), re.MULTILINE)
    assert said in output
    for page in ("README.md", "docs/how-to/run-the-examples.md"):
        assert f"mesa-llm-examples run {command}" in (ROOT / page).read_text()


# Public, though not in an `__all__`: the modules of mesa-llm 0.3, and those of the reference.
ELSEWHERE = {
    "mesa_llm.tools.inbuilt_tools",
    "mesa_llm.reasoning.cot",
    "mesa_llm_examples.apps.example",
    "mesa_llm_examples.apps.page",
}


def imports_of(page):
    for block in re.findall(r"^ *```python[^\n]*\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mesa_llm"):
                yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_import_public_names(page):
    """A name that is not in the reference may change without notice, so no page may need one."""
    hidden = {
        f"{package}.{name}"
        for package, name in imports_of(page)
        if package not in ELSEWHERE and name not in getattr(import_module(package), "__all__", ())
    }
    assert hidden - {"mesa_llm.spaces.legend_for"} == set()  # of observations in words


def errors_of_the_library():
    for package in ("mesa_llm.errors", "mesa_llm.actions", "mesa_llm.parallel_stepping"):
        module = import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) and issubclass(thing, Exception) and not issubclass(thing, Warning):
                yield thing


def test_all_errors_but_one_have_the_root_of_the_page():
    assert "the root of all errors of this library but one" in (ROOT / "docs/reference/errors.md").read_text()
    outside = {error for error in errors_of_the_library() if not issubclass(error, MesaLLMError)}
    assert outside == {DistributionConflictError}
    assert issubclass(DistributionConflictError, ImportError)


def test_a_step_on_threads_refuses_sequential_activation():
    model = Model(rng=1)
    model.parallel_stepping = ParallelStepping(activation="sequential")
    with pytest.raises(ConfigurationError, match="mode='threading' cannot be combined with activation='sequential'"):
        step_agents_multithreaded([Plain(model)])


SHOWN = {"None": None, "True": True, "False": False, "as needed": None, "none": None}


def value_of(text):
    """A default as a table shows it: a word, a number, or a text."""
    return SHOWN[text] if text in SHOWN else float(text) if text[0].isdigit() else text


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("civil_violence", "CivilViolence"),
        ("negotiation", "Negotiation"),
        ("opinion", "Opinion"),
        ("sugarscape", "Sugarscape"),
    ],
)
def test_the_parameters_of_an_example_are_those_of_its_readme(package, name):
    module = import_module(f"mesa_llm_examples.{package}")
    table = (
        (Path(module.__file__).parent / "README.md")
        .read_text()
        .split(f"## Parameters of `{name}`")[1]
        .split("\n## ")[0]
    )
    stated = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            names, defaults = (re.sub("`", "", cell) for cell in line.strip("| ").split(" | ")[:2])
            values = [defaults] if defaults in SHOWN else defaults.split(", ")
            values *= len(names.split(", ")) // len(values)
            stated |= dict(zip(names.split(", "), values, strict=True))
    parameters = inspect.signature(getattr(module, name)).parameters
    assert sorted(stated) == sorted(parameters)
    wrong = {
        parameter: (text, parameters[parameter].default)
        for parameter, text in stated.items()
        if value_of(text) != parameters[parameter].default
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("file", "constant", "value", "page", "words"),
    [
        ("core/clients/masking.py", "_SHOWN", 500, "how-to/handle-failures.md", "up to 500 characters"),
        ("core/clients/masking.py", "_SHORTEST", 8, "how-to/handle-failures.md", "less than eight characters"),
        ("core/concurrency/calling_loop.py", "GRACE", 1.0, "how-to/handle-failures.md", "left behind after\na second"),
        ("core/module_llm/calls_schema.py", "MOST_CALLS", 5, "how-to/tools-without-tool-calling.md", "five calls"),
        (
            "core/module_llm/calls_schema.py",
            "LONGEST_TEXT",
            500,
            "how-to/tools-without-tool-calling.md",
            "500 characters for a text",
        ),
        (
            "core/tools/visible.py",
            "_MOST_CHOICES",
            500,
            "how-to/tools-without-tool-calling.md",
            "more than 500 choices",
        ),
        (
            "parallel/parallel_stepping/relaxed_gc.py",
            "IN_FLIGHT",
            200,
            "explanation/architecture.md",
            "200 new objects for each agent",
        ),
        (
            "parallel/parallel_stepping/runners.py",
            "MAX_LOOP_THREADS",
            32,
            "how-to/choose-a-mode.md",
            "up to 32 threads",
        ),
        ("examples/apps/page.py", "NARROW", 960, "how-to/watch-a-model.md", "narrower than 960 pixels"),
        ("examples/apps/serving.py", "PORT", 8765, "how-to/watch-a-model.md", "`--port 8765`"),
        ("examples/apps/serving.py", "GRACE", 1.5, "how-to/watch-a-model.md", "within two seconds"),
        ("examples/setting.py", "LATENCY", 0.05, "how-to/run-the-examples.md", "simulated, 0.05 s each"),
    ],
)
def test_a_number_in_prose_is_that_of_the_code(file, constant, value, page, words):
    distribution, _, path = file.partition("/")
    package = "mesa_llm_examples" if distribution == "examples" else "mesa_llm"
    source = (ROOT / f"packages/mesa-llm-{distribution}/src/{package}" / path).read_text()
    assert re.findall(rf"^{constant} = (\S+)", source, re.MULTILINE) == [str(value)]
    assert words in (ROOT / "docs" / page).read_text()
