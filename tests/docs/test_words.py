"""How people are spoken to: one name for each thing, sentences that can be read aloud, LLM for the language model."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from mesa_llm_examples.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("docs/**/*.md")),
    ROOT / "README.md",
    *sorted(ROOT.glob("packages/*/README.md")),
    *sorted(ROOT.glob("packages/mesa-llm-examples/src/**/README.md")),
]
BANNED = {
    # two names for one thing: the one to use
    r"(?<!large )(?<!based on )language models?\b": "LLM",
    r"\brule-based policy\b": "rule",
    r"\boffline policy\b": "rule",
    r"\btokens (read|written)\b": "input tokens, output tokens",
    r"\bmost at once\b": "at the same time (peak)",
    r"\ba real model\b": "a real LLM",
    r"\bmodel calls?\b": "LLM calls",
    r"\bno model is asked\b": "no LLM is called",
    r"\bask(s|ed|ing)? (a|the) model\b": "ask an LLM",
    r"\ba reasoning\b(?! (strategy|model))": "a reasoning strategy",
    r"\b[Oo]ne's own\b": "your own",
    # sentences that stop a reader
    r"\bwhoever\b": "those who",
    r"\banew\b": "again",
    r"\bfor ever\b": "always",
    r"\bthere is none\b": "there is no …",
    r"\bbe it\b": "whether",
    r"\b(was|were|is|are) told\b": "heard, is said",
    r"\bnobody is asked\b": "no LLM is called",
    r"\bis not waited for\b": "is stopped",
    r"\bstands for (vLLM|yours)\b": "stands in for",
    r"\btells (how|about)\b": "see",
    r"\bWhat it took\b": "Read usage and cost",
    r"\bin the dark\b": "in dark mode",
}
NOT_OURS = {"changelog.md", "benchmarks.md"}  # the one includes CHANGELOG.md; the other is written by the benchmarks


def prose_of(text):
    """A page without code and addresses."""
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)


def found_in(text):
    return [
        f"{match[0]!r}: write {instead!r}"
        for banned, instead in BANNED.items()
        for match in re.finditer(banned, " ".join(text.split()))
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in NOT_OURS], ids=lambda page: page.name)
def test_a_page_is_free_of_banned_phrases(page):
    assert found_in(prose_of(page.read_text())) == []


def commands(command, path=()):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"),
    [*commands(get_command(app))],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_help_of_a_command_is_free_of_banned_phrases(path, command):
    said = [command.help or "", command.epilog or "", *(getattr(option, "help", "") or "" for option in command.params)]
    assert found_in("\n".join(said)) == []


def test_what_an_app_says_is_free_of_banned_phrases():
    sources = (ROOT / "packages/mesa-llm-examples/src/mesa_llm_examples").glob("**/app*/*.py")
    said = [text for path in sources for text in re.findall(r'"([^"\n]+)"', path.read_text())]
    assert len(said) > 100
    assert found_in("\n".join(said)) == []


@pytest.mark.parametrize(
    "phrase", ["a language model decides", "whoever comes first", "98 tokens read", "asks the model"]
)
def test_the_list_finds_what_it_is_for(phrase):
    assert len(found_in(phrase)) == 1
