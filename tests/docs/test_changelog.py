"""The changelog begins with the version that the distributions have."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_newest_section_is_the_current_version():
    versions = {
        tomllib.loads(path.read_text())["project"]["version"] for path in ROOT.glob("packages/*/pyproject.toml")
    }
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    newest = re.fullmatch(r"(\d+\.\d+\.\d+) \((unreleased|\d{4}-\d\d-\d\d)\)", headings[0])
    assert newest is not None, headings[0]
    assert versions == {newest[1]}
