"""
Content negotiation for an index (RFC 9110 section 12.5).

The rule for pages suits every known installer. A client that names JSON and prefers nothing to it gets
JSON; one that leaves the choice to the server gets `text/html`, because some (browsers, curl, old pips)
then look for anchors. There is no 406: PEP 691 permits a default, and a readable page is better than an
error. No function raises.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    F = TypeVar("F", "Format", "DocumentFormat", "TableFormat")
    T = TypeVar("T")

#: Bytes of a field value whose result is cached. Values of installers and browsers have some 150; longer
#: ones are evaluated each time, so that they cannot fill the memory.
CACHE_SIZE = 512


class Format(enum.Enum):
    """A serialization of the simple API (PEP 691); the value is its media type."""

    JSON = b"application/vnd.pypi.simple.v1+json"
    HTML_V1 = b"application/vnd.pypi.simple.v1+html"
    HTML = b"text/html"

    @property
    def content_type(self) -> bytes:
        """The Content-Type: never `latest` (PEP 691), and in lower case, since uv's comparison needs it."""
        return _content_type(self.value)


class DocumentFormat(enum.Enum):
    """A format of error messages and of operations pages; the value is its media type."""

    JSON = b"application/json"
    HTML = b"text/html"
    TEXT = b"text/plain"

    @property
    def content_type(self) -> bytes:
        """The Content-Type; `application/json` without a parameter, since uv compares it whole."""
        return _content_type(self.value)


class TableFormat(enum.Enum):
    """A format of a table for operators; the value is its media type (CSV: RFC 4180)."""

    JSON = b"application/json"
    HTML = b"text/html"
    CSV = b"text/csv"

    @property
    def content_type(self) -> bytes:
        """The Content-Type."""
        return _content_type(self.value)


def _content_type(media_type: bytes) -> bytes:
    return media_type if media_type.endswith(b"json") else media_type + b"; charset=utf-8"


# `latest` leaves the choice of the version to the server (PEP 691).
_SIMPLE_JSON = (Format.JSON.value, b"application/vnd.pypi.simple.latest+json")
_SIMPLE_HTML = (Format.HTML_V1.value, b"application/vnd.pypi.simple.latest+html")

# The media types that name each format, from the most featureful to the plainest.
_FORMATS = {Format.JSON: _SIMPLE_JSON, Format.HTML_V1: _SIMPLE_HTML, Format.HTML: (b"text/html",)}
_DOCUMENT_FORMATS = {
    DocumentFormat.JSON: (b"application/json", *_SIMPLE_JSON),
    DocumentFormat.HTML: (b"text/html", *_SIMPLE_HTML),
    DocumentFormat.TEXT: (b"text/plain",),
}
_TABLE_FORMATS: dict[TableFormat, tuple[bytes, ...]] = {
    TableFormat.CSV: (b"text/csv",),
    TableFormat.HTML: (b"text/html",),
    TableFormat.JSON: (b"application/json",),
}
_FORMAT_OF_NAME = {name.decode(): form for form, names in _FORMATS.items() for name in names}


# --- Negotiation ----------------------------------------------------------------------------------


def _memoized(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Cache the results for short values: clients send few distinct ones, again and again."""
    cached = functools.lru_cache(maxsize=256)(function)

    @functools.wraps(function)
    def wrapper(value: bytes) -> T:
        return cached(value) if len(value) <= CACHE_SIZE else function(value)

    return wrapper


def simple_format(accept: bytes | None) -> Format:
    """
    Choose the format of a page.

    Args:
        accept: The value of Accept, several lines joined by ", "; None without the field.

    Returns:
        JSON if it is named and nothing has a greater weight; else the format of the greatest weight,
        named ones first; `text/html` if wildcards leave the choice, or no format is acceptable.
    """
    return Format.HTML if accept is None else _simple_format(accept)


@_memoized
def _simple_format(accept: bytes) -> Format:
    return _most_preferred(_FORMATS, accept, by_place=False)


def document_format(accept: bytes | None) -> DocumentFormat:
    """
    Choose the format of an error message, or of a page for operators.

    Args:
        accept: The value of Accept, several lines joined by ", "; None without the field.

    Returns:
        The format of the greatest weight; among equals the one named first; plain text if wildcards
        leave the choice (curl), or no format is acceptable.
    """
    return DocumentFormat.TEXT if accept is None else _document_format(accept)


@_memoized
def _document_format(accept: bytes) -> DocumentFormat:
    return _most_preferred(_DOCUMENT_FORMATS, accept, by_place=True)


def table_format(accept: bytes | None) -> TableFormat:
    """
    Choose the format of a table, as `document_format` does; JSON if wildcards leave the choice.

    Args:
        accept: The value of Accept, several lines joined by ", "; None without the field.
    """
    return TableFormat.JSON if accept is None else _table_format(accept)


@_memoized
def _table_format(accept: bytes) -> TableFormat:
    return _most_preferred(_TABLE_FORMATS, accept, by_place=True)


def format_parameter(value: str) -> Format | None:
    """
    Read the `format` parameter of a URL (PEP 691), which overrides Accept.

    Args:
        value: Decoded. A blank stands for a `+` that was not percent-encoded.

    Returns:
        None unless it names a format of the simple API.
    """
    return _FORMAT_OF_NAME.get(value.strip().replace(" ", "+").lower())


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """
    Whether a response may be sent in gzip coding (RFC 9110 section 12.5.3).

    Args:
        accept_encoding: The value of Accept-Encoding, several lines joined by ", "; None without
            the field.

    Returns:
        Also False without the field: HTTP then allows any coding, but such clients often cannot decode
        one. False if `identity` is named with a greater weight.
    """
    return accept_encoding is not None and _accepts_gzip(accept_encoding)


@_memoized
def _accepts_gzip(accept_encoding: bytes) -> bool:
    weights = _weights(accept_encoding)
    named = [weights[name] for name in (b"gzip", b"x-gzip") if name in weights]
    gzip = max(named, default=weights.get(b"*", _NOT_ACCEPTABLE))
    return gzip.q > 0 and gzip.q >= weights.get(b"identity", _NOT_ACCEPTABLE).q


# --- Weights --------------------------------------------------------------------------------------


class _Weight(NamedTuple):
    """
    The preference of a client, ordered.

    Attributes:
        q: From 0 (not acceptable) to 1 (RFC 9110 section 12.4.2).
        named: Whether the client named the format; False if a wildcard matched it.
        place: The tie-breaker; the greater is preferred.
    """

    q: float
    named: bool
    place: int


_NOT_ACCEPTABLE = _Weight(0.0, False, 0)


def _most_preferred(formats: dict[F, tuple[bytes, ...]], accept: bytes, *, by_place: bool) -> F:
    """
    Choose one of several formats.

    Args:
        formats: Each with the media types that name it, the most featureful first.
        accept: The value of Accept.
        by_place: Among formats named with equal weight, whether the one named first wins, or the most
            featureful one. If wildcards leave the choice, the plainest wins.
    """
    weights = _weights(accept)

    def weight(ranked: tuple[int, F]) -> _Weight:
        rank, form = ranked
        result = _weight_of(formats[form], weights)
        if not result.named:
            return result._replace(place=rank)
        return result if by_place else result._replace(place=-rank)

    return max(enumerate(formats), key=weight)[1]


def _weight_of(names: tuple[bytes, ...], weights: dict[bytes, _Weight]) -> _Weight:
    """Find the weight of a format: the most specific range decides (RFC 9110 section 12.5.1)."""
    named = max((weights[name] for name in names if name in weights), default=None)
    if named is not None:
        return named if named.q else _NOT_ACCEPTABLE
    for wildcard in (names[0].partition(b"/")[0] + b"/*", b"*/*"):
        if wildcard in weights:
            return weights[wildcard]._replace(named=False)
    return _NOT_ACCEPTABLE


def _weights(value: bytes) -> dict[bytes, _Weight]:
    """Parse a list of weighted tokens or media ranges; malformed elements are left out."""
    weights: dict[bytes, _Weight] = {}
    for place, element in enumerate(_unquoted(value).lower().split(b",")):
        name, *parameters = element.split(b";")
        q = _parse_weight(parameters)
        if q is not None:
            weight = _Weight(q, True, -place)
            name = name.strip()
            weights[name] = max(weight, weights.get(name, weight))
    return weights


_quoted_string = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _unquoted(value: bytes) -> bytes:
    """Empty the quoted strings: they may contain commas, and their values are not needed."""
    return _quoted_string.sub(b'""', value) if b'"' in value else value


#: RFC 9110 section 12.4.2, without its limit of three digits after the point.
_is_weight = re.compile(rb"0(?:\.[0-9]*)?|1(?:\.0*)?").fullmatch


def _parse_weight(parameters: Iterable[bytes]) -> float | None:
    """
    Read the weight among the parameters of a list element.

    Returns:
        From 0 to 1; None if the element is unusable: the weight is malformed, or a parameter before it
        requests a variant that does not exist.
    """
    for name, value in _split(parameters):
        if name == b"q":
            return float(value) if _is_weight(value) else None
        if name and (name, value) != (b"charset", b"utf-8"):
            return None
    return 1.0


def _split(parameters: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        yield name.strip(), value.strip()
