"""Descriptions: rendered if possible, harmless in any case."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.web.pages.clean_html import cleaned_html
from twisted_index.web.pages.description import MAX_TEXT, description_markup, rendered_html
from twisted_index.web.pages.layout import flatten, html_page

#: Every attribute that an element of a description may have.
ATTRIBUTES = {
    "a": {"class", "href", "id", "rel"},
    "div": {"class", "id"},
    "ol": {"id", "start"},
    "pre": {"id", "tabindex"},
    "td": {"colspan", "id", "rowspan"},
    "th": {"colspan", "id", "rowspan"},
}
ELEMENTS = {
    *("a", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h3"),
    *(
        "h4",
        "h5",
        "h6",
        "hr",
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
    ),
    *("span", "td", "th", "thead", "tr", "ul"),
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<SCRIPT SRC=//evil.test/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    '<img src="x" alt="a" onload="alert(1)">',
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<style>*{display:none}</style>shown",
    '<p style="position:fixed">x</p>',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt:alert(1)">x</a>',
    '<a href=" \x01javascript:alert(1)">x</a>',
    '<a href="java\tscript:alert(1)">x</a>',
    '<a href="java&#10;script:alert(1)">x</a>',
    '<a href="&#106;avascript&colon;alert(1)">x</a>',
    '<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
    '<a href="vbscript:msgbox(1)">x</a>',
    '<a href="//evil.test">x</a>',
    '<a href="https://ok.test/&quot; onclick=&quot;alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "<javascript:alert(1)>",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](javascript:alert(1))",
    '[x](https://ok.test "onmouseover=alert(1)")',
    "`x <javascript:alert(1)>`_",
    ".. image:: javascript:alert(1)\n   :target: javascript:alert(1)\n",
    ".. raw:: html\n\n   <script>alert(1)</script>\n",
    ".. include:: /etc/hostname\n",
    ".. csv-table::\n   :file: /etc/hostname\n",
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<object data="x"></object><embed src="x">',
    '<form action="https://evil.test"><input name=a><button>x</button></form>',
    '<base href="https://evil.test/"><meta http-equiv=refresh content="0;url=//evil.test">',
    "<link rel=stylesheet href=x>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php <script>alert(1)</script> ?>",
    "</main></body></html><script>alert(1)</script>",
    "<div><p><b><i><u>" * 50,
    "</div></p></td></table>" * 50,
    "<table><td>x<table><td>y</table>z<tr>w<li>v",
    "<ul>text<p>x</ul><li>y<dl>z<dd><dt>",
    "<h1><h2><h3>x<table><tr><td>",
    "<a href='https://a.test'><a href='https://b.test'>x<h1>y</a>z",
    "<details><summary><h2>x</h2></summary><details>y",
    "<p><ul><p><blockquote><p></blockquote></p>",
    "<pre>x<p>y</pre><plaintext>z",
    "<div id=main><a name=q id=q>x</a><p id=found class=command>y</p>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#0; &#x1; &#xD800; &#xFFFE; &nosuch;",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "a\x00b\x08c\x1b[31md\x7f\x85e",
    "\ud800 lone",
    "<a href=https://x.test/" + "a" * 5000 + ">x</a>",
    "x" * 5000,
]
TYPES = ["text/markdown", "text/markdown; variant=CommonMark", "text/x-rst", "text/plain", "", "a/b", ";;"]


def check(markup) -> str:
    """Refuse what a description may not have; return its text."""
    page = html_page("x", markup)
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root = parser.parse(page, transport_encoding="utf-8")
    (description,) = root.findall(".//div[@class='description']")
    for element in description.iter():
        assert element.tag in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES.get(element.tag, {"id"})
        assert element.get("id", "user-content-").startswith("user-content-")
        assert element.get("class", "") in ("", "description", "image")
        href = element.get("href", "#user-content-")
        assert href.startswith(("http://", "https://", "mailto:", "#user-content-"))
        if not href.startswith("#"):
            assert element.get("rel") == "nofollow noreferrer ugc"
    return "".join(description.itertext())


@pytest.mark.parametrize("html", HOSTILE)
def test_hostile_html_is_harmless(html: str):
    for text in (html, html * 3, f"<p>{html}</p>x", f"x<table><tr>{html}"):
        if (markup := cleaned_html(text)) is not None:
            check(markup)


@pytest.mark.parametrize("kind", TYPES)
def test_hostile_descriptions_are_harmless(kind: str):
    for text in ("\n\n".join(HOSTILE), "\n\n".join(HOSTILE[::-1])):
        check(description_markup(text, rendered_html(text, kind)))


NAMES = [*sorted(ELEMENTS), "b", "h1", "h2", "span", "img", "input", "script", "svg"]
RESTS = [">", " href=https://x.test id=a>", " href='#a' colspan=2>"]
PIECES = [f"<{slash}{name}{rest}" for name in NAMES for slash in ("", "/") for rest in RESTS]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=30).map("".join))
def test_any_html_is_harmless(html: str):
    if (markup := cleaned_html(html)) is not None:
        check(markup)


@given(st.text())
def test_any_text_is_shown_as_it_is_without_a_renderer(text: str):
    shown = check(description_markup(text, ""))
    expected = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
    assert [a for a, b in zip(shown, expected, strict=False) if a != b and a != "\ufffd"] == [] or any(
        0x202A <= ord(char) <= 0x2069 for char in text
    )


@pytest.mark.parametrize(
    "name", ["b", "div", "ul><li", "blockquote", "table><tr><td", "svg", "h1", "a href=https://x"]
)
def test_ten_thousand_levels_are_no_deeper_than_some(name: str):
    markup = cleaned_html(f"<{name}>" * 10_000 + "x")
    shown = flatten(markup) if markup is not None else ""
    assert shown.count("<") < 500


def test_what_takes_too_long_to_render_is_shown_as_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.web.pages.description._PATIENCE", 0.5)
    text = "<div>" * 50_000
    assert rendered_html(text, "text/markdown") is None
    assert check(description_markup(text, "")) == text


def test_what_is_too_long_is_cut_off_and_says_so():
    markup = description_markup("x" * 1_000_000, rendered_html("x" * 1_000_000, "text/markdown"))
    assert check(markup) == "x" * MAX_TEXT
    assert flatten(markup).endswith("The rest is left out.</p>")


def test_markdown_is_rendered_below_the_headings_of_the_page():
    text = "# One\n\n### Two\n\n| a | b |\n|---|---|\n| 1 |  |\n\n- [x] done\n\n"
    text += "~~old~~ [here](#one) [x](docs/a)\n\n[![build](https://ci.test/a.svg)](https://ci.test) "
    text += "![shot](https://x.test/a.png) ![rel](a)\n"
    markup = flatten(cleaned_html(rendered_html(text, "text/markdown")))
    assert '<h3 id="user-content-one">One</h3>' in markup
    assert '<h4 id="user-content-two">Two</h4>' in markup
    assert '<th id="' not in markup
    assert "<th>a</th>" in markup
    assert "☑ done" in markup
    assert "<del>old</del>" in markup
    assert '<a href="#user-content-one">here</a> x' in markup
    assert '<a href="https://ci.test" rel="nofollow noreferrer ugc">build</a> ' in markup
    assert 'href="https://x.test/a.png" rel="nofollow noreferrer ugc" class="image">shot</a>   rel' in markup


def test_links_lead_to_the_anchors_that_people_meant():
    html = (
        '<a href="#Two">case</a> <a href="#three%C3%A9">quoted</a> <a href="#four">heading</a> '
        '<a href="#five">section</a> <a href="#nine">nowhere</a> <p id="none"><a id="top"></a></p>'
        '<h2 id="two">Two</h2><p><a id="threeé"></a></p><p>x <span id="five"></span></p>'
        '<h2 id="other"><div id="four">Four</div></h2>'
    )
    markup = flatten(cleaned_html(html))
    assert re.findall(r'href="#([^"]+)">(\w+)', markup) == [
        ("user-content-two", "case"),
        ("user-content-threeé", "quoted"),
        ("user-content-four", "heading"),
        ("user-content-five", "section"),
    ]
    assert "<span>nowhere</span>" in markup
    assert '<span id="user-content-threeé"></span><p>x <span id="user-content-five"></span></p>' in markup
    assert '<h3 id="user-content-other"> <span id="user-content-four"></span>Four' in markup


def test_the_space_around_a_badge_is_not_in_its_link():
    badge = '<a href="https://ci.test/{0}">\n<img src="https://ci.test/x" alt="{0}">\n</a>\n'
    markup = flatten(cleaned_html(badge.format("one") + badge.format("two")))
    assert re.findall(">([^<]*)</a>", markup) == ["one", "two"]


def test_headings_of_one_level_stay_of_one_level():
    markup = flatten(cleaned_html("<h2>One</h2><h2>Two</h2><h4>Three</h4><h1>Four</h1>"))
    assert "<h3>One</h3><h3>Two</h3><h4>Three</h4><h3>Four</h3>" in markup


def test_a_heading_that_only_an_image_is_in_counts_for_no_level():
    markup = flatten(cleaned_html('<h1><img src="https://x.test/logo"></h1><h2>One</h2><h3>Two</h3>'))
    assert "<h3>One</h3><h4>Two</h4>" in markup


def test_links_of_images_are_apart_and_images_without_a_text_are_left_out():
    badge = '<a href="https://ci.test/{}"><img src="https://ci.test/x" alt="{}"></a>'
    html = "<p>" + "".join(
        badge.format(name, name) for name in ("one", "", "image", "https://ci.test/x", "two")
    )
    markup = flatten(
        cleaned_html(html + '<img src="https://x.test/a" alt="three"><img src="https://x.test/b">')
    )
    assert re.findall(r">(\w+)</a> (?=<)", markup) == ["one", "two", "three"]
    assert markup.count("<a ") == 3


@pytest.mark.parametrize("kind", ["text/x-rst", "", "UNKNOWN"])
def test_restructured_text_is_rendered(kind: str):
    text = (
        "Title\n=====\n\n*Emphasis* and a link_.\n\n.. _link: https://x.test/\n\n.. code:: python\n\n   1\n"
    )
    markup = flatten(cleaned_html(rendered_html(text, kind)))
    assert "<h3>Title</h3>" in markup
    assert "<em>Emphasis</em>" in markup
    assert 'href="https://x.test/"' in markup
    assert "<pre" in markup


def test_what_restructured_text_leaves_to_style_sheets_shows():
    text = "A ``literal -x``.\n\nsize : int\n  Bytes\n"
    markup = flatten(cleaned_html(rendered_html(text, "text/x-rst")))
    assert "A <code>literal -x</code>." in markup
    assert "<dt>size : int</dt>" in markup


def test_headings_are_no_links_to_the_table_of_contents():
    text = "Title\n=====\n\n.. contents::\n\nPart\n----\n\nText\n"
    markup = flatten(cleaned_html(rendered_html(text, "text/x-rst")))
    assert "<h4>Part</h4>" in markup
    assert '<a href="#user-content-part" id="user-content-toc-entry-2">Part</a>' in markup


@pytest.mark.parametrize(
    ("text", "kind"), [("> [!NOTE]\n> Look\n", "text/markdown"), (".. note:: Look\n", "text/x-rst")]
)
def test_the_title_of_a_note_is_strong(text: str, kind: str):
    markup = flatten(cleaned_html(rendered_html(text, kind)))
    assert re.search(r"<blockquote>\s*<p><strong>Note</strong></p>\s*<p>Look</p>", markup)


def test_markdown_without_a_type_is_no_restructured_text():
    assert rendered_html("# Title\n\n`broken <x`__ |y|_\n\n===\n", "") == ""


def test_without_the_extra_text_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.web.pages.description.find_spec", lambda _name: None)
    assert rendered_html("# x", "text/markdown") == ""


def test_urls_of_plain_text_are_links():
    markup = flatten(description_markup("See (https://x.test/a_b), or javascript:alert(1).", ""))
    assert '<a href="https://x.test/a_b" rel="nofollow noreferrer ugc">https://x.test/a_b</a>), or' in markup
    assert markup.count("<a ") == 1


def test_a_renderer_that_cannot_be_started_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert rendered_html("# x", "text/markdown") is None


def test_the_renderer_is_installed_for_these_tests():
    assert find_spec("readme_renderer") is not None
