"""
A page of another index as parsed, with each value validated by itself.

Invalid values are left out, such as a size that is not a number. The caller decides which files belong to
the project, and resolves their URLs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twisted_index.simple._versions import are_specifiers
from twisted_index.simple.formatting import one_line
from twisted_index.simple.model import ProjectStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.simple.model import Yanked

#: Entries of a page. The largest known projects have some ten thousand files.
MAX_FILES = 200_000
#: Characters of a reason; the rest is cut off.
_MAX_REASON = 2000
#: Characters of a specifier set; real ones have less than a hundred.
_MAX_SPECIFIERS = 1024
#: Bytes; the largest signed 64-bit number.
_MAX_SIZE = 2**63 - 1

# Hex digits of the digests that hashlib has under these names. Clients interpret a `blake2b` of another
# length differently, so it is not accepted.
_DIGITS = {
    "sha256": 64,
    "sha512": 128,
    "sha384": 96,
    "sha224": 56,
    "blake2b": 128,
    "sha1": 40,
    "md5": 32,
}
_HEX = re.compile(r"[0-9a-f]+")


class InvalidPage(ValueError):
    """
    A page that cannot be one of the simple API.

    Attributes:
        reason: As the end of a sentence: "it is no JSON".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """
    One entry of a page.

    Attributes:
        url: As on the page; relative or absolute, not validated.
        name: The name of the file on the page, not validated; None without one.
        hashes: Known algorithms to lower-case hex digests.
        size: In bytes.
        upload_time: Aware, UTC.
        requires_python: A valid specifier set.
        core_metadata: The digests of `.metadata`, possibly none; None if it is not offered.
        yanked: None unless yanked.
        signed: Whether there is an `.asc`.
        provenance_url: An https URL.
    """

    url: str
    name: str | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    upload_time: datetime | None = None
    requires_python: str | None = None
    core_metadata: Mapping[str, str] | None = None
    yanked: Yanked | None = None
    signed: bool = False
    provenance_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPage:
    """
    A page.

    Attributes:
        files: In the order of the page.
        versions: As on the page.
        status: Active if the page states none or an unknown one.
        base: The base of relative URLs, if the page defines one.
        headings: Title and headings. None if the page is recognizable as one of the simple API; else it
            may be any web page.
    """

    files: tuple[ParsedFile, ...] = ()
    versions: tuple[str, ...] = ()
    status: ProjectStatus = field(default_factory=ProjectStatus)
    base: str | None = None
    headings: tuple[str, ...] | None = None


def valid_digests(values: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Return the digests of known algorithms with a well-formed value; the first of each algorithm."""
    digests: dict[str, str] = {}
    for algorithm, value in values:
        algorithm = algorithm.strip().lower()
        if not isinstance(value, str):
            continue
        value = value.strip().lower()
        if len(value) == _DIGITS.get(algorithm) and _HEX.fullmatch(value) is not None:
            digests.setdefault(algorithm, value)
    return digests


def parse_digests(text: str) -> dict[str, str]:
    """Read `sha256=…`, possibly several joined by `&`, possibly among other parameters (`egg=…`)."""
    pairs = (part.partition("=") for part in text.split("&"))
    return valid_digests((algorithm, value) for algorithm, _, value in pairs)


def parse_size(value: object) -> int | None:
    """Read a size; None if invalid."""
    # JSON's true is an int in Python.
    return value if type(value) is int and 0 <= value <= _MAX_SIZE else None


def parse_timestamp(value: object) -> datetime | None:
    """Read a time in ISO 8601 with an offset; None if invalid or without an offset, which is not guessed."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return None if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_specifiers(value: object) -> str | None:
    """Read a specifier set (PEP 440); None if invalid, because uv drops a file with an invalid one."""
    if not isinstance(value, str) or len(value) > _MAX_SPECIFIERS:
        return None
    text = one_line(value)
    return text if text and are_specifiers(text) else None


def parse_reason(value: object) -> str:
    """Read free text for users as one encodable line; empty unless it is a string."""
    if not isinstance(value, str):
        return ""
    text = value[:_MAX_REASON].encode("utf-8", "replace").decode()
    return one_line(text)


def parse_https_url(value: object) -> str | None:
    """Read an absolute https URL without a user (PEP 740); None if invalid."""
    if not isinstance(value, str) or len(value) > 8192 or not value.isascii() or not value.isprintable():
        return None
    try:
        parts = urlsplit(value)
        valid = parts.scheme.lower() == "https" and parts.hostname and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        return None
    return value if valid and " " not in value else None


def parse_project_status(marker: object, reason: object) -> ProjectStatus:
    """Parse a project status (PEP 792); an unknown one is active."""
    try:
        status = Status(marker)
    except ValueError:
        return ProjectStatus()
    return ProjectStatus(status=status, reason=parse_reason(reason))


def check_api_version(value: object) -> None:
    """
    Reject a page of another major version (PEP 629); a page without a version has 1.0.

    Raises:
        InvalidPage: The page has another major version.
    """
    major = value.strip().partition(".")[0] if isinstance(value, str) else "1"
    if major.isascii() and major.isdigit() and int(major[:9]) != 1:
        raise InvalidPage(f"it is of version {major[:9]} of the simple API")
