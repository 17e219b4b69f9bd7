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


@pytest.mark.parametrize("example", [example for kind in EXAMPLES.values() for example in kind], ids=str)
def test_block(example: CodeExample, eval_example: EvalExample):
    eval_example.run_print_check(example, module_globals={"__name__": "docs_block"})
