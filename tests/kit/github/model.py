"""Repositories, releases and assets, and what may be done to them."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.kit.github.names import mangled

EPOCH = datetime(2025, 6, 1, tzinfo=UTC)


class Invalid(Exception):
    """What GitHub answers 422 to."""

    def __init__(self, resource: str, code: str, name: str, message: str | None = None) -> None:
        super().__init__(code)
        self.error = {"resource": resource, "code": code, "field": name}
        if message:
            self.error["message"] = message


class Clock:
    """Time that goes on by a second whenever it is read: the order of all that happens is a fact."""

    def __init__(self) -> None:
        self._seconds = itertools.count()

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=next(self._seconds))


@dataclass(eq=False)
class Asset:
    """A file at a release."""

    id: int
    release: Release
    name: str
    content: bytes = field(repr=False)
    label: str | None
    content_type: str
    created: datetime
    updated: datetime
    has_digest: bool = True
    state: str = "uploaded"
    downloads: int = 0
    uploader: str = "octocat"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def storage_key(self) -> str:
        """Where the bytes are kept: other bytes are kept elsewhere."""
        return f"{self.id}-{self.sha256[:32]}"

    def delete(self) -> None:
        self.release.assets.remove(self)


@dataclass(eq=False)
class Release:
    """A release and its assets, in the order of their making."""

    id: int
    repo: Repo
    tag: str
    name: str
    body: str
    is_draft: bool
    is_prerelease: bool
    created: datetime
    published: datetime | None
    target: str = "main"
    is_immutable: bool = False
    author: str = "octocat"
    assets: list[Asset] = field(default_factory=list)

    @property
    def web_tag(self) -> str:
        """What its pages are called: a draft of GitHub's has no tag yet."""
        if not self.is_draft or self.repo.forge.keeps_names:
            return self.tag
        return f"untagged-{hashlib.sha256(str(self.id).encode()).hexdigest()[:20]}"

    def find(self, name: str) -> Asset:
        (asset,) = [asset for asset in self.assets if asset.name == name]
        return asset

    def add(
        self,
        name: str,
        content: bytes,
        *,
        label: str | None = "",
        content_type: str = "application/octet-stream",
        digest: bool = True,
        state: str = "uploaded",
        as_is: bool = False,
    ) -> Asset:
        """
        Put an asset there as an upload does.

        Args:
            as_is: Keep the name, as Forgejo does.
            digest: Whether GitHub knows the file's; older assets have none.
            state: "starter" for an upload that failed.

        Raises:
            Invalid: The name is taken or the release is immutable.
        """
        name = name if as_is else self.repo.forge.spelled(name)
        self.may_change()
        if any(asset.name == name for asset in self.assets):
            raise Invalid("ReleaseAsset", "already_exists", "name")
        now = self.repo.forge.clock.now()
        asset = Asset(
            next(self.repo.forge.ids), self, name, content, label, content_type, now, now, digest, state
        )
        self.assets.append(asset)
        return asset

    def may_change(self) -> None:
        if self.is_immutable:
            text = "Cannot change assets of an immutable release."
            raise Invalid("ReleaseAsset", "custom", "release", text)

    def replace(self, name: str, content: bytes) -> Asset:
        """Delete an asset and upload another under its name."""
        old = self.find(name)
        old.delete()
        return self.add(name, content, label=old.label, as_is=True)

    def publish(self) -> None:
        """
        Make a draft public.

        Raises:
            Invalid: The tag has a release.
        """
        if any(other.tag == self.tag for other in self.repo.published if other is not self):
            raise Invalid("Release", "already_exists", "tag_name")
        self.is_draft = False
        self.published = self.published or self.repo.forge.clock.now()
        self.is_immutable = self.repo.is_immutable

    def delete(self) -> None:
        self.repo.releases.remove(self)


@dataclass(eq=False)
class Repo:
    """A repository."""

    id: int
    forge: Forge
    full_name: str
    is_private: bool = False
    is_immutable: bool = False  # its releases are, once published
    releases: list[Release] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """What it is and was called, and "*"."""
        old = {name for name, repo in self.forge.moved.items() if repo is self}
        return {"*", self.full_name.lower()} | old

    @property
    def published(self) -> list[Release]:
        return [release for release in self.releases if not release.is_draft]

    @property
    def latest(self) -> Release | None:
        full = [release for release in self.published if not release.is_prerelease]
        return max(full, key=lambda release: (release.created, release.id), default=None)

    def release(
        self,
        tag: str,
        assets: dict[str, bytes] | None = None,
        *,
        draft: bool = False,
        prerelease: bool = False,
        name: str | None = None,
        body: str = "",
        target: str = "main",
    ) -> Release:
        """
        Create a release, with assets.

        Raises:
            Invalid: The tag has a release.
        """
        made = Release(
            next(self.forge.ids),
            self,
            tag,
            tag if name is None else name,
            body,
            True,
            prerelease,
            self.forge.clock.now(),
            None,
            target,
        )
        if not draft:
            made.publish()
        self.releases.append(made)
        made.is_immutable = False
        for filename, content in (assets or {}).items():
            made.add(filename, content)
        made.is_immutable = self.is_immutable and not draft
        return made

    def find(self, tag: str) -> Release:
        (release,) = [release for release in self.releases if release.tag == tag]
        return release

    def rename(self, full_name: str) -> None:
        """Call it otherwise; its old name is redirected from now on."""
        self.forge.moved[self.full_name.lower()] = self
        self.full_name = full_name


@dataclass(eq=False)
class Token:
    """What a token may do: names of repositories in lower case; `"*"` for all."""

    login: str
    reads: set[str]
    writes: set[str]

    def can_read(self, repo: Repo) -> bool:
        return not repo.is_private or self.can_write(repo) or bool(self.reads & repo.names)

    def can_write(self, repo: Repo) -> bool:
        return bool(self.writes & repo.names)


class Forge:
    """All repositories and tokens of one server."""

    def __init__(self, *, keeps_names: bool = False) -> None:
        self.keeps_names = keeps_names
        self.ids = itertools.count(1001)
        self.clock = Clock()
        self.repos: list[Repo] = []
        self.moved: dict[str, Repo] = {}
        self.tokens: dict[str, Token] = {}

    def repository(self, full_name: str, *, private: bool = False, immutable: bool = False) -> Repo:
        """Make a repository."""
        self.repos.append(Repo(next(self.ids), self, full_name, private, immutable))
        return self.repos[-1]

    def token(
        self, text: str, *, read: tuple[str, ...] = (), write: tuple[str, ...] = (), login: str = "octocat"
    ) -> str:
        """Make a token known, which may read all that is public and the private ones that it names."""
        names = [{name.lower() for name in given} for given in (read, write)]
        self.tokens[text] = Token(login, *names)
        return text

    def spelled(self, name: str) -> str:
        """Spell the name of a new asset."""
        return name if self.keeps_names else mangled(name)

    def named(self, full_name: str) -> Repo | None:
        return next((repo for repo in self.repos if repo.full_name.lower() == full_name.lower()), None)

    def numbered(self, number: int) -> Repo | None:
        return next((repo for repo in self.repos if repo.id == number), None)

    def stored(self, key: str) -> Asset | None:
        """Find the asset whose bytes are kept there."""
        every = (asset for repo in self.repos for release in repo.releases for asset in release.assets)
        return next((asset for asset in every if asset.storage_key == key), None)
