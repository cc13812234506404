"""
Parser for plain request heads.

Only plain heads may take the fast path, so the parser accepts little: anything ambiguous (a body, a folded
or repeated field, a bare line feed) is left to Twisted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote_to_bytes

from twisted_index.access.fingerprint import fingerprint
from twisted_index.http_semantics.negotiation import document_format
from twisted_index.indexes.scope import PLAIN, split_scope
from twisted_index.statistics.downloads import OpenCount
from twisted_index.web.requests.download_client import client_of
from twisted_index.web.requests.routes import Endpoint, match_route
from twisted_index.web.requests.user_agent import interpreter_of
from twisted_index.web.responses.response_cache import list_key, negotiate_representation, page_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from twisted_index.indexes.scope import Scope
    from twisted_index.metrics.counters import Kind
    from twisted_index.simple.interpreters import Interpreter
    from twisted_index.statistics.rows import Client
    from twisted_index.web.responses.response_cache import Representation
    from twisted_index.web.server.log_formats import LogFormat

T = TypeVar("T")

#: Fields that select a response which is not cached, or announce a body.
_UNUSUAL = frozenset(
    {
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
#: Fields in which proxies name their client, for the access log alone.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
#: Bytes up to which a head is memoized (installers send some 600), and the number of entries.
_MAX_MEMOIZED = 2048
_MEMO_SIZE = 1024

# RFC 9112 sections 3 and 5, without what is legal and rare. The target is a path without a query,
# and visible ASCII; a field is a name, a colon and visible ASCII.
_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[!\"$-;=@-~]*) HTTP/1\.1")
_PAGE = re.compile(rb"/simple/([a-z0-9-]+)/")
_FIELDS = re.compile(rb"(?:\r\n[A-Za-z0-9-]+:[ -~]*)+\r\n\r\n")
_HOST = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFields:
    """
    The fields of a plain head.

    Attributes:
        representation: The negotiated representation of a page.
        document: The name of the negotiated format of an error.
        if_none_match: The field; None without one.
        logged: Referer and User-Agent, as the access log has them.
        interpreter: What an installer installs for; None for other clients.
        client: The kind of the client, for the statistics.
        forwarded: The fields in which proxies name their client: one value each, by lower-case name.
        credentials: The fingerprint of Authorization; None without one.
        stated_user: The same for the fields in which proxies state a user and groups.
        closes: Whether the client sends no more requests.
    """

    representation: Representation
    document: str
    if_none_match: bytes | None
    logged: str
    interpreter: Interpreter | None
    client: Client
    forwarded: Mapping[bytes, Sequence[bytes]]
    credentials: bytes | None
    stated_user: Mapping[bytes, Sequence[bytes]]
    closes: bool


@dataclass(slots=True, eq=False)
class HeadDownload:
    """
    A file that the same head asks for over and over.

    Attributes:
        filename: Its name.
        count: Where its downloads are counted, as long as that is open.
    """

    filename: str
    count: OpenCount = field(default_factory=OpenCount)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """
    A plain request head. No tuple, since Python reads the fields of one several times slower.

    Attributes:
        method: GET or HEAD.
        path: The request target as it was sent.
        page: The cache key of the page that the path names (`page_key`); None unless the path below its scope
            is `/simple/` or `/simple/NAME/`.
        scope: What the path is about.
        project: The normalized name of the project whose page or file the path names; empty for any other
            path.
        kind: What is counted.
        logged: The request line, as the access log has it.
        is_plain_get: Whether it is a GET without a precondition, on a connection that goes on.
        interpreter: What an installer asks for a project page for; None for anything else.
        download: What a GET of a file counts as; None for anything else, as for a sidecar.
    """

    method: bytes
    path: bytes
    scope: Scope
    page: str | None
    project: str
    fields: HeadFields
    kind: Kind
    logged: str
    is_plain_get: bool
    interpreter: Interpreter | None
    download: HeadDownload | None


class HeadParser:
    """
    Parses plain heads, and memoizes them: clients send the same fields over and over.

    Heads with credentials, and heads that are not plain and may have some, are memoized by fingerprints.

    Args:
        max_uri: Bytes of the longest plain target.
        max_header: Bytes of the longest plain head.
        log_format: How the access log has what it logs of a head.
        user_fields: See `TrustedProxies`.
    """

    def __init__(
        self, *, max_uri: int, max_header: int, log_format: LogFormat, user_fields: Collection[bytes] = ()
    ) -> None:
        self._max_uri = max_uri
        self._max_header = max_header
        self._log_format = log_format
        self._user_fields = user_fields
        self._heads: dict[bytes, RequestHead] = {}
        self._fields: dict[bytes, HeadFields | None] = {}

    def parse(self, data: bytes) -> RequestHead | None:
        """Parse what a channel received while awaiting a request; None unless exactly one plain head."""
        head = self._heads.get(data)
        if head is None:
            head = self._heads.get(fingerprint(data))
        if head is None:
            head = self._read(data)
            if head is not None:
                _memoize(self._heads, data, head, secret=head.fields.credentials is not None)
        return head

    def _read(self, data: bytes) -> RequestHead | None:
        end = data.find(b"\r\n")
        match = _REQUEST_LINE.fullmatch(data, 0, end) if end > 0 else None
        if match is None or end > self._max_uri or len(data) > self._max_header:
            return None
        fields = self._read_fields(data[end:])
        if fields is None:
            return None
        is_plain_get = match[1] == b"GET" and fields.if_none_match is None and not fields.closes
        logged = self._log_format.request(match[1], match[2], b"HTTP/1.1")
        scope, path = _split(match[2])
        page = _page_of(path)
        project, filename = _file_of(path) if page is None else (page, "")
        kind: Kind = "file" if page is None else "page" if page else "list"
        interpreter = fields.interpreter if page else None
        if kind == "list":
            page = list_key(fields.representation.format)
        download = HeadDownload(filename) if filename and match[1] == b"GET" else None
        return RequestHead(
            match[1],
            match[2],
            scope,
            page,
            project,
            fields,
            kind,
            logged,
            is_plain_get,
            interpreter,
            download,
        )

    def _read_fields(self, rest: bytes) -> HeadFields | None:
        fields = self._fields.get(rest)
        if fields is not None:
            return fields
        key = fingerprint(rest)
        if key in self._fields:
            return self._fields[key]
        fields = parse_fields(rest, self._log_format, self._user_fields)
        _memoize(self._fields, rest, fields, secret=fields is None or fields.credentials is not None)
        return fields


def _memoize(memo: dict[bytes, T], data: bytes, parsed: T, *, secret: bool) -> None:
    if len(data) <= _MAX_MEMOIZED:
        if len(memo) >= _MEMO_SIZE:
            memo.clear()
        memo[fingerprint(data) if secret else data] = parsed


def _split(path: bytes) -> tuple[Scope, bytes]:
    """Return the scope of a path and the rest; an empty rest, which names nothing, for what is not cached."""
    if not path.startswith(b"/+"):
        return PLAIN, path
    segments = path[1:].split(b"/")
    scope, taken, is_known = split_scope([unquote_to_bytes(segment) for segment in segments])
    # Responses of drafts are not cached.
    rest = b"/".join((b"", *segments[taken:])) if is_known and not scope.draft else b""
    return scope, rest


def _page_of(path: bytes) -> str | None:
    """Return the cache key of the page that a path names. Only pages of normalized names are cached."""
    if path == b"/simple/":
        return page_key("")
    match = _PAGE.fullmatch(path)
    return None if match is None else page_key(match[1].decode("ascii"))


def _file_of(path: bytes) -> tuple[str, str]:
    """Return the project of a file or sidecar, and the name of a file; empty for what the path is not."""
    route = match_route([unquote_to_bytes(segment) for segment in path[1:].split(b"/")])
    if route.endpoint is not Endpoint.FILE:
        return "", ""
    return route.project, "" if route.sidecar is not None else route.filename


def parse_fields(
    rest: bytes, log_format: LogFormat, user_fields: Collection[bytes] = ()
) -> HeadFields | None:
    """
    Parse the fields of a head.

    Args:
        rest: The data after the request line, from its line end on.
        log_format: How the access log has what it logs of them.
        user_fields: See `TrustedProxies`.

    Returns:
        None unless it is one block of plain fields without repetitions, with a plain Host.
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
    connection = fields.get(b"connection", b"keep-alive").lower()
    if connection not in (b"keep-alive", b"close"):
        return None
    accept, authorization = fields.get(b"accept"), fields.get(b"authorization")
    return HeadFields(
        representation=negotiate_representation(accept, fields.get(b"accept-encoding")),
        document=document_format(accept).name,
        if_none_match=fields.get(b"if-none-match"),
        logged=log_format.fields(fields.get(b"referer"), fields.get(b"user-agent")),
        interpreter=interpreter_of(fields.get(b"user-agent")),
        client=client_of(fields.get(b"user-agent")),
        forwarded=_picked(fields, _FORWARDED),
        credentials=None if authorization is None else fingerprint(authorization),
        stated_user=_picked(fields, user_fields),
        closes=connection == b"close",
    )


def _picked(fields: Mapping[bytes, bytes], names: Collection[bytes]) -> dict[bytes, Sequence[bytes]]:
    """Return the values of some of the fields, as where a field may be repeated."""
    return {name: (fields[name],) for name in names if name in fields}
