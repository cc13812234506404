"""The URLs of an index, as its clients know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.indexes.scope import without_tokens
from twisted_index.web.responses.file_links import FileLinks

if TYPE_CHECKING:
    from twisted.web.server import Request

    from twisted_index.indexes.scope import Scope
    from twisted_index.web.requests.client_info import ClientInfoReader


class IndexUrls:
    """
    Derives the URLs of one scope. None ends in a slash.

    Args:
        scope: What the URLs of the requests are about.
        public_url: The URL of the index without a name that pages show; None for the client's.
        client_info: Derives the URL that a client used.

    Attributes:
        public: The URL that pages show, the same for all clients; None if it is the client's, as that of a
            draft is, with the token.
        public_links: Links below it; None without it.
    """

    def __init__(self, scope: Scope, public_url: str | None, client_info: ClientInfoReader) -> None:
        self._scope = scope
        self._public_url = public_url
        self._client_info = client_info
        self.public: str | None = None
        self.public_links: FileLinks | None = None
        if public_url is not None and not scope.draft:
            self.public = f"{public_url}/{scope.path}".rstrip("/")
            self.public_links = FileLinks(f"{self.public}/", f"{public_url}/")

    def own(self, request: Request) -> str:
        """Return the URL of the index that a request is about."""
        return self.public or self._client_info.url(request)

    def shown(self, request: Request) -> str:
        """Return it as pages may show it: without the token of a draft."""
        return without_tokens(self.own(request))

    def root(self, request: Request) -> str:
        """Return the URL of the index without a name, below which the others are."""
        return self._public_url or self._client_info.url(request, above=self._scope.depth)

    def links(self, request: Request) -> FileLinks:
        """Return absolute links for the client of a request; in a draft relative ones, without its token."""
        if self._scope.draft:
            return self.relative_links(levels_of(request))
        return self.public_links or FileLinks(f"{self.own(request)}/", f"{self.root(request)}/")

    def relative_links(self, levels: int) -> FileLinks:
        """
        Return links that are relative to a page.

        Args:
            levels: How many folders below the index the page is: 2 for `simple/NAME/`.
        """
        return FileLinks("../" * levels, "../" * (levels + self._scope.depth))


def levels_of(request: Request) -> int:
    """Return how many folders below its index the URL of a request is."""
    return len(request.postpath or ()) - 1
