"""Lists in pages, with `Link` (https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api)."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() and int(text) > 0 else default


@dataclass
class Paging:
    """
    How a server cuts its lists.

    Attributes:
        size_name: The parameter for the number of items: "per_page" of GitHub, "limit" of Forgejo.
        largest: More than these are not given.
        has_links: Without: no `Link` at all.
        has_last: Without: no `rel="last"`.
        has_total: Forgejo's `X-Total-Count`.
    """

    size_name: str = "per_page"
    default: int = 30
    largest: int = 100
    has_links: bool = True
    has_last: bool = True
    has_total: bool = False

    def cut(
        self, items: Sequence[Any], query: Mapping[str, str], url: str
    ) -> tuple[list[Any], dict[str, str]]:
        """Give the page that the query asks for, and the header fields about it."""
        size = min(_number(query.get(self.size_name), self.default), self.largest)
        page = _number(query.get("page"), 1)
        last = max(1, -(-len(items) // size))
        headers = {"X-Total-Count": str(len(items))} if self.has_total else {}
        links = self._links(page, last, query, url)
        if self.has_links and links:
            headers["Link"] = links
        return list(items[(page - 1) * size : page * size]), headers

    def _links(self, page: int, last: int, query: Mapping[str, str], url: str) -> str:
        relations = {}
        if page > 1:
            relations["prev"] = min(page - 1, last)
        if page < last:
            relations |= {"next": page + 1} | ({"last": last} if self.has_last else {})
        if page > 1:
            relations["first"] = 1
        return ", ".join(
            f'<{url}?{urllib.parse.urlencode(dict(query) | {"page": number})}>; rel="{relation}"'
            for relation, number in relations.items()
        )
