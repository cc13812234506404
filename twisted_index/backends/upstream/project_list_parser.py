"""
Parses the list of projects of an upstream (PEPs 503, 691, and the serials that PyPI adds).

Pure, and slow for large lists: the caller runs it in a thread.
"""

from __future__ import annotations

import html
import json
import re
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from twisted_index.backends.upstream.api_check import MAX_ROOT, is_other_html
from twisted_index.backends.upstream.page_parser import ACCEPT_HTML, ACCEPT_JSON
from twisted_index.errors import BadGateway
from twisted_index.simple.names import is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of a list, decoded: that of PyPI has some 40 million.
MAX_LIST = 256 << 20
#: Limit of commas and brackets in a JSON list: the parser holds the GIL. A project has three or four.
_MAX_JSON_TOKENS = 8_000_000
#: A list has nothing but anchors, which a pattern finds far faster than a parser of HTML does. It never goes
#: beyond the next tag, so that tags without an end take one pass.
_ANCHOR = re.compile(
    rb"""<a\s[^<>]{0,2000}?\bhref\s*=\s*(?:"([^"<>]{0,2000}+)"|'([^'<>]{0,2000}+)')""", re.IGNORECASE
)


def parse_project_list(
    body: bytes, *, content_type: str, url: str, whole: bool = True
) -> dict[str, int | None]:
    """
    Parse a list of projects.

    Args:
        body: The decoded body, of bounded size.
        content_type: The Content-Type field; it alone decides the format.
        url: URL of the list after all redirects.
        whole: False if only the end of the connection delimited the body. HTML must then have an end tag.

    Returns:
        Normalized names, each with the serial that the list states for it; None without one.

    Raises:
        BadGateway: This is not a list of projects.
    """
    field = Message()
    field["Content-Type"] = content_type
    media_type = field.get_content_type() if content_type else ""
    if media_type in (*ACCEPT_JSON, "application/json"):
        return dict(_from_json(body))
    if media_type not in ACCEPT_HTML:
        raise BadGateway("The upstream sent something else than a list of projects.")
    if not whole and b"</html" not in body[-4096:].lower():
        raise BadGateway("The upstream's list of projects is truncated.")
    if len(body) <= MAX_ROOT and is_other_html(body, field.get_content_charset(), url):
        raise BadGateway("The upstream sent a web page instead of a list of projects.")
    return dict.fromkeys(_from_html(body))


def _from_json(body: bytes) -> Iterator[tuple[str, int | None]]:
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_JSON_TOKENS:
        raise BadGateway("The upstream's list of projects is larger than any.")
    try:
        document = json.loads(body)
    except (ValueError, MemoryError, RecursionError):
        raise BadGateway("The upstream's list of projects is not JSON.") from None
    projects = document.get("projects") if isinstance(document, dict) else None
    if not isinstance(projects, list):
        raise BadGateway("The upstream's list of projects has no projects.")
    for entry in projects:
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and is_valid_name(name):
            serial = entry.get("_last-serial")
            yield normalize(name), serial if type(serial) is int and serial >= 0 else None


def _from_html(body: bytes) -> Iterator[str]:
    for quoted, single in _ANCHOR.findall(body):
        try:
            path = urlsplit(html.unescape((quoted or single).decode("utf-8", "replace"))).path
        except ValueError:
            continue
        # The text of an anchor may be cut off, as in the listings of web servers.
        name = unquote(path.rstrip("/").rpartition("/")[2])
        if is_valid_name(name):
            yield normalize(name)
