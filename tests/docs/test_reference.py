"""The reference, as it is built: every public name is in it, and every module it names is public."""

import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from helpers.public_names import ROOT, exported, packages

import mesa_llm

pytestmark = pytest.mark.checks


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def places(site: Path) -> dict[str, str]:
    """Where each name is documented, from the inventory that other sites link by."""
    lines = zlib.decompress((site / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode().splitlines()
    entries = [line.split(" ") for line in lines]
    return {name: place.replace("$", name) for name, _kind, _priority, place, *_ in entries}


def test_every_public_name_is_in_the_reference(site):
    listed = places(site)
    names = [f"{path}.{name}" for path, package in packages().items() for name in exported(package)]
    assert len(names) > 80
    missing = [name for name in names if name not in listed]
    assert missing == []
    for name in names:
        page, _, anchor = listed[name].partition("#")
        assert f'id="{anchor}"' in (site / page / "index.html").read_text(), name


def test_each_name_of_the_root_leads_to_its_package(site):
    text = (site / "reference" / "index.html").read_text()
    linked = re.findall(r'href="[^"]*#mesa_llm\.\w+\.(\w+)"', text)
    assert sorted(linked) == mesa_llm.__all__


def test_references_in_docstrings_lead_somewhere(site):
    pages = list((site / "reference").rglob("index.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        assert "<autoref" not in text, page
        assert "][mesa_llm" not in text, page


def test_a_class_that_a_docstring_names_is_linked(site):
    page = (site / "reference" / "recording" / "index.html").read_text()
    assert re.search(r'Each model gets a <a [^>]*href="#mesa_llm.recording.SimulationRecorder"><code>', page)
