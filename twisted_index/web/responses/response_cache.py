"""
Cached representations of pages: JSON and HTML, each as it is and compressed.

Rendered at the first request, and kept while the page is the same object.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

from twisted_index.concurrency.lru import LRU
from twisted_index.http_semantics.negotiation import Format, accepts_gzip, simple_format
from twisted_index.simple import html_writer, json_writer
from twisted_index.web.responses.response import NO_CACHE, NO_SCRIPTS, NOSNIFF, Response
from twisted_index.web.responses.serialized import serialize

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted_index.interfaces import Snapshot
    from twisted_index.simple.model import ProjectList, ProjectPage
    from twisted_index.web.responses.response import Headers
    from twisted_index.web.responses.serialized import SerializedResponse


@dataclass(frozen=True, slots=True, eq=False)
class Representation:
    """
    A form of a page. There is one object for each, so that it is looked up by identity.

    Attributes:
        format: How it is written.
        compressed: Whether by gzip.
    """

    format: Format
    compressed: bool


_FORMS = {(one, packed): Representation(one, packed) for one in Format for packed in (False, True)}


def negotiate_representation(accept: bytes | None, accept_encoding: bytes | None) -> Representation:
    """Choose a form by the two fields of a request."""
    return _FORMS[simple_format(accept), accepts_gzip(accept_encoding)]


def representation_as(content_format: Format, accept_encoding: bytes | None) -> Representation:
    """Choose a form whose format is given."""
    return _FORMS[content_format, accepts_gzip(accept_encoding)]


#: Beyond level 6 pages hardly shrink, and some grow.
_GZIP_LEVEL = 6
_VARY = ((b"Vary", b"Accept, Accept-Encoding"),)


def render_list(project_list: ProjectList, form: Representation) -> Response:
    """Write the project list in one form."""
    write = json_writer.write_json_list if form.format is Format.JSON else html_writer.write_html_list
    return _finish(write(project_list), form)


def render_project_page(
    page: ProjectPage,
    form: Representation,
    public_url: str | None,
    *,
    base_url: str | None = None,
    caching: Headers = NO_CACHE,
) -> Response:
    """
    Write a project page in one form.

    Args:
        page: What is written.
        form: How.
        public_url: As for `json_writer.write_json_page`.
        base_url: Likewise. Links in HTML are always relative: everything resolves them.
        caching: Who may keep it.
    """
    if form.format is Format.JSON:
        body = json_writer.write_json_page(page, public_url=public_url, base_url=base_url)
    else:
        body = html_writer.write_html_page(page, public_url=public_url)
    return _finish(body, form, caching)


def render_html(body: bytes, compressed: bool) -> Response:
    """Give an HTML page that is no page of the simple API what such a page has: a tag, and a coding."""
    return _finish(body, _FORMS[Format.HTML, compressed])


def _finish(body: bytes, form: Representation, caching: Headers = NO_CACHE) -> Response:
    content_format = form.format
    headers = ((b"Content-Type", content_format.content_type), *_VARY, *caching, *NOSNIFF)
    if content_format is not Format.JSON:
        headers = (*headers, *NO_SCRIPTS)
    if form.compressed:
        # No time in it, so that equal pages are equal bytes.
        packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        if len(packed) < len(body):
            body, headers = packed, (*headers, (b"Content-Encoding", b"gzip"))
    return Response(headers=headers, body=body, etag=strong_etag(body, content_format.content_type))


def strong_etag(body: bytes, label: bytes = b"") -> bytes:
    """
    Name a representation by a digest of its bytes (RFC 9110 section 8.8.3).

    Args:
        body: As it is sent, after its content coding.
        label: Its type, as two types of equal bytes are two representations.
    """
    return b'"%s"' % hashlib.blake2b(body, digest_size=16, person=label[-16:]).hexdigest().encode("ascii")


def page_key(project: str, index: str = "") -> str:
    """
    Give the key under which answers about a project are kept.

    It is text, whose hash Python remembers: a pair would be hashed anew at each request.

    Args:
        project: A normalized name; empty for the project list.
        index: The name of the index; empty for the only one. No project's name has a `+` or a `/`.
    """
    return f"+{index}/{project}" if index else project


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A response, and the same as bytes."""

    response: Response
    serialized: SerializedResponse


@dataclass(slots=True)
class _Kept:
    """
    The forms of one page.

    Attributes:
        page: The page itself, weakly: its files take more memory than its bytes, and it is only
            needed to tell whether a later answer is this very page. Gives None for an absent one.
        still_true: See `Snapshot`.
        forms: What has been made of it.
    """

    page: Callable[[], object]
    still_true: Callable[[], bool]
    forms: dict[Hashable, CachedResponse] = field(default_factory=dict)


class ResponseCache:
    """
    Keeps prepared answers by key (`page_key`) and form, bounded by their bytes.

    Args:
        limit: In bytes; beyond it, the pages that were asked for longest ago are dropped.
        common_headers: Fields that every answer has.
    """

    def __init__(self, limit: int, common_headers: Headers) -> None:
        self._common_headers = common_headers
        self._kept = LRU[str, _Kept](limit, _weight)

    def get(self, key: str, form: Hashable) -> CachedResponse | None:
        """Give an answer that has been made and is true now."""
        kept = self._kept.peek(key)
        if kept is None:
            return None
        prepared = kept.forms.get(form)
        if prepared is None or not kept.still_true():
            return None
        self._kept.touch(key)
        return prepared

    def revalidate(self, key: str, snapshot: Snapshot[Any], form: Hashable) -> Response | None:
        """Give an answer that was made of this very page, and take over the page's new truth."""
        kept = self._kept.peek(key)
        if kept is None or kept.page() is not snapshot.value:
            return None
        kept.still_true = snapshot.is_current
        prepared = kept.forms.get(form)
        return None if prepared is None else prepared.response

    def put(self, key: str, snapshot: Snapshot[Any], form: Hashable, response: Response) -> None:
        """Keep an answer. Answers made of another page under the same key are dropped."""
        kept = self._kept.peek(key)
        if kept is None or kept.page() is not snapshot.value:
            page = _nothing if snapshot.value is None else ref(snapshot.value)
            kept = _Kept(page, snapshot.is_current)
        assert isinstance(response.body, bytes)
        wire = serialize(response, self._common_headers, len(response.body), response.body)
        kept.forms[form] = CachedResponse(response, wire)
        self._kept.put(key, kept)

    def drop(self, key: str) -> None:
        """Forget a page."""
        self._kept.pop(key)


def _nothing() -> None:
    """Stand for the reference to a page that is not there."""


def _weight(kept: _Kept) -> int:
    """Count the bytes of the responses, with about what the objects around each take."""
    return sum(len(prepared.serialized.body) + 2048 for prepared in kept.forms.values())
