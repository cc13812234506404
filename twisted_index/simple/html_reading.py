"""
The simple API in HTML, read from another index (PEPs 503, 592, 658, 714, 740, 792).

The counterpart of `html_page`. Any server's folder listing will do: each anchor is taken for a file,
and whoever asked decides which of them are.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from twisted_index.simple.model import Yanked
from twisted_index.simple.stated import (
    MAX_FILES,
    StatedFile,
    StatedPage,
    UnreadablePage,
    check_api_version,
    digests_in,
    https_url,
    moment,
    project_status,
    reason_text,
    size_in_bytes,
    specifiers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Characters that are given to the parser at once.
_PIECE = 64 * 1024
#: Characters of one tag, comment or script. The parser looks through an unfinished one again with
#: every piece, so that an endless one would cost the square of its length.
_MAX_UNFINISHED = 1024 * 1024
#: Bytes of a page, and tags in it: the parser takes some microseconds for each of them, and a page of
#: nothing else would keep a thread for minutes. A file takes some 400 bytes and three or four tags.
_MAX_PAGE = 32 * 1024 * 1024
_MAX_TAGS = 5 * MAX_FILES
#: Characters of the text of an anchor.
_MAX_TEXT = 1024


def read_project_page(body: bytes, charset: str | None = None) -> StatedPage:
    """
    Read a project page.

    Args:
        body: All of it; its size is bounded by the caller.
        charset: As the Content-Type field gives it; UTF-8 without one.

    Raises:
        UnreadablePage: It is no page that could be of the simple API.
    """
    if len(body) > _MAX_PAGE or body.count(b"<") > _MAX_TAGS:
        raise UnreadablePage("it is larger than any page of files")
    reader = _Reader()
    for piece in _pieces(_decode(body, charset)):
        reader.feed(piece)
        if len(reader.rawdata) > _MAX_UNFINISHED:
            raise UnreadablePage("it holds a tag or a comment without an end")
    if reader.asks_for_password:
        raise UnreadablePage("it asks for a password instead of listing files")
    check_api_version(reader.metas.get("pypi:repository-version"))
    return StatedPage(
        files=tuple(_file(url, attributes, text) for url, attributes, text in reader.anchors()),
        status=project_status(
            reader.metas.get("pypi:project-status"), reader.metas.get("pypi:project-status-reason")
        ),
        base=reader.base,
    )


def _decode(body: bytes, charset: str | None) -> str:
    """
    Decode a page as UTF-8, or as the one other encoding that old servers use.

    A name of any codec is not for a stranger to choose: some of Python's unpack, some are slow.
    File names are ASCII in every case.
    """
    name = (charset or "").strip("\"' ").lower()
    if name in ("iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"):
        return body.decode("cp1252", "replace")
    return body.decode("utf-8-sig", "replace")


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


class _Reader(HTMLParser):
    """Collects what matters of a page, and is never told of its end, where the parser is slow."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.metas: dict[str, str] = {}
        self.asks_for_password = False
        self._anchors: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._in_anchor = False

    def anchors(self) -> Iterator[tuple[str, dict[str, str | None], str]]:
        """Give the URL, the attributes and the text of each anchor that leads somewhere."""
        for url, attributes, texts in self._anchors:
            yield url, attributes, "".join(texts)[:_MAX_TEXT].strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._begin_anchor(attrs)
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

    def handle_data(self, data: str) -> None:
        if self._in_anchor:
            texts = self._anchors[-1][2]
            if len(texts) < 16:  # a text comes in pieces only at the ends of what was fed
                texts.append(data[:_MAX_TEXT])

    def _begin_anchor(self, attrs: list[tuple[str, str | None]]) -> None:
        attributes = _first_of_each(attrs)
        url = attributes.get("href")
        self._in_anchor = url is not None
        if url is None:
            return
        if len(self._anchors) >= MAX_FILES:
            raise UnreadablePage("it lists more files than any project has")
        self._anchors.append((url, attributes, []))

    def _note_meta(self, attributes: Mapping[str, str | None]) -> None:
        name, content = attributes.get("name"), attributes.get("content")
        if name is not None and name.lower().startswith("pypi:") and content is not None:
            self.metas.setdefault(name.lower(), content)


def _first_of_each(attrs: list[tuple[str, str | None]]) -> dict[str, str | None]:
    # HTML: of two attributes of one name the first counts.
    return dict(reversed(attrs))


def _file(url: str, attributes: Mapping[str, str | None], text: str) -> StatedFile:
    return StatedFile(
        url=url,
        name=text or None,
        hashes=digests_in(url.partition("#")[2]),
        size=size_in_bytes(_number(attributes.get("data-size"))),
        upload_time=moment(attributes.get("data-upload-time")),
        requires_python=specifiers(attributes.get("data-requires-python")),
        core_metadata=_core_metadata(attributes),
        yanked=_yanked(attributes),
        signed=attributes.get("data-gpg-sig") == "true",
        provenance_url=https_url(attributes.get("data-provenance")),
    )


_NUMBER = re.compile(r"[0-9]{1,19}")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) is not None else None


def _core_metadata(attributes: Mapping[str, str | None]) -> dict[str, str] | None:
    for name in ("data-core-metadata", "data-dist-info-metadata"):
        value = attributes.get(name)
        if value is not None:
            return None if value.strip().lower() in ("false", "") else digests_in(value)
    return None


def _yanked(attributes: Mapping[str, str | None]) -> Yanked | None:
    if "data-yanked" not in attributes:
        return None
    return Yanked(reason=reason_text(attributes["data-yanked"]))
