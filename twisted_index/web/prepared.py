"""
The finished forms of a page: JSON, HTML, each as it is and compressed.

Made once, when first asked for, and kept as long as the page is the same value.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

from twisted_index.http_rules.negotiate import Format, accepts_gzip, simple_format
from twisted_index.simple import html_page, json_page
from twisted_index.web.response import NO_SCRIPTS, NOSNIFF, REVALIDATE, Response
from twisted_index.web.wire import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted_index.interfaces import Snapshot
    from twisted_index.simple.model import ProjectList, ProjectPage
    from twisted_index.web.response import Headers
    from twisted_index.web.wire import Wire


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """
    A form of a page. There is one object for each, so that it is looked up by identity.

    Attributes:
        format: How it is written.
        compressed: Whether by gzip.
    """

    format: Format
    compressed: bool


_FORMS = {(one, packed): Form(one, packed) for one in Format for packed in (False, True)}


def form_of(accept: bytes | None, accept_encoding: bytes | None) -> Form:
    """Choose a form by the two fields of a request."""
    return _FORMS[simple_format(accept), accepts_gzip(accept_encoding)]


def form_as(content_format: Format, accept_encoding: bytes | None) -> Form:
    """Choose a form whose format is given."""
    return _FORMS[content_format, accepts_gzip(accept_encoding)]


#: Beyond level 6 pages hardly shrink, and some grow.
_GZIP_LEVEL = 6
_VARY = ((b"Vary", b"Accept, Accept-Encoding"),)


def prepare_list(project_list: ProjectList, form: Form) -> Response:
    """Write the project list in one form."""
    writer = json_page if form.format is Format.JSON else html_page
    return _finish(writer.write_project_list(project_list), form)


def prepare_page(page: ProjectPage, form: Form, public_url: str | None) -> Response:
    """Write a project page in one form."""
    writer = json_page if form.format is Format.JSON else html_page
    return _finish(writer.write_project_page(page, public_url=public_url), form)


def prepare_html(body: bytes, compressed: bool) -> Response:
    """Give an HTML page that is no page of the simple API what such a page has: a tag, and a coding."""
    return _finish(body, _FORMS[Format.HTML, compressed])


def _finish(body: bytes, form: Form) -> Response:
    content_format = form.format
    headers = ((b"Content-Type", content_format.content_type), *_VARY, *REVALIDATE, *NOSNIFF)
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A response, and the same as bytes."""

    response: Response
    wire: Wire


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
    forms: dict[Hashable, Prepared] = field(default_factory=dict)


class PreparedAnswers:
    """
    Keeps prepared answers by key and form, bounded by their bytes.

    Args:
        limit: In bytes; beyond it, the pages that were asked for longest ago are dropped.
        always: Fields that every answer has.
    """

    def __init__(self, limit: int, always: Headers) -> None:
        self._limit = limit
        self._always = always
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def ready(self, key: str, form: Hashable) -> Prepared | None:
        """Give an answer that has been made and is true now."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        prepared = kept.forms.get(form)
        if prepared is None or not kept.still_true():
            return None
        self._kept.move_to_end(key)
        return prepared

    def find(self, key: str, snapshot: Snapshot[Any], form: Hashable) -> Response | None:
        """Give an answer that was made of this very page, and take over the page's new truth."""
        kept = self._kept.get(key)
        if kept is None or kept.page() is not snapshot.value:
            return None
        kept.still_true = snapshot.still_true
        prepared = kept.forms.get(form)
        return None if prepared is None else prepared.response

    def keep(self, key: str, snapshot: Snapshot[Any], form: Hashable, response: Response) -> None:
        """Keep an answer. Answers made of another page under the same key are dropped."""
        kept = self._kept.get(key)
        if kept is None or kept.page() is not snapshot.value:
            self.drop(key)
            page = _nothing if snapshot.value is None else ref(snapshot.value)
            kept = self._kept[key] = _Kept(page, snapshot.still_true)
        assert isinstance(response.body, bytes)
        wire = compose(response, self._always, len(response.body), response.body)
        self._bytes -= _weight(kept.forms[form]) if form in kept.forms else 0
        kept.forms[form] = Prepared(response, wire)
        self._kept.move_to_end(key)
        self._bytes += _weight(kept.forms[form])
        while self._bytes > self._limit and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str) -> None:
        """Forget a page."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= sum(map(_weight, kept.forms.values()))


def _nothing() -> None:
    """Stand for the reference to a page that is not there."""


def _weight(prepared: Prepared) -> int:
    """Count the bytes of an answer, with about what the objects around it take."""
    return len(prepared.wire.body) + 2048
