"""
Makes a release of files: as a draft, which gets them, is compared with them, and is published last.

At each moment the release is a draft, or has all files, so the next run continues one that ended anywhere.

Out of scope: what the files are, what is there already (see `comparison`), and what is printed.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import BadGateway, Conflict
from twisted_index.github.model import read_asset, read_release
from twisted_index.github.refusals import APIRefusal
from twisted_index.github.repository import Forge
from twisted_index.github.upload import upload, upload_url
from twisted_index.http_client.client import ABSENT_STATUSES
from twisted_index.http_client.retry import TemporaryFailure, retrying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_index.github.api import GitHubAPI
    from twisted_index.github.comparison import Comparison
    from twisted_index.github.model import Asset, Release
    from twisted_index.github.release_plan import FilePlan, OutgoingFile, ReleasePlan, ReleaseTerms

T = TypeVar("T")

#: Uploads at once.
_UPLOADS = 4
#: Tries of what changes something, seconds before the second, and the longest that a rate limit may ask for.
_TRIES, _BACK_OFF, _LONGEST_REST = 5, 1.0, 120
#: GitHub responds with 404 where a token may not even know of something.
_WITHOUT_RIGHT = (403, 404)
#: Names that no server is known to change; the others get themselves as their label.
_is_plain = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*").fullmatch


class IUploads(Protocol):
    """Shows the progress of uploads; sizes are in bytes."""

    def expect(self, files: int, size: int) -> None:
        """Add to what is still to come."""

    def advance(self, size: int) -> None:
        """Count bytes of a file that is still on its way."""

    def done(self, name: str, size: int) -> None:
        """Count a file that is there."""


class Publisher:
    """
    Makes one release.

    Args:
        api: The repository's API.
        reactor: Twisted's reactor.
        terms: What the release is to be.
        comparison: What there is of it.
        progress: Shows the uploads.

    Attributes:
        draft: The draft while there is one; None before and after.
    """

    def __init__(
        self, api: GitHubAPI, reactor: Any, terms: ReleaseTerms, comparison: Comparison, progress: IUploads
    ) -> None:
        self.draft: Release | None = None
        self._api = api
        self._reactor = reactor
        self._terms = terms
        self._comparison = comparison
        self._progress = progress
        self._keeps_names = api.repository.forge is Forge.FORGEJO

    async def publish(self, plan: ReleasePlan) -> Release:
        """
        Do what a plan says, and publish the release.

        Raises:
            SimpleIndexError: It is not published.
        """
        if plan.release is not None and plan.is_published:
            return plan.release
        draft = self.draft = plan.release or await self._create()
        url = upload_url(self._api.repository, draft)
        missing = [one.file for one in plan.files if one.same is None]
        self._progress.expect(len(missing), sum(file.size for file in missing))
        for one in plan.files:
            await self._clear(one)
            if one.same is not None:
                await self._name(one.same, one.file)
        await at_once(_UPLOADS, lambda file: self._put(draft, url, file), missing)
        if lacking := (await self._comparison.of_release(draft)).lacking:
            raise BadGateway(f"The draft {draft.tag} {lacking}, although all files were uploaded.")
        release = await self._publish(draft)
        self.draft = None
        return release

    async def _create(self) -> Release:
        url = f"{self._api.repository.url}/releases"

        async def create() -> Release:
            document = self._terms.as_json(is_draft=True)
            return read_release(await self._send("POST", url, document), self._api.repository)

        draft = await self._again(create, self._comparison.find)
        if not draft.is_draft:
            raise Conflict(f"The release {draft.tag} is published already; run the command again.")
        return draft

    async def _publish(self, draft: Release) -> Release:
        document = self._terms.as_json(is_draft=False)
        answer = await self._repeat(lambda: self._send("PATCH", draft.url, document))
        release = read_release(answer, self._api.repository)
        if release.is_draft or release.tag != self._terms.tag:
            raise BadGateway(f"The releases API did not publish {self._terms.tag}.")
        return release

    # -- Files

    async def _put(self, draft: Release, url: str, file: OutgoingFile) -> None:
        async def look() -> Asset | None:
            plan = await self._comparison.of_file(file, draft)
            await self._clear(plan)
            return plan.same

        asset = await self._again(partial(self._upload, draft, url, file), look)
        await self._name(asset, file)
        self._progress.done(file.name, file.size)

    async def _upload(self, draft: Release, url: str, file: OutgoingFile) -> Asset:
        label = "" if self._keeps_names or _is_plain(file.name) else file.name
        try:
            answer = await upload(
                self._api, url, file, label=label, reactor=self._reactor, advance=self._progress.advance
            )
        except APIRefusal as error:
            # GitHub's storage fails with 400, too; and what a failed upload leaves takes the name (422).
            is_taken = error.code == 422 and (await self._comparison.of_file(file, draft)).assets
            if error.code == 400 or is_taken:
                raise TemporaryFailure(error.message) from None
            raise
        return read_asset(answer, self._api.repository, draft.id)

    async def _clear(self, plan: FilePlan) -> None:
        """Delete what is in the place of a file: what is left of a failed upload, or other content."""
        for asset in plan.others:
            await self._repeat(partial(self._delete, asset.url))

    async def _delete(self, url: str) -> None:
        try:
            await self._send("DELETE", url)
        except APIRefusal as error:
            if error.code not in ABSENT_STATUSES:  # an earlier try may have done it
                raise

    async def _name(self, asset: Asset, file: OutgoingFile) -> None:
        """Let the label say the name of a file if the server has changed it."""
        if file.name not in (asset.name, asset.label) and not self._keeps_names:
            await self._repeat(lambda: self._send("PATCH", asset.url, {"label": file.name}))

    # -- Requests

    async def _send(self, method: str, url: str, document: object = None) -> Any:
        try:
            return await self._api.send(method, url, json=document)
        except APIRefusal as error:
            if error.code not in _WITHOUT_RIGHT:
                raise
            advice = "The token needs the right to write to the repository (at GitHub: contents)."
            raise APIRefusal(f"{error.message} {advice}", error.code) from None

    async def _again(self, do: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[T | None]]) -> T:
        """Do what the server may have done although it failed: look before each further try."""
        is_first = True

        async def attempt() -> T:
            nonlocal is_first
            done = None if is_first else await look()
            is_first = False
            return await do() if done is None else done

        return await self._repeat(attempt)

    async def _repeat(self, do: Callable[[], Awaitable[T]]) -> T:
        return await retrying(do, self._reactor, tries=_TRIES, back_off=_BACK_OFF, longest_rest=_LONGEST_REST)
