"""How Forgejo's API (https://codeberg.org/api/swagger, "repository") is other than GitHub's."""

from __future__ import annotations

import email
import email.policy
from typing import Any

from tests.kit.github.api import API, Refused, Visit, not_found
from tests.kit.github.model import Asset, Invalid, Release, Repo
from tests.kit.github.paging import Paging
from tests.kit.github.wire import Answer, as_json


class ForgejoAPI(API):
    """No ETags and limits; `limit` up to 50; assets below their release; uploads by form."""

    needs_user_agent = False
    versions = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.paging = Paging("limit", 30, 50, has_total=True)
        self.has_etags = self.has_limits = False
        below = r"/releases/(?P<release>\d+)/assets/(?P<asset>\d+)"
        kept = [route for route in self.routes if not route[1].startswith("/releases/assets/")]
        self.routes = [
            *kept,
            ("GET", below, self._below(self.get_asset)),
            ("PATCH", below, self._below(self.change_asset)),
            ("DELETE", below, self._below(self.delete_asset)),
        ]

    def _below(self, action: Any) -> Any:
        def act(visit: Visit, repo: Repo, release: str, asset: str) -> Any:
            if all(found.id != int(asset) for found in self._release(visit, repo, release).assets):
                raise not_found()
            return action(visit, repo, asset)

        return act

    def numbered_url(self, repo: Repo) -> str:
        return self.views.url(repo)

    def list_assets(self, visit: Visit, repo: Repo, release: str) -> Answer:
        """Give all at once: this list has no pages."""
        return as_json([self.views.asset(asset) for asset in self._release(visit, repo, release).assets])

    def get_asset(self, visit: Visit, repo: Repo, asset: str) -> Answer:
        """Give JSON whatever is accepted."""
        return as_json(self.views.asset(self._asset(visit, repo, asset)))

    def uploaded(self, visit: Visit, release: Release, state: str = "uploaded") -> Asset:
        head = f"Content-Type: {visit.request.headers.get('content-type', '')}\r\n\r\n".encode()
        form = email.message_from_bytes(head + visit.request.body, policy=email.policy.HTTP)
        for part in form.iter_parts() if form.is_multipart() else ():  # type: ignore[attr-defined]
            if part.get_param("name", header="content-disposition") == "attachment":
                name = visit.request.query.get("name") or part.get_filename()
                return release.add(name, part.get_payload(decode=True), label=None, state=state)
        raise Refused(400, "http: no such file")

    def change_asset(self, visit: Visit, repo: Repo, asset: str) -> Answer:
        """Answer 201, as Forgejo does."""
        try:
            return as_json(
                super().change_asset(visit, repo, asset).body
                and self.views.asset(self._asset(visit, repo, asset)),
                201,
            )
        except Invalid:
            raise Refused(400, "the name is taken") from None
