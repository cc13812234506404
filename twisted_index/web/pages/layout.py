"""
The layout of all pages for people: the document, its header with the search, its style sheet and script.

Content is a tree of `twisted.web.template` tags, which escapes text and attributes. Style sheet and script
stand in the page itself and are named by their digests in its policy, so nothing else of a page can run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.web.template import Tag, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: What a page shows: text, or tags with more of it inside, or several of these.
Markup: TypeAlias = "Tag | str | list[Any] | tuple[Any, ...]"

#: Characters that HTML does not allow (HTML, "Preprocessing the input stream").
_NOT_ALLOWED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
#: Elements without an end (HTML, "Void elements"), besides those for media and maps.
_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DEFAULT_TITLE = "Python package index"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


_STYLE, _SCRIPT = _resource("style.css"), _resource("script.js")


def page_policy(*, style: str, script: str = "") -> bytes:
    """
    Say what a page may load and run: nothing but what stands in it (Content Security Policy Level 3).

    Args:
        style: Its style sheet.
        script: Its script, which may ask this server; empty for none.
    """
    runs = f"script-src 'sha256-{_digest(script)}'; connect-src 'self'; " if script else ""
    # `frame-ancestors`, `base-uri` and `form-action` do not fall back to `default-src`.
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; {runs}"
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ).encode("ascii")


#: The policy of pages for people.
PAGE_POLICY = page_policy(style=_STYLE, script=_SCRIPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    What surrounds the content of a page.

    Attributes:
        root: The relative URL of the index, with its slash.
        title: Of the index.
        counted: Whether downloads are counted, so that there is a page of them.
        query: What was searched for; empty on other pages.
    """

    root: str
    title: str = DEFAULT_TITLE
    counted: bool = False
    query: str = ""


def html_page(title: str, *content: Markup, frame: Frame | None = None, links: Sequence[Tag] = ()) -> bytes:
    """
    Write a page.

    Args:
        title: Of the page; plain text, as in its heading.
        content: What stands in its main part.
        frame: What surrounds it; None for what stands alone, such as errors.
        links: More `link` elements of the head.
    """
    whole_title = title if frame is None or title == frame.title else f"{title} · {frame.title}"
    before = "" if frame is None else flatten(_header(frame))
    script = "" if frame is None else f"<script>{_SCRIPT}</script>\n"
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(_cleaned(whole_title))}</title>\n{flatten(list(links))}"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'{before}<main id="main">\n{flatten(list(content))}\n</main>\n{script}</body>\n</html>\n'
    ).encode()


def flatten(content: Markup) -> str:
    """Write content as HTML; characters that HTML does not allow are replaced."""
    written: list[str] = []
    _write(content, written.append)
    return _cleaned("".join(written))


def _write(content: Any, write: Callable[[str], object]) -> None:
    # Twisted's own way waits for what is in a tag, and takes ten times as long.
    if isinstance(content, str):
        write(escape(content, quote=False))
    elif isinstance(content, Tag):
        element: Any = content.tagName
        attributes: Mapping[Any, Any] = content.attributes
        write(f"<{element}")
        for name, value in attributes.items():
            write(f' {name}="{escape(value)}"')
        write(">")
        if element not in _VOID:
            _write(content.children, write)
            write(f"</{element}>")
    else:
        for part in content:
            _write(part, write)


def _cleaned(text: str) -> str:
    return _NOT_ALLOWED.sub(_REPLACEMENT, text)


#: Stands in a page for what is not the same for all visitors. No text and no description has this element.
GAP = Tag("template")
_GAP = b"<template></template>"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PageAround:
    """
    A page with a gap.

    The URL by which visitors come is theirs to choose (Host). So what is kept for all of them is without it.

    Attributes:
        before: The bytes before the gap.
        after: Those after it.
    """

    before: bytes
    after: bytes

    @classmethod
    def of(cls, page: bytes) -> PageAround:
        """Cut a page at its `GAP`."""
        before, _gap, after = page.partition(_GAP)
        return cls(before, after)

    def around(self, content: Markup) -> bytes:
        """Return the page with something in the gap."""
        return self.before + flatten(content).encode() + self.after


def _header(frame: Frame) -> Markup:
    root = frame.root
    statistics = [("-/stats", "Statistics")] if frame.counted else []
    places = [("#projects", "Projects"), *statistics, ("-/", "More")]
    return [
        tags.a("Skip to content", href="#main", class_="skip"),
        tags.header(
            tags.a(frame.title, href=root, class_="home"),
            tags.form(
                tags.label("Search projects", for_="q", class_="unseen"),
                tags.input(
                    type="search",
                    id="q",
                    name="q",
                    value=frame.query,
                    placeholder="Search projects",
                    autocomplete="off",
                    spellcheck="false",
                ),
                tags.button("Search", type="submit"),
                tags.div(id="found", role="status"),
                action=f"{root}-/search",
                role="search",
            ),
            tags.nav(
                tags.ul(tags.li(tags.a(name, href=root + place)) for place, name in places),
                **{"aria-label": "Pages"},
            ),
        ),
    ]
