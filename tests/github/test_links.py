"""Links between pages."""

from __future__ import annotations

import pytest

from twisted_index.errors import BadGateway
from twisted_index.github.links import numbered, page_number, parse_links
from twisted_index.github.repository import parse_repository

BASE = "https://api.example/repositories/1/releases?per_page=100"
OWN = parse_repository("github+https://api.example:o/r")


@pytest.mark.parametrize(
    ("field", "links"),
    [
        ('<https://api.example/r?page=2>; rel="next", <https://api.example/r?page=9>; rel="last"', (2, 9)),
        ("<https://api.example/r?page=2>;rel=next;title=x,<https://api.example/r?page=9>; rel=LAST", (2, 9)),
        ('<?page=2>; title="a"; rel="next last"', (2, 2)),
        ('</r?a=1,2&page=3>; rel="next"', (3, None)),
        ('<https://elsewhere.example/r>; rel="prev", </r?page=2>; rel="next"', (2, None)),
        ("nonsense", (None, None)),
        ("<>", (None, None)),
    ],
)
def test_next_and_last_pages_are_found(field: str, links: tuple[int | None, int | None]):
    found = parse_links([field], BASE, OWN)
    assert tuple(page_number(found.get(name, "")) for name in ("next", "last")) == links


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/r?page=2",
        "http://api.example/r?page=2",
        "https://api.example:444/r",
        "//elsewhere.example/",
        "https://me@api.example/r",
        "ftp://api.example/",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("relation", ["next", "last"])
def test_a_page_elsewhere_is_an_error(target: str, relation: str):
    with pytest.raises(BadGateway):
        parse_links([f'<{target}>; rel="{relation}"'], BASE, OWN)


def test_a_field_without_sense_takes_no_time():
    """Reading it would take minutes if each character were the begin of another search."""
    for field in ("<" * 1_000_000, "<>;" * 300_000, "<a>" + ";rel" * 250_000, "<a>" + "; " * 500_000):
        assert parse_links([field], BASE, OWN) == {}


def test_the_number_of_a_page_is_replaced_and_nothing_else():
    assert numbered("https://a/r?page=1&per_page=20&x=", 7) == "https://a/r?per_page=20&x=&page=7"
    assert page_number("https://a/r?page=-1") is None
    assert page_number("https://a/r?page=" + "9" * 30) is None
