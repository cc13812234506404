"""Releases and assets in JSON, as GitHub spells them and as Forgejo does."""

from __future__ import annotations

import urllib.parse
from datetime import datetime
from typing import Any

from tests.kit.github.model import Asset, Release, Repo


def stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


class GitHubViews:
    """
    GitHub's spelling (https://docs.github.com/rest/releases/releases).

    Args:
        api: URL of the API, without a slash at its end.
        web: Origin of the pages for people.
        uploads: URL that uploads go to.
    """

    def __init__(self, api: str, web: str, uploads: str) -> None:
        self.api, self.web, self.uploads = api, web, uploads
        self.inline_limit: int | None = None  # so many assets at most inside a release
        self.has_digests = True  # False: the field is not there, as on older servers

    def url(self, repo: Repo) -> str:
        return f"{self.api}/repos/{repo.full_name}"

    def user(self, login: str) -> dict[str, Any]:
        url = f"{self.api}/users/{login}"
        return {
            "login": login,
            "id": 1,
            "node_id": "MDQ6VXNlcjE=",
            "avatar_url": f"{self.web}/images/error/{login}_happy.gif",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.web}/{login}",
            "followers_url": f"{url}/followers",
            "following_url": f"{url}/following{{/other_user}}",
            "gists_url": f"{url}/gists{{/gist_id}}",
            "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
            "subscriptions_url": f"{url}/subscriptions",
            "organizations_url": f"{url}/orgs",
            "repos_url": f"{url}/repos",
            "events_url": f"{url}/events{{/privacy}}",
            "received_events_url": f"{url}/received_events",
            "type": "User",
            "user_view_type": "public",
            "site_admin": False,
        }

    def repository(self, repo: Repo, can_write: bool) -> dict[str, Any]:
        owner, _, name = repo.full_name.partition("/")
        return {
            "id": repo.id,
            "node_id": f"R_{repo.id}",
            "name": name,
            "full_name": repo.full_name,
            "private": repo.is_private,
            "visibility": "private" if repo.is_private else "public",
            "owner": self.user(owner),
            "html_url": f"{self.web}/{repo.full_name}",
            "url": self.url(repo),
            "releases_url": f"{self.url(repo)}/releases{{/id}}",
            "default_branch": "main",
            "permissions": {"admin": False, "push": can_write, "pull": True},
        }

    def web_tag(self, release: Release) -> str:
        """What the pages of a release are called: a draft has no tag yet."""
        return release.web_tag

    def download_url(self, asset: Asset) -> str:
        release = asset.release
        tag = quoted(self.web_tag(release))
        return f"{self.web}/{release.repo.full_name}/releases/download/{tag}/{quoted(asset.name)}"

    def asset(self, asset: Asset) -> dict[str, Any]:
        view: dict[str, Any] = {
            "url": f"{self.url(asset.release.repo)}/releases/assets/{asset.id}",
            "id": asset.id,
            "node_id": f"RA_{asset.id}",
            "name": asset.name,
            "label": asset.label,
            "uploader": self.user(asset.uploader),
            "content_type": asset.content_type,
            "state": asset.state,
            "size": len(asset.content),
            "digest": f"sha256:{asset.sha256}" if asset.has_digest else None,
            "download_count": asset.downloads,
            "created_at": stamp(asset.created),
            "updated_at": stamp(asset.updated),
            "browser_download_url": self.download_url(asset),
        }
        if not self.has_digests:
            del view["digest"]
        return view

    def release(self, release: Release) -> dict[str, Any]:
        url = f"{self.url(release.repo)}/releases/{release.id}"
        web = f"{self.web}/{release.repo.full_name}"
        return {
            "url": url,
            "assets_url": f"{url}/assets",
            "upload_url": f"{self.uploads}/repos/{release.repo.full_name}/releases/{release.id}"
            "/assets{?name,label}",
            "html_url": f"{web}/releases/tag/{quoted(self.web_tag(release))}",
            "id": release.id,
            "author": self.user(release.author),
            "node_id": f"RE_{release.id}",
            "tag_name": release.tag,
            "target_commitish": release.target,
            "name": release.name,
            "draft": release.is_draft,
            "immutable": release.is_immutable,
            "prerelease": release.is_prerelease,
            "created_at": stamp(release.created),
            "updated_at": stamp(release.created),
            "published_at": stamp(release.published),
            "assets": [self.asset(asset) for asset in release.assets[: self.inline_limit]],
            "tarball_url": f"{self.url(release.repo)}/tarball/{quoted(release.tag)}",
            "zipball_url": f"{self.url(release.repo)}/zipball/{quoted(release.tag)}",
            "body": release.body,
        }


class ForgejoViews(GitHubViews):
    """Forgejo's spelling: no label, digest, state or API URL of an asset; `uploads` is the API."""

    def web_tag(self, release: Release) -> str:
        return release.tag

    def asset(self, asset: Asset) -> dict[str, Any]:
        return {
            "id": asset.id,
            "name": asset.name,
            "size": len(asset.content),
            "download_count": asset.downloads,
            "created_at": stamp(asset.created),
            "uuid": f"00000000-0000-4000-8000-{asset.id:012}",
            "browser_download_url": self.download_url(asset),
            "type": "attachment",
        }

    def release(self, release: Release) -> dict[str, Any]:
        view = super().release(release)
        for name in ("assets_url", "node_id", "immutable", "updated_at"):
            del view[name]
        # The moment of the tag, and there is no other way to say "not yet".
        published = view["published_at"] or view["created_at"]
        upload = f"{self.url(release.repo)}/releases/{release.id}/assets"
        return view | {"published_at": published, "upload_url": upload, "hide_archive_links": False}
