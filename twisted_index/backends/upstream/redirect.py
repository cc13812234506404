"""An upstream to which clients are redirected."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from zope.interface import implementer

from twisted_index.errors import Found
from twisted_index.interfaces import ISource, Snapshot
from twisted_index.simple.model import ProjectList

if TYPE_CHECKING:
    from typing import NoReturn

    from twisted_index.interfaces import FileBody
    from twisted_index.simple.model import Sidecar


@implementer(ISource)
class RedirectSource:
    """
    Says of every project that it is at another index.

    Args:
        url: Of its simple API. A user and a password in it are dropped.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/", "", ""))

    def project_list(self) -> Snapshot[ProjectList]:
        """Name no project: they are the other index's."""
        return _NONE

    def project_page(self, project: str) -> NoReturn:
        """
        Send the client away.

        Raises:
            Elsewhere: Always.
        """
        location = f"{self._url}{quote(project, safe='')}/"
        raise Found(f"This project is at {location}.", location)

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        """Open nothing: who was sent away finds the files from there."""
        return None


_NONE = Snapshot(value=ProjectList(), is_current=lambda: True)
