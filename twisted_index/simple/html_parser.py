"""
The simple API in HTML, read from another index (PEPs 503, 592, 658, 714, 740, 792).

The counterpart of `html_writer`. The folder listings of web servers are accepted too: each anchor is
reported, and the caller decides which of them are files.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from twisted_index.simple.model import Yanked
from twisted_index.simple.parsed import (
    MAX_FILES,
    InvalidPage,
    ParsedFile,
    ParsedPage,
    check_api_version,
    parse_digests,
    parse_https_url,
    parse_project_status,
    parse_reason,
    parse_size,
    parse_specifiers,
    parse_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Characters per call of the parser.
_PIECE = 64 * 1024
#: Characters of one tag, comment or script. The parser scans an unfinished one again with every piece, so
#: an endless one would take time quadratic in its length.
_MAX_UNFINISHED = 1024 * 1024
#: Bytes of a page, and tags in it: the parser takes some microseconds per tag, and a page of nothing but
#: tags would occupy a thread for minutes. A file takes some 400 bytes and three or four tags.
_MAX_PAGE = 32 * 1024 * 1024
_MAX_TAGS = 5 * MAX_FILES
#: Characters of the text of an anchor or a heading, and the number of headings that are read.
_MAX_TEXT = 1024
_MAX_HEADINGS = 8
#: The tags of an empty page: those of PEP 503's example without anchors.
_SKELETON = ("html", "head", "meta", "title", "body", "pre", "ul", "hr", "br")


def parse_html_page(body: bytes, charset: str | None = None) -> ParsedPage:
    """
    Parse a project page.

    Args:
        body: The whole page; its size is bounded by the caller.
        charset: From the Content-Type field; UTF-8 without one.

    Raises:
        InvalidPage: The page cannot be one of the simple API.
    """
    if len(body) > _MAX_PAGE or body.count(b"<") > _MAX_TAGS:
        raise InvalidPage("it is larger than any page of files")
    reader = _Reader()
    for piece in _pieces(_decode(body, charset)):
        reader.feed(piece)
        if len(reader.rawdata) > _MAX_UNFINISHED:
            raise InvalidPage("it holds a tag or a comment without an end")
    if reader.asks_for_password:
        raise InvalidPage("it asks for a password instead of listing files")
    check_api_version(reader.metas.get("pypi:repository-version"))
    return ParsedPage(
        files=tuple(_file(url, attributes, text) for url, attributes, text in reader.anchors()),
        status=parse_project_status(
            reader.metas.get("pypi:project-status"), reader.metas.get("pypi:project-status-reason")
        ),
        base=reader.base,
        headings=None if reader.is_simple or reader.is_blank else tuple(reader.headings()),
    )


def _decode(body: bytes, charset: str | None) -> str:
    """
    Decode a page as UTF-8, or as the one other encoding that old servers use.

    An upstream must not choose any codec: some of Python's decompress, some are slow. File names are ASCII
    in every case.
    """
    name = (charset or "").strip("\"' ").lower()
    if name in ("iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"):
        return body.decode("cp1252", "replace")
    return body.decode("utf-8-sig", "replace")


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


class _Reader(HTMLParser):
    """Collects anchors and headings. `close()` is never called, because it is slow."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.metas: dict[str, str] = {}
        self.asks_for_password = False
        #: Whether the page has a meta element of the simple API (PEP 629; "api-version" before it).
        self.is_simple = False
        #: Whether the page is empty, without even a script that could load content.
        self.is_blank = True
        self._anchors: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._in_anchor = False
        self._headings: list[list[str]] = []
        self._in_heading = False

    def anchors(self) -> Iterator[tuple[str, dict[str, str | None], str]]:
        """Yield the URL, the attributes and the text of each anchor with a URL."""
        for url, attributes, texts in self._anchors:
            yield url, attributes, "".join(texts)[:_MAX_TEXT].strip()

    def headings(self) -> Iterator[str]:
        """Yield the titles and first-level headings, each as one line of text."""
        for texts in self._headings:
            yield " ".join("".join(texts).split())[:_MAX_TEXT]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.is_blank &= tag in _SKELETON
        if tag == "a":
            self._begin_anchor(attrs)
        elif tag in ("title", "h1"):
            self._in_heading = len(self._headings) < _MAX_HEADINGS
            if self._in_heading:
                self._headings.append([])
        elif tag == "meta":
            self._note_meta(_first_of_each(attrs))
        elif tag == "base" and self.base is None:
            self.base = _first_of_each(attrs).get("href")
        elif tag == "input":
            kind = _first_of_each(attrs).get("type")
            self.asks_for_password |= (kind or "").strip().lower() == "password"

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._in_anchor = False
        elif tag in ("title", "h1"):
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        self.is_blank &= not data.strip()
        # The parser splits text only at tags, and at the ends of the input.
        if self._in_anchor and len(texts := self._anchors[-1][2]) < 16:
            texts.append(data[:_MAX_TEXT])
        if self._in_heading and len(texts := self._headings[-1]) < 16:
            texts.append(data[:_MAX_TEXT])

    def _begin_anchor(self, attrs: list[tuple[str, str | None]]) -> None:
        attributes = _first_of_each(attrs)
        url = attributes.get("href")
        self._in_anchor = url is not None
        if url is None:
            return
        if len(self._anchors) >= MAX_FILES:
            raise InvalidPage("it lists more files than any project has")
        self._anchors.append((url, attributes, []))

    def _note_meta(self, attributes: Mapping[str, str | None]) -> None:
        name, content = (attributes.get("name") or "").lower(), attributes.get("content")
        self.is_simple |= name.startswith("pypi:") or name == "api-version"
        self.is_blank &= "http-equiv" not in attributes
        if name.startswith("pypi:") and content is not None:
            self.metas.setdefault(name, content)


def _first_of_each(attrs: list[tuple[str, str | None]]) -> dict[str, str | None]:
    # HTML: of two attributes with the same name, the first wins.
    return dict(reversed(attrs))


def _file(url: str, attributes: Mapping[str, str | None], text: str) -> ParsedFile:
    return ParsedFile(
        url=url,
        name=text or None,
        hashes=parse_digests(url.partition("#")[2]),
        size=parse_size(_number(attributes.get("data-size"))),
        upload_time=parse_timestamp(attributes.get("data-upload-time")),
        requires_python=parse_specifiers(attributes.get("data-requires-python")),
        core_metadata=_core_metadata(attributes),
        yanked=_yanked(attributes),
        signed=attributes.get("data-gpg-sig") == "true",
        provenance_url=parse_https_url(attributes.get("data-provenance")),
    )


_NUMBER = re.compile(r"[0-9]{1,19}")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) is not None else None


def _core_metadata(attributes: Mapping[str, str | None]) -> dict[str, str] | None:
    for name in ("data-core-metadata", "data-dist-info-metadata"):
        value = attributes.get(name)
        if value is not None:
            return None if value.strip().lower() in ("false", "") else parse_digests(value)
    return None


def _yanked(attributes: Mapping[str, str | None]) -> Yanked | None:
    if "data-yanked" not in attributes:
        return None
    return Yanked(reason=parse_reason(attributes["data-yanked"]))
