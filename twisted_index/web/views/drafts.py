"""Views of the drafts of an index: JSON only, in the words of the console command."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from twisted_index.access.token_terms import parse_expires
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PromotionRefused,
    RefusedPart,
)
from twisted_index.indexes.scope import Scope, draft_digest, new_draft_token
from twisted_index.interfaces import Action, Draft, IDrafts, IProblemSource, IPromotionTarget
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.name_patterns import is_index_name
from twisted_index.web.requests.context import JSON, read_json
from twisted_index.web.responses.response import NOSNIFF, Response, with_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.indexes.served_index import IIndexes, ServedIndex
    from twisted_index.interfaces import Identity, IStore
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.requests.index_urls import IndexUrls
    from twisted_index.web.responses.response import Headers

#: How long a draft lives unless its maker says something else.
DEFAULT_EXPIRES = "7d"
#: For a secret, which no cache may store (RFC 9111 section 5.2.2.5).
_SECRET: Headers = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), *NOSNIFF)


class DraftViews:
    """
    Lets clients make, list, publish and cancel drafts.

    Args:
        served: The index.
        indexes: The indexes of the server; None if it has no drafts.
        authorizer: Checks the rights of the client.
        urls: Derives the URL of the index.
    """

    def __init__(
        self,
        served: ServedIndex,
        indexes: IIndexes | None,
        authorizer: Authorizer,
        urls: IndexUrls,
    ) -> None:
        self._served = served
        self._indexes = indexes
        self._authorizer = authorizer
        self._urls = urls

    async def create(self, context: RequestContext) -> Response:
        """Make a draft; its two URLs are in this response and nowhere else."""
        name, text = _parse(read_json(context.request))
        try:
            expires = parse_expires(text, now=time.time(), max_age=None)
        except ValueError as error:
            raise BadRequest(f"expires: {error}.") from None
        if expires is None:
            raise BadRequest("A draft has to end: give expires a duration or a date.")
        token = new_draft_token()
        draft = Draft(name=name, digest=draft_digest(token), by=context.identity.name, expires=expires)
        await result_of(self._keeper().create_draft, draft)
        base = f"{self._urls.own(context.request).rstrip('/')}/+draft/{token}"
        document = {
            **_described(draft),
            "upload_url": f"{base}/legacy/",
            "index_url": f"{base}/simple/",
        }
        return _document(document, 201, _SECRET)

    async def listing(self, context: RequestContext) -> Response:
        """List the drafts that the client may change."""
        drafts = await result_of(self._keeper().drafts)
        return _document({"drafts": [_described(draft) for draft in drafts if self._may(context, draft)]})

    async def cancel(self, context: RequestContext) -> Response:
        """Remove a draft with all that is in it."""
        draft = await self._named(context)
        await result_of(self._keeper().remove_draft, draft, by=context.identity.name, reason="cancelled")
        return _document({"cancelled": draft.name})

    async def publish(self, context: RequestContext) -> Response:
        """Publish all that is in a draft, in one step; the response has all that is in the way."""
        draft = await self._named(context)
        if self._indexes is None:
            raise NotFound("This server has no drafts.")
        if draft.is_cut_off:
            raise Conflict(
                "Its publication was cut off, or is running; complete it by"
                f" `twisted-index draft publish {draft.name}`."
            )
        opened = self._indexes.find(Scope(index=self._served.scope.index, draft=draft.digest))
        releases, refusals = await self._contents(opened, draft, context.identity)
        target = IPromotionTarget(self._store(), None)
        if target is None or opened.store is None:
            raise Conflict("Here nothing can be published.")
        may, identity = self._authorizer.permits, context.identity
        outcome = await result_of(
            target.promote,
            opened.store,
            releases,
            by=identity.name,
            # With its yanks: what was left behind would be gone with the draft.
            yanked=True,
            move=True,
            may_create=lambda project: may(identity, Action.CREATE, project),
            refusals=refusals,
        )
        taken = (*(file.filename for file in outcome.published), *outcome.present)
        left = await result_of(
            self._keeper().remove_draft, draft, by=identity.name, reason="published", taken=taken
        )
        response = _document(
            {
                "id": outcome.id,
                "published": [
                    {"project": file.project, "filename": file.filename, "sha256": file.sha256}
                    for file in outcome.published
                ],
                "present": list(outcome.present),
                "left": list(left),
            }
        )
        return with_change(response, target, [release.partition("==")[0] for release in releases])

    async def _contents(
        self, opened: ServedIndex, draft: Draft, identity: Identity
    ) -> tuple[list[str], list[RefusedPart]]:
        """Return the releases of a draft, and what of it cannot be published by this client."""
        alone = opened.alone
        if alone is None:
            raise NotFound(f"There is no draft {draft.name}.")
        problems = IProblemSource(alone, None)
        report = () if problems is None else (await result_of(problems.problems)).problems
        refusals = [RefusedPart(name=problem.path, reason=problem.reason) for problem in report]
        releases = []
        for name in (await result_of(alone.project_list)).value.names:
            page = (await result_of(alone.project_page, name)).value
            versions = sorted({file.version for file in page.files}) if page is not None else ()
            releases += [f"{name}=={version}" for version in versions]
            if versions and not self._authorizer.permits(identity, Action.PROMOTE, name):
                refusals.append(RefusedPart(name=name, reason=f"{identity.name} may not promote it."))
        if not releases and refusals:
            raise PromotionRefused(refusals)
        if not releases:
            raise Conflict(f"The draft {draft.name} is empty: upload to it first, or cancel it.")
        return releases, refusals

    async def _named(self, context: RequestContext) -> Draft:
        drafts: Sequence[Draft] = await result_of(self._keeper().drafts)
        name = context.route.token
        for draft in drafts:
            if draft.name == name and self._may(context, draft):
                return draft
        raise NotFound(f"There is no draft {name} here, or it is not yours.")

    def _may(self, context: RequestContext, draft: Draft) -> bool:
        """Return whether a client may list and change a draft: its maker, and those who manage the index."""
        identity = context.identity
        return draft.by == identity.name or self._authorizer.permits(identity, Action.MANAGE)

    def _store(self) -> IStore:
        if self._served.store is None or self._served.scope.draft:
            raise NotFound("There are no drafts here.")
        return self._served.store

    def _keeper(self) -> IDrafts:
        keeper = IDrafts(self._store(), None)
        if keeper is None or self._indexes is None:
            raise NotFound("This server has no drafts.")
        if not self._served.uploads.upload:
            raise Forbidden("Uploads are off here, so there are no drafts.")
        return keeper


def _parse(document: object) -> tuple[str, str]:
    if not isinstance(document, dict) or not document.keys() <= {"name", "expires"}:
        raise BadRequest('The body must be a JSON object with "name" and perhaps "expires".')
    name, expires = document.get("name"), document.get("expires", DEFAULT_EXPIRES)
    if not isinstance(name, str) or not is_index_name(name):
        raise BadRequest('"name" must have letters and digits, with -, . and _ inside.')
    if not isinstance(expires, str):
        raise BadRequest('"expires" must be a string such as "7d".')
    return name, expires


def _described(draft: Draft) -> dict[str, Any]:
    return {"name": draft.name, "by": draft.by, "expires": format_upload_time(draft.expires)}


def _document(document: dict[str, Any], status: int = 200, headers: Headers = JSON) -> Response:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n"
    return Response(status=status, headers=headers, body=body)
