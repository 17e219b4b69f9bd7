"""Links lead somewhere. Those between the site's own pages are checked where it is built: `test_reference.py`."""

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
BESIDE_THE_SITE = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("packages/**/README.md"))]
PAGES = [*BESIDE_THE_SITE, *sorted((ROOT / "docs").rglob("*.md"))]
on_each = pytest.mark.parametrize("page", BESIDE_THE_SITE, ids=lambda page: str(page.relative_to(ROOT)))


def tokens_of(page):
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text()):
        yield token
        yield from token.children or ()


def links_of(page):
    return [
        token.attrs.get("href") or token.attrs["src"]
        for token in tokens_of(page)
        if token.type in ("link_open", "image")
    ]


def anchors_of(page):
    """The anchors that code hosts give to headings."""
    tokens = list(tokens_of(page))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_external(link):
    return bool(urlsplit(link).scheme)


def test_there_are_pages_with_links():
    assert len(BESIDE_THE_SITE) >= 7
    assert sum(len(links_of(page)) for page in PAGES) > 20


@on_each
def test_files_and_anchors_are_there(page):
    for link in links_of(page):
        if not is_external(link):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_external_links_are_well_formed(page):
    for link in filter(is_external, links_of(page)):
        parts = urlsplit(link)
        assert parts.scheme == "https", link
        assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.hostname or ""), link
        assert not re.search(r"\s", link), link


def test_the_readmes_of_distributions_need_no_repository_around_them():
    for page in ROOT.glob("packages/*/README.md"):
        assert [link for link in links_of(page) if not is_external(link) and not link.startswith("#")] == []
