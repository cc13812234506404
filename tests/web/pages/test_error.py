"""Errors as pages: they lead back to the index."""

from __future__ import annotations

from urllib.parse import urljoin

import html5lib
import pytest

from tests.kit.memory_indexes import MemoryIndexes
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

HTML = {"Accept": "text/html"}
HEADER = {
    "Python package index": "/",
    "Projects": "/#projects",
    "More": "/-/",
}


def links(index: IndexInMemory, path: str) -> dict[str, str]:
    page = index.get(path, headers=HTML).body
    root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(
        page, transport_encoding="utf-8"
    )
    return {
        link.text: urljoin(path, link.get("href")) for link in root.iter("a") if link.get("class") != "skip"
    }


@pytest.mark.parametrize("path", ["/nope", "/-/nope", "/simple/demo/nope.whl", "/project/a/b/c/d/"])
def test_an_error_leads_to_the_front_page(path: str):
    assert links(IndexInMemory(MemorySource(make_wheel("demo", "1.0"))), path) == HEADER


def test_an_absent_project_leads_to_why_and_to_what_is_like_it():
    for _fast in range(2):
        found = links(IndexInMemory(MemorySource()), "/simple/absent/")
        places = {"Why?": "/-/why/absent", "Search for what is like it": "/-/search?q=absent"}
        assert found == {**HEADER, **places}


def test_an_absent_index_leads_to_the_front_page_of_the_server():
    indexes = MemoryIndexes()
    indexes.set(MemorySource())
    index = IndexInMemory(MemorySource(), indexes=indexes)
    assert links(index, "/+absent/simple/demo/") == HEADER
