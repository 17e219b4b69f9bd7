"""What CONTRIBUTING.md and ARCHITECTURE.md say is so."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "packages" / name / "src" for name in ("mesa-llm-core", "mesa-llm-parallel", "mesa-llm-examples")]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_what_the_page_lists():
    listed = subprocess.run(["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True)
    page = (ROOT / "CONTRIBUTING.md").read_text()
    targets = [line.split(maxsplit=2)[1:] for line in listed.stdout.splitlines() if "make help" not in line]
    assert targets == [line.split(maxsplit=2)[1:] for line in page.splitlines() if re.match("make [a-z]+ ", line)]


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text()
    names = set(re.findall(r"`([\w/-]+/[\w/.-]*|[\w-]+\.(?:py|md|toml))`", text))
    assert len(names) > 5
    roots = [ROOT, *SOURCES, *(source / "mesa_llm" for source in SOURCES), SOURCES[1] / "mesa_llm/parallel_stepping"]
    assert [name for name in sorted(names) if not any((root / name).exists() for root in roots)] == []
