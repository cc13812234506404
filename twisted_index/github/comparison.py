"""Compares a release with the files that it is to have. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_index.errors import Conflict
from twisted_index.github.asset_bytes import digest_of
from twisted_index.github.asset_names import mangled
from twisted_index.github.model import read_asset, read_release
from twisted_index.github.release_plan import FilePlan, ReleasePlan
from twisted_index.github.repository import Forge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.model import Asset, Release
    from twisted_index.github.release_plan import OutgoingFile


#: Limits of GitHub (https://docs.github.com/repositories/releasing-projects-on-github/about-releases).
_MAX_SIZE, _MAX_FILES = 2 << 30, 1000


class Comparison:
    """
    Compares the release of a tag with files.

    Args:
        api: The repository's API.
        reactor: Twisted's reactor.
        tag: The tag.
        files: The files, whose names differ.
    """

    def __init__(self, api: GitHubAPI, reactor: Any, tag: str, files: Sequence[OutgoingFile]) -> None:
        self._api = api
        self._url = f"{api.repository.url}/releases"
        self._reactor = reactor
        self._tag = tag
        self._files = files
        self._names = frozenset(file.name for file in files)
        self._digests: dict[str, str] = {}

    async def plan(self) -> ReleasePlan:
        """
        Find the release, and compare it with all files.

        Raises:
            Conflict: It is published, and lacks a file or has other content; or it has several drafts; or two
                of the files would get the same name, or GitHub does not take files so large, or so many.
            SimpleIndexError: The API cannot be read.
        """
        if self._api.repository.forge is Forge.GITHUB:
            _require_distinct(self._files)
            _require_limits(self._files)
        release = await self.find()
        if release is None:
            new = (FilePlan(file=file, same=None, others=()) for file in self._files)
            return ReleasePlan(release=None, files=tuple(new))
        plan = await self.of_release(release)
        if plan.is_published and plan.lacking:
            raise Conflict(
                f"The release {release.tag} is published, and {plan.lacking}. A published release is not"
                " changed: use another tag."
            )
        return plan

    async def find(self) -> Release | None:
        """
        Find the release in the list of all: a draft has no tag yet by which it could be requested.

        Raises:
            Conflict: It has several drafts.
            SimpleIndexError: The API cannot be read.
        """
        listed = [read_release(one, self._api.repository) for one in await self._api.walk(self._url)]
        found = [release for release in listed if release.tag == self._tag]
        published = [release for release in found if not release.is_draft]
        if len(found) > 1 and not published:
            pages = " ".join(release.html_url for release in found)
            raise Conflict(f"There are {len(found)} drafts of {self._tag}; delete all but one: {pages}")
        release = next(iter(published or found), None)
        return await self._current(release) if release is not None and release.is_draft else release

    async def _current(self, draft: Release) -> Release | None:
        """Read a draft itself: lists are late, and a release that is published by now must not be changed."""
        document = await self._api.get(draft.url)
        return None if document is None else read_release(document, self._api.repository)

    async def of_release(self, release: Release) -> ReleasePlan:
        """Compare a release with all files."""
        assets = await self._attached(release)
        plans = [await self._of_file(file, assets) for file in self._files]
        own = {asset.url for plan in plans for asset in plan.assets}
        foreign = tuple(asset.name for asset in assets if asset.url not in own)
        return ReleasePlan(release=release, files=tuple(plans), foreign=foreign)

    async def of_file(self, file: OutgoingFile, release: Release) -> FilePlan:
        """Compare a release with one of the files."""
        return await self._of_file(file, await self._attached(release))

    async def _attached(self, release: Release) -> list[Asset]:
        listed = await self._api.walk(f"{release.url}/assets")
        return [read_asset(one, self._api.repository, release.id) for one in listed]

    async def _of_file(self, file: OutgoingFile, assets: Sequence[Asset]) -> FilePlan:
        same, others = None, []
        for asset in assets:
            if not self._is_for(asset, file.name):
                continue
            if same is None and await self._is_equal(asset, file):
                same = asset
            else:
                others.append(asset)
        return FilePlan(file=file, same=same, others=tuple(others))

    def _is_for(self, asset: Asset, name: str) -> bool:
        """Return whether an asset has the place of a file, among the others."""
        if asset.name == name:
            return True
        return asset.name not in self._names and (asset.label == name or asset.name == mangled(name))

    async def _is_equal(self, asset: Asset, file: OutgoingFile) -> bool:
        if not asset.is_whole or asset.size not in (None, file.size):
            return False
        # The bytes under an asset's URL never change.
        if asset.url not in self._digests:
            self._digests[asset.url] = await digest_of(self._api, asset, self._reactor)
        return self._digests[asset.url] == file.sha256


def _require_limits(files: Sequence[OutgoingFile]) -> None:
    if large := [file.name for file in files if file.size > _MAX_SIZE]:
        raise Conflict(f"GitHub takes no file of more than 2 GiB: {', '.join(large)}.")
    if len(files) > _MAX_FILES:
        raise Conflict(
            f"A release at GitHub has at most {_MAX_FILES} files, and these are {len(files)}, with the"
            " metadata of wheels, which --no-metadata leaves out: make several releases."
        )


def _require_distinct(files: Sequence[OutgoingFile]) -> None:
    names: dict[str, str] = {}
    for file in files:
        if (other := names.setdefault(mangled(file.name), file.name)) != file.name:
            raise Conflict(
                f"GitHub gives {other} and {file.name} the same name, so a release has one of them."
            )
