"""Every Python block of the README, of the documentation and of docstrings runs, and prints what it says."""

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
FILES = {
    "readme": [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))],
    "documentation": sorted((ROOT / "docs").rglob("*.md")),
    "docstring": sorted(ROOT.glob("packages/*/src/**/*.py")),
}
EXAMPLES = {kind: list(find_examples(*files)) for kind, files in FILES.items()}


@pytest.mark.parametrize(("kind", "fewest"), [("readme", 4), ("documentation", 20), ("docstring", 8)])
def test_none_is_skipped_silently(kind, fewest):
    assert len(EXAMPLES[kind]) == sum(path.read_text().count("```python") for path in FILES[kind])
    assert len(EXAMPLES[kind]) >= fewest


def is_one_program(path):
    """Whether the blocks of a page run one after the other, each on what those before it have defined."""
    return path.suffix == ".md" and path.read_text().startswith("---\nblocks: one program\n---\n")


ALL = [example for kind in EXAMPLES.values() for example in kind]
PROGRAMS = sorted({example.path for example in ALL if is_one_program(example.path)})


def run_block(example, eval_example, defined):
    """Run a block and compare what it prints; with `--update-examples`, write what it prints into the page."""
    run = eval_example.run_print_update if eval_example.update_examples else eval_example.run_print_check
    return run(example, module_globals=defined)


@pytest.mark.parametrize("example", [example for example in ALL if example.path not in PROGRAMS], ids=str)
def test_block(example: CodeExample, eval_example: EvalExample):
    run_block(example, eval_example, {"__name__": "docs_block"})


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda path: path.name)
def test_page_that_is_one_program(page, eval_example: EvalExample):
    defined = {"__name__": "docs_block"}
    for example in ALL:
        if example.path == page:
            defined |= run_block(example, eval_example, defined)
