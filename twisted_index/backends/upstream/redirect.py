"""An upstream to which clients are redirected."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from zope.interface import implementer

from twisted_index.backends.upstream.explanation import unasked_upstream
from twisted_index.errors import Found
from twisted_index.interfaces import Explanation, IExplains, ISource, Snapshot
from twisted_index.simple.model import ProjectList

if TYPE_CHECKING:
    from typing import NoReturn

    from twisted_index.interfaces import FileBody
    from twisted_index.simple.explanation import SourceAnswer
    from twisted_index.simple.model import Sidecar


@implementer(ISource, IExplains)
class RedirectSource:
    """
    Redirects the page of every project to another index.

    Args:
        url: URL of its simple API. Credentials in it are dropped.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/", "", ""))

    def project_list(self) -> Snapshot[ProjectList]:
        """Return an empty list: the projects are the other index's."""
        return _EMPTY

    def project_page(self, project: str) -> NoReturn:
        """
        Redirect the client.

        Raises:
            Found: Always.
        """
        raise self._found(project)

    def _found(self, project: str) -> Found:
        location = f"{self._url}{quote(project, safe='')}/"
        return Found(f"This project is at {location}.", location)

    def explain(self, project: str) -> Explanation:
        """See `IExplains`."""
        return Explanation(
            error=self._found(project), sources=self.unasked("was not asked: clients are redirected to it")
        )

    def unasked(self, why: str) -> tuple[SourceAnswer, ...]:
        """See `IExplains`."""
        return (unasked_upstream(self._url, why),)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Return None: redirected clients find the files on the other index's page."""
        return None


_EMPTY = Snapshot(value=ProjectList(), is_current=lambda: True)
