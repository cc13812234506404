"""
Cached representations of pages: JSON and HTML, each plain and compressed.

Rendered at the first request, and cached while the page is the same object.
"""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

from twisted_index.concurrency.lru import LRU
from twisted_index.http_semantics.content_coding import gzip_smaller
from twisted_index.http_semantics.negotiation import Format, accepts_gzip, simple_format
from twisted_index.metrics.wanted import Askers
from twisted_index.simple import html_writer, json_writer
from twisted_index.simple.formatting import relative_url
from twisted_index.web.responses.response import NO_CACHE, NO_SCRIPTS, NOSNIFF, Response
from twisted_index.web.responses.serialized import SerializedForms

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted_index.interfaces import Snapshot
    from twisted_index.simple.interpreters import Offers
    from twisted_index.simple.model import File, ProjectList, ProjectPage
    from twisted_index.web.responses.response import Headers


@dataclass(frozen=True, slots=True, eq=False)
class Representation:
    """
    A representation of a page. There is one object for each, so that lookups compare by identity.

    Attributes:
        format: JSON or HTML, with its media type.
        compressed: Whether it is compressed by gzip.
    """

    format: Format
    compressed: bool


_FORMS = {(kind, packed): Representation(kind, packed) for kind in Format for packed in (False, True)}


def negotiate_representation(accept: bytes | None, accept_encoding: bytes | None) -> Representation:
    """Choose a representation by the two fields of a request."""
    return _FORMS[simple_format(accept), accepts_gzip(accept_encoding)]


def representation_as(content_format: Format, accept_encoding: bytes | None) -> Representation:
    """Return the representation with a given format."""
    return _FORMS[content_format, accepts_gzip(accept_encoding)]


#: How many folders below the index the page of a project is: `simple/NAME/`.
LEVELS = 2
_VARY = ((b"Vary", b"Accept, Accept-Encoding"),)


def render_list(project_list: ProjectList, form: Representation) -> Response:
    """Write the project list in one representation."""
    if form.format is Format.JSON:
        return _finish(json_writer.write_json_list(project_list), form)
    return _finish(html_writer.write_html_list(project_list, about="../"), form)


def render_project_page(
    page: ProjectPage,
    form: Representation,
    public_url: str | None,
    *,
    file_url: Callable[[File], str] = relative_url,
    about: str = "",
    caching: Headers = NO_CACHE,
) -> Response:
    """
    Write a project page in one representation.

    Args:
        page: The page.
        form: Its representation.
        public_url: As for `json_writer.write_json_page`.
        file_url: Returns the URL of a file.
        about: As for `html_writer.write_html_page`.
        caching: The Cache-Control field.
    """
    if form.format is Format.JSON:
        body = json_writer.write_json_page(page, public_url=public_url, file_url=file_url)
    else:
        body = html_writer.write_html_page(page, public_url=public_url, file_url=file_url, about=about)
    return _finish(body, form, caching)


def render_html(body: bytes, compressed: bool) -> Response:
    """Add ETag and content coding, as for pages of the simple API, to another HTML page."""
    return _finish(body, _FORMS[Format.HTML, compressed])


def _finish(body: bytes, form: Representation, caching: Headers = NO_CACHE) -> Response:
    content_format = form.format
    headers = ((b"Content-Type", content_format.content_type), *_VARY, *caching, *NOSNIFF)
    if content_format is not Format.JSON:
        headers = (*headers, *NO_SCRIPTS)
    if form.compressed:
        packed = gzip_smaller(body)
        if packed is not None:
            body, headers = packed, (*headers, (b"Content-Encoding", b"gzip"))
    return Response(headers=headers, body=body, etag=strong_etag(body, content_format.content_type))


def strong_etag(body: bytes, label: bytes = b"") -> bytes:
    """
    Derive the ETag of a representation from its bytes (RFC 9110 section 8.8.3).

    Args:
        body: As sent, after its content coding.
        label: The media type: equal bytes of two types are two representations.
    """
    return b'"%s"' % hashlib.blake2b(body, digest_size=16, person=label[-16:]).hexdigest().encode("ascii")


def list_key(content_format: Format) -> str:
    """Return the cache key of the project list: in JSON it has serials, which change more often."""
    return f"{page_key('')}+json" if content_format is Format.JSON else page_key("")


def page_key(project: str, levels: int = LEVELS) -> str:
    """
    Return the cache key of responses about a project.

    It is a string, whose hash Python caches: a tuple would be hashed anew at each request.

    Args:
        project: A normalized name, which contains no `+` and no `/`; empty for the project list, but see
            `list_key`.
        levels: How many folders below the index the page is, if that makes a difference to its links.
    """
    return project if levels == LEVELS else f"{project}+{levels}"


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """
    A response, and its serialized forms.

    Attributes:
        askers: The installers that asked for its page, in whatever representation.
    """

    response: Response
    forms: SerializedForms
    askers: Askers


@dataclass(slots=True)
class _Entry:
    """
    The cached representations of one page.

    Attributes:
        page: A weak reference: a page takes more memory than its bytes, and is only needed to compare
            its identity with that of a later one. Returns None for an absent page.
        is_current: See `Snapshot`.
        serial: See `Snapshot`; the responses have it too.
        askers: The installers that asked for it.
        forms: The cached responses, by representation.
    """

    page: Callable[[], object]
    is_current: Callable[[], bool]
    serial: int | None
    askers: Askers
    forms: dict[Hashable, CachedResponse] = field(default_factory=dict)

    def is_of(self, snapshot: Snapshot[Any]) -> bool:
        """Return whether these are responses about this very page, and its serial."""
        return self.page() is snapshot.value and self.serial == snapshot.serial


class ResponseCache:
    """
    Caches responses by key (`page_key`) and representation, bounded by their bytes.

    Args:
        limit: In bytes; above it, the least recently used pages are evicted.
        common_headers: Fields of every response.
    """

    def __init__(self, limit: int, common_headers: Headers) -> None:
        self._common_headers = common_headers
        self._entries = LRU[str, _Entry](limit, _weight)
        self._prefix = ""

    def beginning(self, prefix: str) -> ResponseCache:
        """Return this cache, with the same bound, for the keys that begin so."""
        part = copy(self)
        part._prefix = prefix
        return part

    def get(self, key: str, form: Hashable) -> CachedResponse | None:
        """Return a cached response that is current."""
        key = self._prefix + key
        entry = self._entries.peek(key)
        if entry is None:
            return None
        cached = entry.forms.get(form)
        if cached is None or not entry.is_current():
            return None
        self._entries.touch(key)
        return cached

    def revalidate(self, key: str, snapshot: Snapshot[Any], form: Hashable) -> Response | None:
        """Return a response rendered from this very page, and adopt the validity of its new snapshot."""
        entry = self._entries.peek(self._prefix + key)
        if entry is None or not entry.is_of(snapshot):
            return None
        entry.is_current = snapshot.is_current
        cached = entry.forms.get(form)
        return None if cached is None else cached.response

    def put(
        self,
        key: str,
        snapshot: Snapshot[Any],
        form: Hashable,
        response: Response,
        offers: Offers | None = None,
    ) -> None:
        """
        Cache a response. Responses rendered from another page under the same key are dropped.

        Args:
            key: From `page_key`.
            snapshot: Of the page; of None for an absent one.
            form: The representation.
            response: Its body is bytes.
            offers: What a project page has for installers.
        """
        key = self._prefix + key
        entry = self._entries.peek(key)
        if entry is None or not entry.is_of(snapshot):
            page = _no_page if snapshot.value is None else ref(snapshot.value)
            entry = _Entry(page, snapshot.is_current, snapshot.serial, Askers(offers))
        entry.is_current = snapshot.is_current
        assert isinstance(response.body, bytes)
        forms = SerializedForms(response, self._common_headers, len(response.body), response.body)
        entry.forms[form] = CachedResponse(response, forms, entry.askers)
        self._entries.put(key, entry)

    def askers(self, key: str) -> Askers | None:
        """Return the installers that asked for a page; None if no response of it is cached."""
        entry = self._entries.peek(self._prefix + key)
        return None if entry is None else entry.askers

    def drop(self, key: str) -> None:
        """Drop the responses of a page."""
        self._entries.pop(self._prefix + key)


def _no_page() -> None:
    """Replace the weak reference for an absent page."""


def _weight(entry: _Entry) -> int:
    """Return the bytes of the responses, with an estimate for the objects around each."""
    return sum(cached.forms.length + 3072 for cached in entry.forms.values())
