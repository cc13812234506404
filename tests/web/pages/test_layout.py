"""The layout of pages: escaped, valid, and nothing runs that is not its own."""

from __future__ import annotations

import base64
import hashlib
import re

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.template import tags

from twisted_index.web.pages.elements import command, table
from twisted_index.web.pages.layout import PAGE_POLICY, Frame, html_page

FRAME = Frame(root="../")


def parse(page: bytes):
    """Parse a page as browsers do, refusing all that is no HTML."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(
        page, transport_encoding="utf-8"
    )


@pytest.mark.parametrize("element", ["style", "script"])
def test_the_policy_names_the_style_sheet_and_the_script_by_their_digests(element: str):
    page = html_page("x", frame=FRAME).decode()
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"{element}-src 'sha256-{digest}';" in PAGE_POLICY.decode()
    assert "unsafe" not in PAGE_POLICY.decode()


@given(st.text())
def test_text_is_text_in_every_place(text: str):
    page = html_page(text, tags.p(text), table([text], [[text]]), command(text, text), frame=FRAME)
    root = parse(page)
    assert len(root.findall(".//script")) == len(root.findall(".//style")) == 1
    shown = "".join(root.find(".//main/p").itertext())
    # A parser of HTML makes each end of a line one character.
    lines = text.replace("\r\n", "\n")
    assert [a for a, b in zip(shown, lines, strict=False) if a != b and a not in "\ufffd\n"] == []


def test_a_page_that_stands_alone_has_no_script():
    assert parse(html_page("404 Not Found", tags.p("Not here."))).find(".//script") is None


def test_the_head_of_a_column_of_numbers_stands_above_them():
    page = html_page("x", table(["File", "Size", ""], [["a", tags.td("1", class_="number"), "note"]]))
    first, size, note = parse(page).findall(".//thead/tr/*")
    assert (first.get("class"), size.get("class")) == (None, "number")
    assert note.tag == "td"


def test_each_cell_has_its_head_with_it_for_narrow_screens():
    page = html_page("x", table(["", tags.th("Size")], [[tags.th("a"), tags.td("1")], ["b", "2"]]))
    assert [cell.get("data-label") for cell in parse(page).findall(".//tbody/tr/*")] == [None, "Size"] * 2


def test_a_table_without_rows_has_its_heads():
    page = html_page("x", table(["File", "Size"], []))
    assert [head.text for head in parse(page).findall(".//th")] == ["File", "Size"]
