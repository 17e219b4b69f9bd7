"""Imports point one way: examples → parallel → core, and inside core from the agent down to the errors.

The layers are in `pyproject.toml`, for import-linter.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def test_imports_point_down():
    command = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


(CONTRACT,) = CONFIGURATION["contracts"]
LAYERS = [layer.split(" | ") for layer in CONTRACT["layers"]]


def test_every_package_has_a_place():
    packages = [
        ".".join(init.parent.relative_to(source).parts)
        for source in ROOT.glob("packages/*/src")
        for init in (*source.glob("mesa_llm/*/__init__.py"), *source.glob("mesa_llm_*/__init__.py"))
    ]
    assert sorted(name for layer in LAYERS for name in layer) == sorted(packages)
    assert sorted(CONFIGURATION["root_packages"]) == sorted(packages)


def test_the_architecture_page_draws_the_same_layers():
    drawing = (ROOT / "ARCHITECTURE.md").read_text().split("## Layers")[1].split("```")[1].splitlines()[1:]
    drawn = [re.split(r" {2,}", line)[:-1] for line in drawing]
    assert drawn == [[name.removeprefix("mesa_llm.") for name in layer] for layer in LAYERS]
