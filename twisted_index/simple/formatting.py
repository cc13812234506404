"""Formatting of values that HTML, JSON and messages share."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import quote

from twisted_index.simple.model import Sidecar, Status

if TYPE_CHECKING:
    from datetime import datetime

    from twisted_index.simple.model import File, ProjectPage

#: The version of the simple API of all pages: added by PEP 792; PEP 833 froze HTML at it.
API_VERSION = "1.4"

# RFC 3986 section 2.3: unreserved characters, without a leading dot (`..` would be the parent folder).
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")

_USER = re.compile(r"(?<=://)[^/@\s]*@")


def without_users(text: str) -> str:
    """Remove users and passwords from the URLs in a text."""
    return _USER.sub("", text)


def quote_filename(filename: str) -> str:
    """
    Escape a file name as one segment of a URL's path (RFC 3986 section 3.3).

    All but unreserved characters are escaped. A colon could make a relative link look like one with a
    scheme, and some servers decode a bare `+` as a blank: clients send a link as it is or escape it, so
    only the escaped form is the same for all of them.
    """
    if _UNRESERVED.fullmatch(filename) is not None:
        return filename
    quoted = quote(filename, safe="", errors="replace")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def relative_url(file: File) -> str:
    """Return the URL of a file relative to the page of its project."""
    return quote_filename(file.filename)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 file`, `2,000 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


# Line breaks and tabs, and the two separators of Unicode.
_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")

#: What ends a sentence.
_ENDS = (".", "!", "?", "\N{HORIZONTAL ELLIPSIS}")
# Other control characters (Cc), and bidirectional ones.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Make one printable line of free text from a file: a reason, a specifier."""
    # Nearly all texts are printable, which takes a twentieth of the time to check.
    if not text.isprintable():
        text = _UNPRINTABLE.sub("", _BREAKS.sub(" ", text))
    return text.strip()


def sentence(clause: str, reason: str) -> str:
    """
    End a clause as a sentence, with the reason that somebody gave.

    Args:
        clause: How the sentence begins, without its end.
        reason: What was given, with or without a full stop; empty for nothing.
    """
    reason = one_line(reason)
    text = f"{clause}: {reason}" if reason else clause
    return text if reason.endswith(_ENDS) else f"{text}."


def printable(text: str) -> str:
    """Make any text printable, such as a path: invisible characters are escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def format_upload_time(moment: datetime) -> str:
    """
    Format a time as `yyyy-mm-ddThh:mm:ss[.ffffff]Z` (PEP 700, "upload-time").

    Args:
        moment: Aware. Clients reject the whole page for any offset but Z.
    """
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat()[: -len("+00:00")] + "Z"


def core_metadata(file: File) -> str | None:
    """
    Return the digest of a file's core metadata, as offered on a page (PEP 714).

    Returns:
        Its SHA-256; empty if it can be fetched but its digest is unknown; None if there is none, or if
        the file is not a wheel. (The metadata of an sdist holds for the wheel built from it only under
        the conditions of PEP 643.)
    """
    if file.core_metadata is None or not file.filename.endswith(".whl"):
        return None
    return file.core_metadata.get("sha256", "")


def yank_reason(file: File) -> str | None:
    """Return why a file is yanked (PEP 592): empty without a reason, None if it is not yanked."""
    return None if file.yanked is None else one_line(file.yanked.reason)


def provenance_base_url(project: str, public_url: str | None) -> str | None:
    """
    Return the base URL of the provenance of a project's local files.

    Args:
        project: Normalized.
        public_url: URL of the index; None if it is not configured.

    Returns:
        Absolute, with a trailing slash; None without https, which PEP 740 requires.
    """
    if public_url is None or not public_url.lower().startswith("https://"):
        return None
    return f"{public_url.rstrip('/')}/simple/{project}/"


def provenance_url(file: File, folder: str | None) -> str | None:
    """
    Return the URL of a file's provenance (PEP 740).

    Args:
        file: The file.
        folder: From `provenance_base_url`.

    Returns:
        An absolute https URL; None if there is no provenance or no such URL.
    """
    if file.provenance_url is not None:
        return file.provenance_url if file.provenance_url.lower().startswith("https://") else None
    if folder is None or Sidecar.PROVENANCE not in file.sidecars:
        return None
    return folder + quote_filename(file.filename) + Sidecar.PROVENANCE.value


def offered_files(page: ProjectPage) -> tuple[File, ...]:
    """Return the files that a page may list: none of a quarantined project (PEP 792)."""
    return () if page.status.status is Status.QUARANTINED else page.files


def offered_versions(page: ProjectPage) -> tuple[str, ...]:
    """Return the versions that a page may list: none of a quarantined project, as it offers no files."""
    return () if page.status.status is Status.QUARANTINED else page.versions
