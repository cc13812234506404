"""
A plain request head, read in one go; None for all that is not plain.

Only what this accepts may be answered on the short way, so it accepts little: whatever could mean
more than it seems (a body, a fold, a repeated field, a bare line feed) goes the ordinary way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from twisted_index.http_rules.negotiate import document_format
from twisted_index.web.prepared import form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.web.prepared import Form

T = TypeVar("T")

#: Fields that change the answer in ways which are not prepared, or announce a body.
_UNUSUAL = frozenset(
    {
        b"authorization",
        b"content-length",
        b"cookie",
        b"expect",
        b"http2-settings",
        b"if-match",
        b"if-modified-since",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
    }
)
#: What a proxy says of the client; matters to the access log alone.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
#: Bytes of a head that is remembered: installers send some 600. And how many are remembered.
_MAX_REMEMBERED = 2048
_MOST_REMEMBERED = 1024

# RFC 9112 sections 3 and 5, without what is legal and rare. The target is a path without a query,
# and visible ASCII; a field is a name, a colon and visible ASCII.
_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[!\"$-;=@-~]*) HTTP/1\.1")
_PAGE = re.compile(rb"/simple/([a-z0-9-]+)/")
_FIELDS = re.compile(rb"(?:\r\n[A-Za-z0-9-]+:[ -~]*)+\r\n\r\n")
_HOST = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """
    What the fields of a plain head ask for.

    Attributes:
        form: The form of a page.
        document: The name of the form of a sentence.
        if_none_match: The field, if it is there.
        agent: User-Agent, for the log.
        referrer: Referer, likewise.
        forwarded: What proxies say of the client, by lower-case name.
    """

    form: Form
    document: str
    if_none_match: bytes | None
    agent: bytes
    referrer: bytes
    forwarded: Mapping[bytes, bytes]


class Head(NamedTuple):
    """
    A plain request.

    Attributes:
        method: GET or HEAD.
        path: As it was sent.
        page: The project whose page the path names, empty for the project list; None if it names
            no page of the recommended URL.
        fields: What else it asks for.
    """

    method: bytes
    path: bytes
    page: str | None
    fields: Fields


class HeadReader:
    """
    Reads heads, and remembers what fields mean: a client sends the same ones over and over.

    Args:
        max_uri: In bytes; longer targets are not plain.
        max_header: Likewise, of the whole head.
    """

    def __init__(self, *, max_uri: int, max_header: int) -> None:
        self._max_uri = max_uri
        self._max_header = max_header
        self._heads: dict[bytes, Head] = {}
        self._fields: dict[bytes, Fields | None] = {}

    def read(self, data: bytes) -> Head | None:
        """Read what has come on a connection that waited for a request; None unless it is one plain head."""
        head = self._heads.get(data)
        if head is None:
            head = self._read(data)
            if head is not None:
                _remember(self._heads, data, head)
        return head

    def _read(self, data: bytes) -> Head | None:
        end = data.find(b"\r\n")
        match = _REQUEST_LINE.fullmatch(data, 0, end) if end > 0 else None
        if match is None or end > self._max_uri or len(data) > self._max_header:
            return None
        rest = data[end:]
        if rest in self._fields:
            fields = self._fields[rest]
        else:
            fields = read_fields(rest)
            _remember(self._fields, rest, fields)
        return None if fields is None else Head(match[1], match[2], _page_of(match[2]), fields)


def _remember(memory: dict[bytes, T], data: bytes, meaning: T) -> None:
    if len(data) <= _MAX_REMEMBERED:
        if len(memory) >= _MOST_REMEMBERED:
            memory.clear()
        memory[data] = meaning


def _page_of(path: bytes) -> str | None:
    """Give the project whose page a path names, as it is spelled: only a normalized name is prepared."""
    if path == b"/simple/":
        return ""
    match = _PAGE.fullmatch(path)
    return None if match is None else match[1].decode("ascii")


def read_fields(rest: bytes) -> Fields | None:
    """
    Read the fields of a head.

    Args:
        rest: From the end of the request line to the end of the data.

    Returns:
        None unless they are one block of plain fields, each there once, with a plain Host.
    """
    if _FIELDS.fullmatch(rest) is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in rest[2:-4].split(b"\r\n"):
        name, _colon, value = line.partition(b":")
        name = name.lower()
        if name in fields or name in _UNUSUAL:
            return None
        fields[name] = value.strip(b" ")
    if _HOST.fullmatch(fields.get(b"host", b"")) is None:
        return None
    if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    accept = fields.get(b"accept")
    return Fields(
        form=form_of(accept, fields.get(b"accept-encoding")),
        document=document_format(accept).name,
        if_none_match=fields.get(b"if-none-match"),
        agent=fields.get(b"user-agent", b"-"),
        referrer=fields.get(b"referer", b"-"),
        forwarded={name: fields[name] for name in fields.keys() & _FORWARDED},
    )
