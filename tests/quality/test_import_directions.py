"""Imports point one way: examples → parallel → core, and inside core from the agent down to the errors.

The layers are in `pyproject.toml`, for import-linter.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.checks

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def test_imports_point_down():
    command = [sys.executable, "-m", "tests.helpers.lint_imports"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
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
    assert CONFIGURATION["root_packages"] == ["mesa_llm", "mesa_llm_examples"]


def test_imports_for_types_only_count_too():
    assert CONFIGURATION["exclude_type_checking_imports"] is False


@pytest.mark.parametrize("line", ["import mesa_llm.llm_agent", "from mesa_llm import Plan"])
def test_an_import_that_points_up_is_found(tmp_path, line):
    """In a copy of the packages. The root imports from all layers, so nothing in mesa_llm may import its names."""
    for part in ("packages", "tests/helpers"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "packages/mesa-llm-core/src/mesa_llm/limits/__init__.py").open("a") as module:
        module.write(f"if TYPE_CHECKING:\n    {line}\n")
    command = [sys.executable, "-m", "tests.helpers.lint_imports"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "mesa_llm.limits is not allowed to import mesa_llm.llm_agent" in result.stdout


def test_the_architecture_page_draws_the_same_layers():
    drawing = (ROOT / "ARCHITECTURE.md").read_text().split("## Layers")[1].split("```")[1].splitlines()[1:]
    drawn = [re.split(r" {2,}", line)[:-1] for line in drawing]
    assert drawn == [[name.removeprefix("mesa_llm.") for name in layer] for layer in LAYERS]
