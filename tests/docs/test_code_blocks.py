"""Every Python block of the README and the documentation runs, and prints what it says."""

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
EXAMPLES = list(find_examples(ROOT / "README.md", ROOT / "docs", *sorted((ROOT / "packages").glob("*/README.md"))))


def test_none_is_skipped_silently():
    blocks = [path.read_text().count("```python") for path in (ROOT / "docs").rglob("*.md")]
    readmes = [
        path.read_text().count("```python") for path in (ROOT / "README.md", *(ROOT / "packages").glob("*/README.md"))
    ]
    assert len(EXAMPLES) == sum(blocks) + sum(readmes)
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_block(example: CodeExample, eval_example: EvalExample):
    eval_example.run_print_check(example, module_globals={"__name__": "docs_block"})
