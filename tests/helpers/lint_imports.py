"""import-linter, run on the packages as they are installed: `uv run python -m tests.helpers.lint_imports`.

It reads one folder a package, and in the workspace `mesa_llm` is in two. So it gets a copy in which it is in one.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from importlinter.cli import lint_imports_command

ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        for sources in sorted(ROOT.glob("packages/*/src"), reverse=True):  # core last: its mesa_llm/__init__.py counts
            shutil.copytree(sources, folder, dirs_exist_ok=True)
        sys.path.insert(0, folder)
        lint_imports_command(["--no-cache", *sys.argv[1:]])
