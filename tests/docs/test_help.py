"""The pages of help: every error has its place, and every question leads to a page."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/help/errors.md").read_text()
QUESTIONS = (ROOT / "docs/help/questions.md").read_text()
PACKAGES = ("errors", "actions", "parallel_stepping", "runs", "experiments")


def public_errors():
    for package in PACKAGES:
        module = import_module(f"mesa_llm.{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) and issubclass(thing, Exception):
                yield name


def headings():
    return re.findall(r"^## (.*)$", ERRORS, re.MULTILINE)


def test_every_public_error_and_warning_has_its_place():
    assert sorted({*public_errors()} - {*headings()}) == []


def test_the_index_goes_from_a_to_z():
    assert headings() == sorted(headings())
    assert len(headings()) > 25


def test_each_says_more_than_the_class():
    for part in ERRORS.split("\n## ")[1:]:
        name, _, text = part.partition("\n")
        assert len(text.split()) >= 10, name


def test_all_questions_are_answered_by_a_page():
    asked = [part for part in QUESTIONS.split("\n\n") if part.startswith("**")]
    assert len(asked) >= 20
    assert all(re.search(r"\]\([^)]+\.md", part) for part in asked)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("personas data frame", "how-to/personas.md"),
        ("mix LLM agents rule agents", "how-to/mix-llm-and-rule-agents.md"),
        ("cite", "paper/cite.md"),
        ("GPU", "start/install.md"),
        ("Windows", "start/install.md"),
        ("faster", "explanation/how-much-faster.md"),
        ("cost", "how-to/estimate-cost.md"),
        ("different LLMs", "how-to/use-a-provider.md"),
        ("API key .env", "how-to/use-a-provider.md"),
        ("rate limits", "how-to/reach-a-model.md"),
        ("talk message speak_to", "how-to/let-agents-talk.md"),
        ("move North torus vision", "how-to/move-agents.md"),
        ("exact prompt", "how-to/see-the-prompt.md"),
        ("ODD methods", "paper/methods.md"),
        ("Ollama vLLM", "how-to/local-models.md"),
        ("SolaraViz", "how-to/watch-a-model.md"),
        ("Mesa 4", "start/install.md"),
        ("exactly one action", "how-to/choose-exactly-one.md"),
        ("which file keep", "how-to/which-file.md"),
    ],
)
def test_the_words_that_people_search_stand_on_the_page_that_answers(words, page):
    text = (ROOT / "docs" / page).read_text().lower()
    assert [word for word in words.lower().split() if word not in text] == []
