"""
Checks, when an upstream denies a project, that its URL is a simple API at all.

An index's web site, or a URL without its last part (`simple/`), returns 404 for every name. That must not
count as "no such project": private names would be requested from a later upstream, where strangers could
register them.
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

#: Largest root in bytes that is parsed; a longer one is the list of a large index.
MAX_ROOT = 1024 * 1024
#: Seconds before another check of a root that was unreadable or not a simple API: it may have been down
#: for maintenance.
_RECHECK_AFTER = 60.0
#: Number of projects remembered as present on the upstream.
_MAX_SEEN_PROJECTS = 10_000


class APICheck:
    """
    Checks the root of an upstream, and remembers the result.

    A root that cannot be read or judged proves nothing: many indexes have no list of projects. Once the
    upstream has served a project page, the root is not checked until the upstream denies a project that
    it had: a front end that has lost its index denies all of them. The next page proves the API again.

    Args:
        url: URL of the upstream, for the log.
        check_root: Fetches the root and returns whether it is not a simple API; None if that is unknown.
        now: Returns monotonic seconds.
    """

    def __init__(
        self, url: str, check_root: Callable[[], Coroutine[Any, Any, bool | None]], now: Callable[[], float]
    ) -> None:
        self._url = url
        self._check_root = check_root
        self._now = now
        self._checks = SingleFlight[str, bool](now)
        self._is_api = False
        self._is_not_api = False
        self._seen_projects = LRU[str, None](_MAX_SEEN_PROJECTS)
        self._checked_at: float | None = None

    def record_page(self, project: str) -> None:
        """Record that the upstream served a project page, which proves the API, whatever its root is."""
        self._is_api, self._is_not_api = True, False
        self._seen_projects.put(project, None)

    async def check_denial(self, project: str, url: str) -> None:
        """
        Check whether a 404 proves that the upstream does not have a project.

        Args:
            project: A normalized name.
            url: URL of the 404 response, after all redirects.

        Raises:
            BadGateway: The upstream's URL is not a simple API, so its 404 proves nothing.
        """
        if project in self._seen_projects:
            self._seen_projects.pop(project)
            self._is_api = False
        if self._is_api or self._is_redirected(project, url):
            return
        if self._checked_at is None or self._now() - self._checked_at >= _RECHECK_AFTER:
            await self._checks.run("", self._check)
        if self._is_not_api:
            raise BadGateway(
                f"It is unknown whether the upstream has {project}: its configured URL is not that of a"
                " simple API."
            )

    def _is_redirected(self, project: str, url: str) -> bool:
        """Return whether names redirect to a simple API, as in pypiserver from /NAME/ to /simple/NAME/."""
        path, requested = urlsplit(url).path.rstrip("/"), urlsplit(self._url).path + project
        return path != requested and path.rpartition("/")[2] == project

    async def _check(self) -> bool:
        was_not_api, is_first = self._is_not_api, self._checked_at is None
        try:
            is_not_api = await self._check_root()
        except SimpleIndexError:
            is_not_api = None  # unknown; a later check may tell
        self._is_not_api, self._is_api = is_not_api is True, is_not_api is False
        self._checked_at = self._now()
        if is_not_api is None and is_first and not self._seen_projects:
            _log.warn(
                "{upstream} reported a project as absent, sent no list of projects, and has sent no page yet."
                " If it reports all names as absent, it is not the URL of a simple API (devpi's end in"
                " +simple/), and its names are requested from the next upstream.",
                upstream=self._url,
            )
        if self._is_not_api and not was_not_api:
            _log.warn(
                "{upstream} is not the URL of a simple API: nothing there lists projects. Until this is"
                " fixed, names that it lacks are errors, and no later upstream gets requests for them."
                " Perhaps the end of the URL is missing, as in {upstream}simple/ (devpi: +simple/).",
                upstream=self._url,
            )
        return self._is_not_api


def is_not_project_list(response: HTTPResponse, body: bytes) -> bool:
    """
    Return whether a page is certainly not the project list of a simple API (PEPs 503, 691).

    Args:
        response: A response with status 200.
        body: Its whole body.
    """
    field = Message()
    field["Content-Type"] = response.header(b"Content-Type")
    media_type = field.get_content_type()
    if media_type in ACCEPT_JSON:
        return False
    if media_type in ACCEPT_HTML:
        return is_other_html(body, field.get_content_charset(), response.url)
    return media_type == "text/plain" or (media_type == "application/json" and _is_other_json(body))


def _is_other_json(body: bytes) -> bool:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return True
    return not isinstance(document, dict) or not isinstance(document.get("projects"), list)


def is_other_html(body: bytes, charset: str | None, url: str) -> bool:
    """Return whether a page has no listing heading, and links mostly elsewhere than to its own folders."""
    try:
        page = html_parser.parse_html_page(body, charset)
    except InvalidPage:
        return True
    if page.headings is None or any(map(is_listing_heading, page.headings)):
        return False
    links = [urljoin(page.base or url, entry.url) for entry in page.files]
    own = sum(_is_project(link, url) for link in links)
    return not own or own * 2 < len(links)


def _is_project(link: str, url: str) -> bool:
    """Return whether a link leads one level below a URL, and not to the simple API itself."""
    try:
        parts, root = urlsplit(link), urlsplit(url)
    except ValueError:
        return False
    folder = root.path.rpartition("/")[0] + "/"
    name = parts.path.removeprefix(folder).removesuffix("/")
    is_below = parts.netloc == root.netloc and parts.path.startswith(folder)
    return is_below and is_valid_name(name) and name != "simple"
