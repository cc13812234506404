"""The pages of a list: `Link` fields (RFC 8288), and the number of a page in its URL. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.github.repository import Repository

# Without `<` in a target, so that a field of many of them takes no quadratic time.
_LINK = re.compile(r"<([^<>]*)>([^,<]*)")
_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)
_MAX_NUMBER = 9  # digits


def parse_links(values: Iterable[str], base: str, repository: Repository) -> dict[str, str]:
    """
    Parse Link fields.

    Args:
        values: The fields.
        base: The URL of the response.
        repository: At whose API its links have to lead.

    Returns:
        Normalized URLs of the next and the last page, by relation.

    Raises:
        BadGateway: A page cannot be requested, or is somewhere else.
    """
    links: dict[str, str] = {}
    for target, parameters in _LINK.findall(",".join(values)):
        relation = _RELATION.search(parameters)
        names = (relation[1] or relation[2] or "").lower().split() if relation else []
        links.update((name, target) for name in ("next", "last") if name in names and name not in links)
    return {name: repository.own_url(target, base) for name, target in links.items()}


def page_number(url: str) -> int | None:
    """Return the number of a page; None if its URL has none."""
    value = dict(parse_qsl(urlsplit(url).query)).get("page", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_NUMBER else None


def numbered(url: str, number: int) -> str:
    """Return the URL of another page of the same list."""
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "page"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("page", number)])))
