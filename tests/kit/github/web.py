"""The pages for people: the URLs by which a browser downloads."""

from __future__ import annotations

import re

from tests.kit.github.api import Visit
from tests.kit.github.model import Asset, Forge, Repo
from tests.kit.github.storage import Storage, content
from tests.kit.github.wire import Answer

COOKIE = "user_session=a-session"


class Web:
    """
    GitHub's `browser_download_url`: for private repositories it takes a cookie, and no token.

    Args:
        takes_tokens: Forgejo's takes a token and answers with the bytes itself.
    """

    def __init__(self, forge: Forge, storage: Storage, takes_tokens: bool) -> None:
        self._forge, self._storage, self._takes_tokens = forge, storage, takes_tokens

    def answer(self, visit: Visit) -> Answer:
        request = visit.request
        asset = self._find(visit)
        if asset is None or not self._may_read(visit, asset.release.repo):
            return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"Not Found")
        asset.downloads += request.method == "GET"
        if self._takes_tokens:
            return content(request, asset)
        return Answer(302, {"Location": self._storage.url(asset), "Content-Type": "text/html"})

    def _may_read(self, visit: Visit, repo: Repo) -> bool:
        if self._takes_tokens:
            return visit.can_read(repo)
        return not repo.is_private or COOKIE in visit.request.headers.get("cookie", "")

    def _find(self, visit: Visit) -> Asset | None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/releases/download/(.+)/([^/]+)", visit.request.path)
        repo = match and (self._forge.named(match[1]) or self._forge.moved.get(match[1].lower()))
        if not match or not repo:
            return None
        # Those who may write get what is at a draft of Forgejo's, too.
        every = self._takes_tokens and visit.can_write(repo)
        releases = repo.releases if every else repo.published
        assets = [asset for release in releases if release.tag == match[2] for asset in release.assets]
        return next((asset for asset in assets if asset.name == match[3]), None)
