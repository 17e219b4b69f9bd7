"""The project's addresses stand in `mkdocs.yml` alone, empty until they are known; the packages' links follow them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "mkdocs.yml").read_text()
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text())["project"] for path in ROOT.glob("packages/*/pyproject.toml")
}


def address(name):
    return re.search(rf'^{name}: "?([^"\n]*)"?$', CONFIG, re.MULTILINE)[1].rstrip("/")


def links(site, repository):
    """What `project.urls` must have; nothing that is not known yet."""
    known = {"Documentation": site} if site else {}
    if repository:
        known |= {"Source": repository, "Issues": f"{repository}/issues"}
        known |= {"Changelog": f"{repository}/blob/main/CHANGELOG.md"}
    return known


@pytest.mark.parametrize("package", PROJECTS)
def test_the_links_of_a_package_are_those_of_the_site(package):
    ours = {"Documentation", "Source", "Issues", "Changelog"}
    stated = {name: url for name, url in PROJECTS[package]["urls"].items() if name in ours}
    assert stated == links(address("site_url"), address("repo_url"))


def test_the_citation_has_the_name_and_the_version():
    citation = (ROOT / "CITATION.cff").read_text()
    (version,) = {project["version"] for project in PROJECTS.values()}
    assert f"\nversion: {version}\n" in citation
    assert re.search(r"^site_name: (.*)$", CONFIG, re.MULTILINE)[1] in citation
    assert f"version = {{{version}}}" in (ROOT / "docs/paper/cite.md").read_text()


@pytest.mark.parametrize(
    ("site", "repository", "names"),
    [
        ("", "", set()),
        ("https://docs.example", "", {"Documentation"}),
        ("https://docs.example", "https://code.example/mesa", {"Documentation", "Source", "Issues", "Changelog"}),
    ],
)
def test_known_addresses_lead_to_links(site, repository, names):
    assert set(links(site, repository)) == names
