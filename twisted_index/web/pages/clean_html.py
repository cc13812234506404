"""
HTML of others, made into tags of an allow-list that nest as HTML wants it.

What is not on the list loses its tags and keeps its text, so that nothing is inserted as it came. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.web.template import Tag, tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Elements of a page; building and writing one takes some 20 µs.
MAX_ELEMENTS = 20_000
#: How deep elements may be nested; below that they lose their tags.
_DEEPEST = 40
#: The prefix of all anchors, so that none is one of the page's own; that of readme_renderer.
_PREFIX = "user-content-"
LINK_RELATION = "nofollow noreferrer ugc"

#: What stands in the place of an element; the others lose their tags.
_NAMES = {
    **{name: name for name in ("a", "blockquote", "code", "dd", "del", "details", "div", "dl", "dt", "em")},
    **{name: name for name in ("kbd", "li", "ol", "p", "pre", "strong", "sub", "summary", "sup", "ul")},
    **{name: name for name in ("caption", "table", "tbody", "td", "th", "thead", "tr")},
    **{f"h{level}": f"h{level}" for level in range(1, 7)},
    **dict.fromkeys(("section", "nav", "figure", "figcaption"), "div"),
    **{"aside": "blockquote", "b": "strong", "i": "em", "tt": "code", "var": "em", "cite": "em", "s": "del"},
}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_INLINE = {"a", "code", "del", "em", "kbd", "strong", "sub", "sup"}
#: Elements that have text and inline elements, besides those.
_TEXT_ONLY = {*_HEADINGS, "caption", "dt", "pre", "summary"}
#: What elements may stand in, if that is not everything that takes blocks.
_PARENTS = {
    **dict.fromkeys(("dd", "dt"), ("dl",)),
    **dict.fromkeys(("td", "th"), ("tr",)),
    **dict.fromkeys(("tbody", "thead", "caption"), ("table",)),
    "li": ("ol", "ul"),
    "summary": ("details",),
    "tr": ("table", "tbody", "thead"),
}
#: What stands between these and content that they cannot have.
_BETWEEN = {"dl": "dd", "ol": "li", "table": "tr", "tbody": "tr", "thead": "tr", "tr": "td", "ul": "li"}
#: Texts of images that do not say what is on them.
_NO_WORDS = {"alt", "alt text", "badge", "image", "img", "picture"}
#: Elements whose text is no text.
_UNSEEN = {
    *("applet", "audio", "canvas", "embed", "iframe", "math", "noembed", "noframes", "noscript", "object"),
    *("script", "select", "style", "svg", "template", "textarea", "title", "video", "xmp"),
}
_NO_URL = r"\s\x00-\x20\"<>\x7f-\xa0\ud800-\udfff"
_LINK = re.compile(rf"(?:https?://|mailto:)[^{_NO_URL}\\^`{{|}}]{{1,2000}}", re.IGNORECASE)
_ANCHOR = re.compile(rf"[^{_NO_URL}'&]{{1,200}}")
#: Characters that turn the direction of text, by which it would show what it is not.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def cleaned_html(html: str) -> Tag | None:
    """
    Make tags of HTML.

    Args:
        html: Of any kind.

    Returns:
        A `div`; None if that would have more than `MAX_ELEMENTS` elements, or no text.
    """
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except (_TooMany, AssertionError):  # The parser of Python 3.11 raises it on some unfinished declarations.
        return None
    return reader.finish()


def unturned(text: str) -> str:
    """Return a text without characters that turn its direction."""
    return _TURNING.sub("", text)


def safe_link(url: str) -> str | None:
    """Return a URL that may be linked; None for all others."""
    url = url.strip()
    return url if _LINK.fullmatch(url) else None


class _TooMany(Exception):
    pass


@dataclass(slots=True)
class _Open:
    """An element whose end has not come."""

    name: str
    tag: Tag
    has_text: bool = False
    #: Whether an image in it became text, which needs a space to that of the next.
    is_badge: bool = False


class _Reader(HTMLParser):
    """Builds the tree while it reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open = [_Open("div", tags.div(class_="description"))]
        #: Start tags without an element, whose end tags are not those of other elements.
        self._ignored: Counter[str] = Counter()
        #: The element whose text is no text, and how many of its kind are open.
        self._unseen, self._depth = "", 0
        self._elements = 0
        #: The levels of the headings that what comes next is below.
        self._outline: list[int] = []
        #: All anchors, by what they are without case, too: so GitHub compares them.
        self._anchors: set[str] = set()
        self._folded: dict[str, str] = {}
        #: Links to anchors, which may still come.
        self._links: list[Tag] = []

    def finish(self) -> Tag | None:
        root = self._open[0]
        while len(self._open) > 1:
            self._pop()
        for link in self._links:
            self._settle(link)
        return root.tag if root.has_text else None

    # -- What the parser calls

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Open an element, if it may stand here."""
        if self._unseen or tag in _UNSEEN:
            self._unseen = self._unseen or tag
            self._depth += tag == self._unseen
            return
        attributes = {name: value or "" for name, value in reversed(attrs)}
        if tag in ("br", "hr", "img", "input"):
            self._void(tag, attributes)
        elif tag not in _NAMES:
            self._keep_anchor(attributes)
        elif not self._enter(_NAMES[tag], attributes):
            self._ignored[tag] += 1
            self._keep_anchor(attributes)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Open an element that seems to be closed at once, which HTML does not know."""
        if tag not in _UNSEEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close an element and those in it."""
        if self._unseen:
            self._depth -= tag == self._unseen
            self._unseen = self._unseen if self._depth else ""
            return
        if self._ignored[tag]:
            self._ignored[tag] -= 1
            return
        name = _NAMES.get(tag)
        open_ones = [each.name if each.name not in _HEADINGS else "h" for each in self._open[1:]]
        wanted = "h" if name in _HEADINGS else name
        if wanted in open_ones:
            self._close_to(len(open_ones) - open_ones[::-1].index(wanted))

    def handle_data(self, data: str) -> None:
        """Append text."""
        if self._unseen or not data:
            return
        if self._open[-1].name in _BETWEEN:
            if not data.strip():
                return
            self._make_room()
        self._append(unturned(data), has_text=bool(data.strip()))

    # -- Elements

    def _void(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "hr":
            if self._begin_block():
                self._append(Tag("hr"))
        elif tag == "br":
            self._make_room()
            self._append(Tag("br"))
        elif tag == "input":
            self.handle_data("☑" if "checked" in attributes else "☐")
        else:
            self._image(attributes)

    def _image(self, attributes: dict[str, str]) -> None:
        """Show an image that says what it is as a link to it: a page loads nothing from elsewhere."""
        shown = " ".join(attributes.get("alt", "").split())
        source = attributes.get("src", "")
        # Of an image without a text docutils says its URL.
        if re.search(r"\w", shown) is None or shown.lower() in _NO_WORDS or shown == source.strip():
            return
        url = safe_link(source)
        link = next((each for each in self._open if each.name == "a"), None)
        if link is not None:
            self.handle_data(f" {shown}" if link.has_text else shown)
            link.is_badge = True
        elif url is None or not url.lower().startswith("http"):
            self.handle_data(f" {shown} ")
        elif self._enter("a", {"href": url, "class": "image"}):
            self.handle_data(shown)
            self._open[-1].is_badge = True
            self._pop()

    def _enter(self, name: str, attributes: dict[str, str]) -> bool:
        """Open an element; return False if only its text is kept."""
        made = self._attributes(name, attributes)
        if made is None or len(self._open) > _DEEPEST:
            return False
        if name in _PARENTS:
            if not self._enter_parent(_PARENTS[name]):
                return False
        elif name in _INLINE:
            if name == "a":
                self._close_link()
            self._make_room()
        elif not self._begin_block():
            return False
        if name in _HEADINGS:
            name = self._heading(int(name[1]))
        if (anchor := self._anchor(attributes)) is not None:
            made["id"] = anchor
        self._push(name, made)
        if made.get("href", "").startswith("#"):
            self._links.append(self._open[-1].tag)
        elif name == "p" and attributes.get("class", "").endswith("-title"):
            # Of a note, in both languages; of a table of contents.
            self._push("strong", {})
        return True

    def _enter_parent(self, parents: tuple[str, ...]) -> bool:
        for index in range(len(self._open) - 1, 0, -1):
            if self._open[index].name in parents:
                self._close_to(index + 1)
                return True
        return False

    def _begin_block(self) -> bool:
        """Close what cannot have blocks; return False if that is something which is not closed for one."""
        for index in range(len(self._open) - 1, -1, -1):
            name = self._open[index].name
            if name in _TEXT_ONLY or name == "a":
                self._append(" ")
                return False
            if name not in _INLINE:
                self._close_to(index if name == "p" else index + 1)
                self._make_room()
                return True
        return False

    def _make_room(self) -> None:
        """Open what has to stand between a list or a table and its content."""
        while (name := _BETWEEN.get(self._open[-1].name)) is not None:
            self._push(name, {})

    def _close_link(self) -> None:
        for index in range(len(self._open) - 1, 0, -1):
            if self._open[index].name == "a":
                self._close_to(index)
                return

    def _heading(self, level: int) -> str:
        """Put headings below that of the section, without a gap between their levels."""
        while self._outline and self._outline[-1] >= level:
            self._outline.pop()
        self._outline.append(level)
        return f"h{min(2 + len(self._outline), 6)}"

    def _attributes(self, name: str, given: dict[str, str]) -> dict[str, str] | None:
        """Choose attributes; None for a link that leads to nothing that may be linked."""
        made: dict[str, str] = {}
        if name == "a":
            href = _target(given.get("href", ""))
            if href is None:
                return None
            made = {"href": href}
            if not href.startswith("#"):
                made["rel"] = LINK_RELATION
            if given.get("class") == "image":
                made["class"] = "image"
        elif name == "ol" and re.fullmatch(r"\d{1,6}", given.get("start", "")):
            made["start"] = given["start"]
        elif name in ("td", "th"):
            spans = ((key, given.get(key, "")) for key in ("colspan", "rowspan"))
            made = {key: value for key, value in spans if re.fullmatch(r"[1-9]\d?", value)}
        elif name == "pre":
            # So that those without a mouse can scroll it.
            made["tabindex"] = "0"
        return made

    def _keep_anchor(self, attributes: dict[str, str]) -> None:
        """Give the anchor of what is not shown to the element that begins here, else to an empty one."""
        anchor = self._anchor(attributes)
        here = self._open[-1]
        if anchor is None:
            return
        if here.has_text or len(self._open) == 1 or "id" in here.tag.attributes:
            self._make_room()
            self._append(tags.span(id=anchor))
        else:
            here.tag.attributes["id"] = anchor

    def _anchor(self, attributes: dict[str, str]) -> str | None:
        anchor = _prefixed(attributes.get("id", ""))
        if _ANCHOR.fullmatch(attributes.get("id", "")) is None or anchor in self._anchors:
            return None
        self._anchors.add(anchor)
        self._folded.setdefault(anchor.casefold(), anchor)
        return anchor

    def _settle(self, link: Tag) -> None:
        """Let a link lead to its anchor, or be its text if there is none."""
        anchor = unquote(str(link.attributes["href"])[1:])
        if anchor not in self._anchors:
            anchor = self._folded.get(anchor.casefold(), "")
        if anchor:
            link.attributes["href"] = f"#{anchor}"
        else:
            link.tagName = "span"
            link.attributes = {key: value for key, value in link.attributes.items() if key == "id"}

    # -- The tree

    def _append(self, content: Tag | str, *, has_text: bool = False) -> None:
        if isinstance(content, Tag):
            self._count()
        here = self._open[-1]
        here.tag.children.append(content)
        here.has_text = here.has_text or has_text

    def _push(self, name: str, attributes: Mapping[str, str]) -> None:
        tag = Tag(name)
        tag.attributes.update(attributes)
        self._append(tag)
        self._open.append(_Open(name, tag))

    def _count(self) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise _TooMany

    def _close_to(self, length: int) -> None:
        while len(self._open) > length:
            self._pop()

    def _pop(self) -> None:
        """Close the innermost element; one that says nothing leaves its content only."""
        closed, above = self._open.pop(), self._open[-1]
        above.has_text = above.has_text or closed.has_text
        if closed.has_text:
            if closed.is_badge:
                _strip(closed.tag.children)
                above.tag.children.append(" ")
        elif closed.name == "th":
            closed.tag.tagName = "td"
        elif closed.name in ("a", "p", "summary") or closed.name in _HEADINGS:
            if closed.name in _HEADINGS:
                self._outline.pop()
            kept = closed.tag.children
            if closed.name not in ("a", "summary"):
                kept = [each for each in kept if isinstance(each, Tag) and "id" in each.attributes]
            if anchor := closed.tag.attributes.get("id"):
                kept.insert(0, tags.span(id=anchor))
            above.tag.children[-1:] = kept


def _strip(children: list[Any]) -> None:
    """Take spaces off the ends, which would be part of a link."""
    while isinstance(children[-1], str) and children[-1].isspace():
        children.pop()
    while isinstance(children[0], str) and children[0].isspace():
        children.pop(0)


def _prefixed(anchor: str) -> str:
    return anchor if anchor.startswith(_PREFIX) else _PREFIX + anchor


def _target(href: str) -> str | None:
    if href.startswith("#"):
        return f"#{_prefixed(href[1:])}" if _ANCHOR.fullmatch(href[1:]) else None
    return safe_link(href)
