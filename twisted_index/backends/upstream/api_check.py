"""
Checks, when an upstream denies a project, that its URL is a simple API at all.

The URL of an index for people, or one without its last part (`simple/`), answers 404 for every name. That
must not count as "no such project": a later upstream would be asked for private names, and strangers
could answer for them.
"""

from __future__ import annotations

import json
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from twisted.logger import Logger

from twisted_index.backends.upstream.page_parser import ACCEPT_HTML, ACCEPT_JSON, is_listing_heading
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway, SimpleIndexError
from twisted_index.simple import html_parser
from twisted_index.simple.names import is_valid_name
from twisted_index.simple.parsed import InvalidPage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from twisted_index.http_client.client import HTTPResponse

_log = Logger()

#: Bytes of a page that is looked at; a longer one is the list of a large index.
MAX_ROOT = 1024 * 1024
#: Seconds after which a root is looked at again that could not be read, or showed something else: it may
#: have been down for maintenance.
_AGAIN = 60.0
#: Projects of which it is remembered that the upstream had them.
_MAX_SEEN_PROJECTS = 10_000


class APICheck:
    """
    Looks at the root of an upstream, and remembers what it saw.

    A root that cannot be read or judged says nothing: many indexes have no list of projects. Nor is it
    looked at once the upstream gave a page of a project, until it denies one that it had: a front end that
    has lost its index denies all of them. The next page, of whatever project, proves it again.

    Args:
        url: Of the upstream, for the log.
        check_root: Fetches the root, and says whether it shows something else than a simple API; None if
            there is nothing to be seen.
        now: Monotonic seconds.
    """

    def __init__(
        self, url: str, check_root: Callable[[], Coroutine[Any, Any, bool | None]], now: Callable[[], float]
    ) -> None:
        self._url = url
        self._look = check_root
        self._now = now
        self._looking = SingleFlight[str, bool](now)
        self._is_fine = False
        self._is_other = False
        self._had = LRU[str, None](_MAX_SEEN_PROJECTS)
        self._looked_at: float | None = None

    def record_page(self, project: str) -> None:
        """Note that the upstream gave a page of a project: so there is a simple API, whatever its root is."""
        self._is_fine, self._is_other = True, False
        self._had.put(project, None)

    async def check_denial(self, project: str, url: str) -> None:
        """
        Say whether the upstream can be believed that it has no such project.

        Args:
            project: A normalized name.
            url: Where it was denied, after all redirects.

        Raises:
            BadGateway: It has no simple API at this URL, so that its 404 means nothing.
        """
        if project in self._had:
            self._had.pop(project)
            self._is_fine = False
        if self._is_fine or self._is_led_to(project, url):
            return
        if self._looked_at is None or self._now() - self._looked_at >= _AGAIN:
            await self._looking.run("", self._judge)
        if self._is_other:
            raise BadGateway(
                f"It is unknown whether the upstream has {project}: the URL that is configured for it is"
                " not that of a simple API."
            )

    def _is_led_to(self, project: str, url: str) -> bool:
        """Tell whether names are led on to a simple API, as pypiserver leads /NAME/ to /simple/NAME/."""
        path, asked = urlsplit(url).path.rstrip("/"), urlsplit(self._url).path + project
        return path != asked and path.rpartition("/")[2] == project

    async def _judge(self) -> bool:
        was_other, is_first = self._is_other, self._looked_at is None
        try:
            shows_other = await self._look()
        except SimpleIndexError:
            shows_other = None  # and the next look may say more
        self._is_other, self._is_fine = shows_other is True, shows_other is False
        self._looked_at = self._now()
        if shows_other is None and is_first and not self._had:
            _log.warn(
                "{upstream} denies a project, shows no list of projects, and has given no page yet. If it"
                " denies all names, it is not the URL of a simple API (devpi's end in +simple/), and its own"
                " names are asked of the next upstream.",
                upstream=self._url,
            )
        if self._is_other and not was_other:
            _log.warn(
                "{upstream} is not the URL of a simple API: nothing there lists projects. Until it is mended,"
                " names that it does not have are an error, and no later upstream gets a request for them."
                " Perhaps its end is missing, as in {upstream}simple/ (devpi: +simple/).",
                upstream=self._url,
            )
        return self._is_other


def is_not_project_list(answer: HTTPResponse, body: bytes) -> bool:
    """
    Tell whether a page is surely not the list of projects of a simple API (PEPs 503, 691).

    Args:
        answer: With status 200.
        body: All of it.
    """
    field = Message()
    field["Content-Type"] = answer.header(b"Content-Type")
    media_type = field.get_content_type()
    if media_type in ACCEPT_JSON:
        return False
    if media_type in ACCEPT_HTML:
        return _is_other_html(body, field.get_content_charset(), answer.url)
    return media_type == "text/plain" or (media_type == "application/json" and _is_other_json(body))


def _is_other_json(body: bytes) -> bool:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return True
    return not isinstance(document, dict) or not isinstance(document.get("projects"), list)


def _is_other_html(body: bytes, charset: str | None, url: str) -> bool:
    """Tell whether a page has no mark of a list, and leads elsewhere more often than to its own folders."""
    try:
        stated = html_parser.parse_html_page(body, charset)
    except InvalidPage:
        return True
    if stated.headings is None or any(map(is_listing_heading, stated.headings)):
        return False
    links = [urljoin(stated.base or url, entry.url) for entry in stated.files]
    own = sum(_is_project(link, url) for link in links)
    return not own or own * 2 < len(links)


def _is_project(link: str, url: str) -> bool:
    """Tell whether a link leads one step below a URL, and not to the simple API itself."""
    try:
        parts, root = urlsplit(link), urlsplit(url)
    except ValueError:
        return False
    folder = root.path.rpartition("/")[0] + "/"
    name = parts.path.removeprefix(folder).removesuffix("/")
    is_below = parts.netloc == root.netloc and parts.path.startswith(folder)
    return is_below and is_valid_name(name) and name != "simple"
