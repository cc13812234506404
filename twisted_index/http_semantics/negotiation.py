"""
Which representation a client gets: content negotiation of RFC 9110 section 12.5 for an index.

The rule for pages suits every installer in the field. A client that names JSON and prefers nothing to
it gets JSON; one that leaves the choice to the server gets `text/html`, because some (browsers, curl,
old pips) then look for anchors. There is no 406: PEP 691 permits a default, and a readable page beats
an error. Nothing here ever raises.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    F = TypeVar("F", "Format", "DocumentFormat")
    T = TypeVar("T")

#: Bytes of a field value that is remembered with its answer. Those of installers and browsers have
#: some 150; longer ones are worked out each time, so that they cannot fill the memory.
CACHE_SIZE = 512


class Format(enum.Enum):
    """A serialization of the simple API (PEP 691); the value is its media type."""

    JSON = b"application/vnd.pypi.simple.v1+json"
    HTML_V1 = b"application/vnd.pypi.simple.v1+html"
    HTML = b"text/html"

    @property
    def content_type(self) -> bytes:
        """The Content-Type: never `latest` (PEP 691), and in lower case, since uv compares so."""
        return _content_type(self.value)


class DocumentFormat(enum.Enum):
    """A form of error sentences and of operations pages; the value is its media type."""

    JSON = b"application/json"
    HTML = b"text/html"
    TEXT = b"text/plain"

    @property
    def content_type(self) -> bytes:
        """The Content-Type; `application/json` without a parameter, since uv compares it whole."""
        return _content_type(self.value)


def _content_type(media_type: bytes) -> bytes:
    return media_type if media_type.endswith(b"json") else media_type + b"; charset=utf-8"


# `latest` is whichever version the server likes (PEP 691).
_SIMPLE_JSON = (Format.JSON.value, b"application/vnd.pypi.simple.latest+json")
_SIMPLE_HTML = (Format.HTML_V1.value, b"application/vnd.pypi.simple.latest+html")

# What names each format. The order is from the most featureful to the plainest.
_FORMATS = {Format.JSON: _SIMPLE_JSON, Format.HTML_V1: _SIMPLE_HTML, Format.HTML: (b"text/html",)}
_DOCUMENT_FORMATS = {
    DocumentFormat.JSON: (b"application/json", *_SIMPLE_JSON),
    DocumentFormat.HTML: (b"text/html", *_SIMPLE_HTML),
    DocumentFormat.TEXT: (b"text/plain",),
}
_FORMAT_OF_NAME = {name.decode(): form for form, names in _FORMATS.items() for name in names}


# --- The questions --------------------------------------------------------------------------------


def _remembered(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Keep the answers to short values: clients send few distinct ones, again and again."""
    remembered = functools.lru_cache(maxsize=256)(function)

    @functools.wraps(function)
    def ask(value: bytes) -> T:
        return remembered(value) if len(value) <= CACHE_SIZE else function(value)

    return ask


def simple_format(accept: bytes | None) -> Format:
    """
    Choose the format of a page.

    Args:
        accept: The value of Accept, several lines joined by ", "; None without the field.

    Returns:
        JSON if it is named and nothing weighs more; else what weighs most, by name before by
        wildcard; `text/html` if wildcards leave the choice, or nothing that there is is wanted.
    """
    return Format.HTML if accept is None else _simple_format(accept)


@_remembered
def _simple_format(accept: bytes) -> Format:
    return _heaviest(_FORMATS, accept, by_place=False)


def document_format(accept: bytes | None) -> DocumentFormat:
    """
    Choose the form of an error sentence, or of a page for operators.

    Args:
        accept: The value of Accept, several lines joined by ", "; None without the field.

    Returns:
        What weighs most; of equals the one that is named first; plain text if wildcards leave the
        choice (curl), or nothing that there is is wanted.
    """
    return DocumentFormat.TEXT if accept is None else _document_format(accept)


@_remembered
def _document_format(accept: bytes) -> DocumentFormat:
    return _heaviest(_DOCUMENT_FORMATS, accept, by_place=True)


def format_parameter(value: str) -> Format | None:
    """
    Read the `format` parameter of a URL (PEP 691), which overrules Accept.

    Args:
        value: Decoded. A blank stands for a `+` that was not percent-encoded.

    Returns:
        None if it names no format of the simple API.
    """
    return _FORMAT_OF_NAME.get(value.strip().replace(" ", "+").lower())


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """
    Tell whether an answer may be sent in gzip coding (RFC 9110 section 12.5.3).

    Args:
        accept_encoding: The value of Accept-Encoding, several lines joined by ", "; None without
            the field.

    Returns:
        False without the field too: it allows any coding then, but such clients often cannot
        decode one. False if `identity` is named and weighs more.
    """
    return accept_encoding is not None and _accepts_gzip(accept_encoding)


@_remembered
def _accepts_gzip(accept_encoding: bytes) -> bool:
    weights = _weights(accept_encoding)
    named = [weights[name] for name in (b"gzip", b"x-gzip") if name in weights]
    gzip = max(named, default=weights.get(b"*", _UNWANTED))
    return gzip.q > 0 and gzip.q >= weights.get(b"identity", _UNWANTED).q


# --- Weights --------------------------------------------------------------------------------------


class _Weight(NamedTuple):
    """
    How much a client wants something. The greater is wanted more.

    Attributes:
        q: From 0 (not at all) to 1 (RFC 9110 section 12.4.2).
        named: It was named, and is not only what a wildcard lets in.
        place: Settles what is left: the greater, the better.
    """

    q: float
    named: bool
    place: int


_UNWANTED = _Weight(0.0, False, 0)


def _heaviest(formats: dict[F, tuple[bytes, ...]], accept: bytes, *, by_place: bool) -> F:
    """
    Choose one of several formats.

    Args:
        formats: Each with the media types that name it, the most featureful first.
        accept: The value of Accept.
        by_place: Of formats that are named with equal weight, the one that is named first wins;
            otherwise the most featureful one. Where wildcards leave the choice, the plainest does.
    """
    weights = _weights(accept)

    def weight(ranked: tuple[int, F]) -> _Weight:
        rank, form = ranked
        found = _weight_of(formats[form], weights)
        if not found.named:
            return found._replace(place=rank)
        return found if by_place else found._replace(place=-rank)

    return max(enumerate(formats), key=weight)[1]


def _weight_of(names: tuple[bytes, ...], weights: dict[bytes, _Weight]) -> _Weight:
    """Find the weight of a format: the most specific range decides (RFC 9110 section 12.5.1)."""
    named = max((weights[name] for name in names if name in weights), default=None)
    if named is not None:
        return named if named.q else _UNWANTED
    for wildcard in (names[0].partition(b"/")[0] + b"/*", b"*/*"):
        if wildcard in weights:
            return weights[wildcard]._replace(named=False)
    return _UNWANTED


def _weights(value: bytes) -> dict[bytes, _Weight]:
    """Take apart a list of weighted tokens or media ranges; what is malformed is left out."""
    weights: dict[bytes, _Weight] = {}
    for place, element in enumerate(_unquoted(value).lower().split(b",")):
        name, *parameters = element.split(b";")
        q = _weight_in(parameters)
        if q is not None:
            weight = _Weight(q, True, -place)
            name = name.strip()
            weights[name] = max(weight, weights.get(name, weight))
    return weights


_quoted_string = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _unquoted(value: bytes) -> bytes:
    """Empty the quoted strings: they may hold commas, and we look for none of them."""
    return _quoted_string.sub(b'""', value) if b'"' in value else value


#: RFC 9110 section 12.4.2, without its bound of three digits after the point.
_is_weight = re.compile(rb"0(?:\.[0-9]*)?|1(?:\.0*)?").fullmatch


def _weight_in(parameters: Iterable[bytes]) -> float | None:
    """
    Read the weight among the parameters of a list element.

    Returns:
        From 0 to 1; None if the element cannot be used: the weight is malformed, or a parameter
        before it asks for a variant that there is not.
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
