"""
Conditional requests: entity tags, HTTP dates and preconditions (RFC 9110 sections 8.8 and 13).

Twisted's own checks support neither lists nor weak tags nor the order of precedence.

Out of scope: choosing an ETag, sending the response.
"""

from __future__ import annotations

import calendar
import email.utils
import enum
import math
import re
from datetime import UTC, datetime

#: The range of HTTP dates, in seconds: the years 1 to 9999. Times of files can be outside.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class Precondition(enum.Enum):
    """The outcome of the preconditions of a request."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"  # respond with 304
    FAILED = "failed"  # respond with 412


def evaluate(
    *,
    method: bytes,
    etag: bytes | None,
    modified: float | None,
    if_match: bytes | None,
    if_none_match: bytes | None,
    if_modified_since: bytes | None,
    if_unmodified_since: bytes | None,
) -> Precondition:
    """
    Evaluate the preconditions of a request in their order of precedence (RFC 9110 section 13.2.2).

    Args:
        method: The request method.
        etag: The ETag of the selected representation, with its quotes; None if it has none.
        modified: Its Last-Modified, in seconds since the epoch; None if it has none.
        if_match: The value of the If-Match field; None without the field. Several lines of one field
            are joined by ", ".
        if_none_match: The If-None-Match field.
        if_modified_since: The If-Modified-Since field. Ignored if malformed, like all dates.
        if_unmodified_since: The If-Unmodified-Since field.
    """
    if not _may_proceed(etag, modified, if_match, if_unmodified_since):
        return Precondition.FAILED
    is_read = method in (b"GET", b"HEAD")
    if if_none_match is not None:
        if not weak_match(if_none_match, etag):
            return Precondition.PROCEED
        return Precondition.NOT_MODIFIED if is_read else Precondition.FAILED
    if is_read and if_modified_since is not None and _unmodified_since(if_modified_since, modified):
        return Precondition.NOT_MODIFIED
    return Precondition.PROCEED


def _may_proceed(
    etag: bytes | None, modified: float | None, if_match: bytes | None, if_unmodified_since: bytes | None
) -> bool:
    """Evaluate If-Match or, without it, If-Unmodified-Since, which guard against lost updates."""
    if if_match is not None:
        return _is_any(if_match) or any(tag == etag for tag in _strong_tags(if_match))
    return if_unmodified_since is None or _unmodified_since(if_unmodified_since, modified) is not False


def _unmodified_since(date: bytes, modified: float | None) -> bool | None:
    """Compare with a date, in whole seconds; None if one of the two is unknown."""
    since = parse_http_date(date)
    if since is None or modified is None:
        return None
    return math.floor(modified) <= since


# --- Entity tags ----------------------------------------------------------------------------------

_entity_tags = re.compile(rb'(W/)?("[^"]*")').findall  # RFC 9110 section 8.8.3


def weak_match(header: bytes, etag: bytes | None) -> bool:
    """
    Whether an If-None-Match matches this tag (RFC 9110 sections 13.1.2 and 8.8.3.2).

    Args:
        header: `*`, or a list of tags.
        etag: With its quotes; None for a representation without a tag.
    """
    if header == etag:  # nearly every client sends exactly the one tag that it received
        return True
    if _is_any(header):
        return True
    opaque = etag and etag.removeprefix(b"W/")
    return any(tag == opaque for _, tag in _entity_tags(header))


def if_range_matches(header: bytes, etag: bytes | None, modified: float | None) -> bool:
    """
    Whether a range may be sent rather than the whole file (RFC 9110 section 13.1.5).

    Args:
        header: The value of If-Range: one tag or one date.
        etag: The ETag of the file, with its quotes; None if it has none.
        modified: Its Last-Modified, in seconds since the epoch; None if it has none.

    Returns:
        True only if the tags are equal and strong, or the dates equal to the second.
    """
    if b'"' in header:
        return header.strip() == etag and not header.lstrip().startswith(b"W/")
    return modified is not None and parse_http_date(header) == math.floor(modified)


def _is_any(header: bytes) -> bool:
    return header.strip() == b"*"


def _strong_tags(header: bytes) -> list[bytes]:
    return [tag for weak, tag in _entity_tags(header) if not weak]


# --- Dates ----------------------------------------------------------------------------------------

_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_CLOCK = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"

#: RFC 9110 section 5.6.7: the format to send, and the two obsolete ones that recipients must parse.
_DATES = (
    re.compile(_DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _CLOCK + rb" GMT"),
    re.compile(_LONG_DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _CLOCK + rb" GMT"),
    re.compile(_DAY + b" " + _MONTH + rb" (?P<day>[ \d]\d) " + _CLOCK + rb" (?P<year>\d{4})"),
)


def parse_http_date(value: bytes) -> int | None:
    """
    Parse a date in one of the three formats of HTTP (RFC 9110 section 5.6.7).

    Args:
        value: The value of a field.

    Returns:
        Seconds since the epoch; None if malformed: then the field is ignored.
    """
    value = value.strip()
    match = next(filter(None, (form.fullmatch(value) for form in _DATES)), None)
    return None if match is None else _seconds(match)


def _seconds(match: re.Match[bytes]) -> int | None:
    year, day, hour, minute, second = (
        int(match[part]) for part in ("year", "day", "hour", "minute", "second")
    )
    if len(match["year"]) == 2:
        year += 1900 if year >= 70 else 2000  # nothing on the web is older than the epoch
    try:
        date = datetime(year, _MONTHS.index(match["month"]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return calendar.timegm(date.timetuple())


def format_http_date(seconds: float) -> bytes:
    """
    Write a date of HTTP (RFC 9110 section 5.6.7).

    Args:
        seconds: Since the epoch. A fraction is dropped, so that the date is never later than the
            time.
    """
    whole = min(max(math.floor(seconds), _FIRST_SECOND), _LAST_SECOND)
    return email.utils.formatdate(whole, usegmt=True).encode("ascii")
