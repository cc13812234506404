"""The routes of the API, and who may go them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from tests.kit.github.graphql import answer_query
from tests.kit.github.limits import Limits
from tests.kit.github.model import Asset, Forge, Invalid, Release, Repo, Token
from tests.kit.github.paging import Paging
from tests.kit.github.storage import Storage
from tests.kit.github.views import GitHubViews
from tests.kit.github.wire import Answer, Request, as_json

DOCUMENTATION = "https://docs.github.com/rest"
OCTETS = "application/octet-stream"


class Refused(Exception):
    """What is answered with a status and a message."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
        self.answer = as_json(body, status, **headers)


def not_found() -> Refused:
    return Refused(404, "Not Found")


def sent_token(headers: dict[str, str]) -> str | None:
    """Take the token out of `Authorization`: Bearer, token, or Basic's password."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return value.strip()
    if scheme.lower() == "basic":
        return base64.b64decode(value).decode().partition(":")[2]
    return None


class Visit:
    """A request by the owner of a token, or by anyone."""

    def __init__(self, api: API, request: Request) -> None:
        self.api, self.request = api, request
        text = sent_token(request.headers)
        self.token: Token | None = None if text is None else api.forge.tokens.get(text)
        self.is_unknown = text is not None and self.token is None
        self.bucket = api.limits.of(text if self.token else None)

    def can_read(self, repo: Repo) -> bool:
        return self.token.can_read(repo) if self.token else not repo.is_private

    def can_write(self, repo: Repo) -> bool:
        return self.token is not None and self.token.can_write(repo)

    def readable(self, repo: Repo | None) -> Repo:
        if repo is None or not self.can_read(repo):
            raise not_found()
        return repo

    def must_write(self, repo: Repo) -> None:
        if self.token is None:
            raise Refused(401, "Requires authentication")
        if not self.can_write(repo):
            raise Refused(403, "Resource not accessible by personal access token")

    def json(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.request.body or b"{}"))
        except (ValueError, TypeError):
            raise Refused(400, "Problems parsing JSON") from None


class API:
    """Answers requests at the API's and the uploads' listener."""

    needs_user_agent = True
    versions = ("2022-11-28", "2026-03-10")

    def __init__(
        self, forge: Forge, views: GitHubViews, storage: Storage, limits: Limits, prefix: str
    ) -> None:
        self.forge, self.views, self.storage, self.limits = forge, views, storage, limits
        self.prefix = prefix
        self.paging = Paging()
        self.has_etags = True
        self.has_limits = True
        self.redirects = True  # False: bytes come from the API itself, with 200
        release = r"/releases/(?P<release>\d+)"
        self.routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", "", self.get_repository),
            ("GET", "/releases", self.list_releases),
            ("POST", "/releases", self.create_release),
            ("GET", "/releases/latest", self.get_latest),
            ("GET", "/releases/tags/(?P<tag>.+)", self.get_by_tag),
            ("GET", release, self.get_release),
            ("PATCH", release, self.change_release),
            ("DELETE", release, self.delete_release),
            ("GET", f"{release}/assets", self.list_assets),
            ("POST", f"{release}/assets", self.upload),
            ("GET", r"/releases/assets/(?P<asset>\d+)", self.get_asset),
            ("PATCH", r"/releases/assets/(?P<asset>\d+)", self.change_asset),
            ("DELETE", r"/releases/assets/(?P<asset>\d+)", self.delete_asset),
        ]

    def answer(self, request: Request) -> Answer:
        visit = Visit(self, request)
        visit.bucket.renew()
        answer = self._counted(visit)
        answer.headers = self._usual(visit) | answer.headers
        return answer

    def _usual(self, visit: Visit) -> dict[str, str]:
        limits = visit.bucket.headers() if self.has_limits and not visit.is_unknown else {}
        return limits | {"X-GitHub-Media-Type": "github.v3; format=json", "X-GitHub-Request-Id": "0:1:2:3"}

    def _counted(self, visit: Visit) -> Answer:
        """Answer, and count it: all but a 304 to a request with a token."""
        if self.has_limits and not visit.bucket.remaining and not visit.is_unknown:
            return visit.bucket.exhausted()
        answer = self._conditional(visit, self._guarded(visit))
        is_free = answer.status == 304 and visit.token is not None
        visit.bucket.used += not is_free and visit.request.path != f"{self.prefix}/rate_limit"
        return answer

    def _conditional(self, visit: Visit, answer: Answer) -> Answer:
        """Give an ETag to what is read, and 304 to those that know it."""
        is_read = visit.request.method in ("GET", "HEAD") and answer.status == 200
        if not self.has_etags or not is_read or "ETag" in answer.headers:
            return answer
        who = visit.request.headers.get("authorization", "")
        etag = f'"{hashlib.sha256(who.encode() + answer.body).hexdigest()}"'
        answer.headers |= {
            "ETag": f"W/{etag}",
            "Cache-Control": f"{'private' if visit.token else 'public'}, max-age=60, s-maxage=60",
            "Vary": "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With",
        }
        known = visit.request.headers.get("if-none-match", "")
        if etag in known or known == "*":
            kept = {name: answer.headers[name] for name in ("ETag", "Cache-Control", "Vary")}
            return Answer(304, kept | {name: v for name, v in answer.headers.items() if name == "Link"})
        return answer

    def _guarded(self, visit: Visit) -> Answer:
        try:
            self._check(visit)
            return self._route(visit)
        except Refused as refused:
            return refused.answer
        except Invalid as invalid:
            body = {"message": "Validation Failed", "errors": [invalid.error]}
            return as_json(body | {"documentation_url": DOCUMENTATION, "status": "422"}, 422)

    def _check(self, visit: Visit) -> None:
        headers = visit.request.headers
        if self.needs_user_agent and not headers.get("user-agent"):
            raise Refused(403, "Request forbidden by administrative rules. Please send a User-Agent header.")
        if self.versions and headers.get("x-github-api-version", self.versions[0]) not in self.versions:
            raise Refused(400, "The API version is not supported.")
        if visit.is_unknown:
            raise Refused(401, "Bad credentials")

    def _route(self, visit: Visit) -> Answer:
        method = {"HEAD": "GET"}.get(visit.request.method, visit.request.method)
        path = visit.request.path
        if method == "POST" and path in ("/graphql", "/api/graphql"):
            return answer_query(visit, visit.json())
        if not path.startswith(f"{self.prefix}/"):
            raise not_found()
        path = path.removeprefix(self.prefix)
        if path == "/user" and visit.token:
            return as_json(self.views.user(visit.token.login), **{"X-OAuth-Scopes": "repo, read:org"})
        if path == "/rate_limit":
            return self._rate_limit(visit)
        if path == "/meta":
            return as_json({"installed_version": "3.17.0"})
        repo, rest = self._repository(visit, path)
        for verb, pattern, action in self.routes:
            match = re.fullmatch(pattern, rest)
            if verb == method and match is not None:
                return action(visit, repo, **match.groupdict())
        raise not_found()

    def _rate_limit(self, visit: Visit) -> Answer:
        bucket = visit.bucket
        core = {name: getattr(bucket, name) for name in ("limit", "used", "remaining", "reset")}
        return as_json({"resources": {"core": core}, "rate": core})

    def _repository(self, visit: Visit, path: str) -> tuple[Repo, str]:
        """Find the repository of a path, by its name or its number; an old name is redirected."""
        if match := re.fullmatch(r"/repositories/(\d+)((?:/.*)?)", path):
            return visit.readable(self.forge.numbered(int(match[1]))), match[2]
        match = re.fullmatch(r"/repos/([^/]+/[^/]+)((?:/.*)?)", path)
        if match is None:
            raise not_found()
        repo = self.forge.named(match[1])
        if repo is None:
            moved = visit.readable(self.forge.moved.get(match[1].lower()))
            query = visit.request.target.partition("?")[2]
            url = f"{self.numbered_url(moved)}{match[2]}" + (f"?{query}" if query else "")
            raise Refused(301, "Moved Permanently", Location=url)
        return visit.readable(repo), match[2]

    def numbered_url(self, repo: Repo) -> str:
        return f"{self.views.api}/repositories/{repo.id}"

    def get_repository(self, visit: Visit, repo: Repo) -> Answer:
        return as_json(self.views.repository(repo, visit.can_write(repo)))

    def _list(self, visit: Visit, items: list[Any], view: Callable[[Any], Any], url: str) -> Answer:
        page, headers = self.paging.cut(items, visit.request.query, url)
        return as_json([view(item) for item in page], **headers)

    def list_releases(self, visit: Visit, repo: Repo) -> Answer:
        seen = repo.releases if visit.can_write(repo) else repo.published
        newest = sorted(seen, key=lambda release: (release.created, release.id), reverse=True)
        return self._list(visit, newest, self.views.release, f"{self.numbered_url(repo)}/releases")

    def list_assets(self, visit: Visit, repo: Repo, release: str) -> Answer:
        found = self._release(visit, repo, release)
        url = f"{self.numbered_url(repo)}/releases/{release}/assets"
        return self._list(visit, found.assets, self.views.asset, url)

    def _release(self, visit: Visit, repo: Repo, number: str) -> Release:
        found = next((release for release in repo.releases if release.id == int(number)), None)
        if found is None or (found.is_draft and not visit.can_write(repo)):
            raise not_found()
        return found

    def _asset(self, visit: Visit, repo: Repo, number: str) -> Asset:
        for release in repo.releases:
            for asset in release.assets:
                if asset.id == int(number) and (not release.is_draft or visit.can_write(repo)):
                    return asset
        raise not_found()

    def get_release(self, visit: Visit, repo: Repo, release: str) -> Answer:
        return as_json(self.views.release(self._release(visit, repo, release)))

    def get_latest(self, visit: Visit, repo: Repo) -> Answer:
        if repo.latest is None:
            raise not_found()
        return as_json(self.views.release(repo.latest))

    def get_by_tag(self, visit: Visit, repo: Repo, tag: str) -> Answer:
        for release in repo.published:
            if release.tag == tag:
                return as_json(self.views.release(release))
        raise not_found()

    def create_release(self, visit: Visit, repo: Repo) -> Answer:
        visit.must_write(repo)
        wanted = visit.json()
        tag = wanted.get("tag_name")
        if not isinstance(tag, str) or not tag:
            raise Invalid("Release", "missing_field", "tag_name")
        made = repo.release(
            tag,
            draft=bool(wanted.get("draft")),
            prerelease=bool(wanted.get("prerelease")),
            name=wanted.get("name") or "",
            body=wanted.get("body") or "",
            target=wanted.get("target_commitish") or "main",
        )
        made.author = visit.token.login if visit.token else made.author
        view = self.views.release(made)
        return as_json(view, 201, Location=view["url"])

    def change_release(self, visit: Visit, repo: Repo, release: str) -> Answer:
        visit.must_write(repo)
        found, wanted = self._release(visit, repo, release), visit.json()
        if found.is_immutable and "tag_name" in wanted and wanted["tag_name"] != found.tag:
            raise Invalid("Release", "custom", "tag_name", "tag_name of an immutable release cannot change")
        names = {"tag_name": "tag", "name": "name", "body": "body", "target_commitish": "target"}
        for name, attribute in names.items():
            if wanted.get(name) is not None:
                setattr(found, attribute, wanted[name])
        if "prerelease" in wanted:
            found.is_prerelease = bool(wanted["prerelease"])
        if wanted.get("draft") is False and found.is_draft:
            found.publish()
        elif wanted.get("draft") is True:
            found.is_draft = True
        return as_json(self.views.release(found))

    def delete_release(self, visit: Visit, repo: Repo, release: str) -> Answer:
        visit.must_write(repo)
        self._release(visit, repo, release).delete()
        return Answer(204)

    def upload(self, visit: Visit, repo: Repo, release: str) -> Answer:
        visit.must_write(repo)
        found = self._release(visit, repo, release)
        return as_json(self.views.asset(self.uploaded(visit, found)), 201)

    def uploaded(self, visit: Visit, release: Release, state: str = "uploaded") -> Asset:
        request = visit.request
        if "content-length" not in request.headers:
            raise Refused(400, "Bad Content-Length")
        if "content-type" not in request.headers:
            raise Invalid("ReleaseAsset", "missing_field", "content_type")
        name = request.query.get("name", "")
        if not name:
            raise Invalid("ReleaseAsset", "missing_field", "name")
        if not request.body:
            text = "size must be greater than or equal to 1"
            raise Invalid("ReleaseAsset", "custom", "size", text)
        return release.add(
            name,
            request.body,
            label=request.query.get("label", ""),
            content_type=request.headers["content-type"],
            state=state,
        )

    def start_upload(self, request: Request) -> None:
        """Leave behind what GitHub leaves of an upload that its storage fails to take."""
        visit = Visit(self, request)
        repo, rest = self._repository(visit, request.path.removeprefix(self.prefix))
        match = re.fullmatch(r"/releases/(\d+)/assets", rest)
        assert match is not None, request.line
        self.uploaded(visit, self._release(visit, repo, match[1]), "starter")

    def get_asset(self, visit: Visit, repo: Repo, asset: str) -> Answer:
        found = self._asset(visit, repo, asset)
        if OCTETS not in visit.request.headers.get("accept", ""):
            return as_json(self.views.asset(found))
        if found.state != "uploaded":
            raise not_found()
        found.downloads += visit.request.method == "GET"
        if not self.redirects:
            return Answer(200, {"Content-Type": OCTETS, "ETag": f'"{found.sha256}"'}, found.content)
        return Answer(302, {"Location": self.storage.url(found), "Content-Type": "text/html; charset=utf-8"})

    def change_asset(self, visit: Visit, repo: Repo, asset: str) -> Answer:
        visit.must_write(repo)
        found, wanted = self._asset(visit, repo, asset), visit.json()
        found.release.may_change()
        if wanted.get("name"):
            self._rename(found, wanted["name"])
        if "label" in wanted:
            found.label = wanted["label"]
        found.updated = self.forge.clock.now()
        return as_json(self.views.asset(found))

    def _rename(self, asset: Asset, name: str) -> None:
        name = self.forge.spelled(name)
        if any(other.name == name for other in asset.release.assets if other is not asset):
            raise Invalid("ReleaseAsset", "already_exists", "name")
        asset.name = name

    def delete_asset(self, visit: Visit, repo: Repo, asset: str) -> Answer:
        visit.must_write(repo)
        found = self._asset(visit, repo, asset)
        found.release.may_change()
        found.delete()
        return Answer(204)
