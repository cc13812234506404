"""The view that promotes releases from this index into another one of the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import (
    BadRequest,
    Conflict,
    NotFound,
    PromotionForbidden,
    PromotionRefused,
    RefusedPart,
)
from twisted_index.indexes.scope import Scope
from twisted_index.interfaces import Action, IPromotionTarget
from twisted_index.simple.name_patterns import is_index_name
from twisted_index.simple.names import is_valid_name, normalize
from twisted_index.web.requests.context import JSON, read_json
from twisted_index.web.responses.response import Response, with_change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.indexes.served_index import IIndexes, ServedIndex
    from twisted_index.interfaces import Identity, PromotionOutcome
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext

_KEYS = {"to", "releases", "yanked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionBody:
    """
    What a client asks for.

    Attributes:
        to: The name of the target; empty for the index without a name.
        releases: As `PROJECT==VERSION`.
        yanked: Whether yanked files come along.
    """

    to: str
    releases: tuple[str, ...]
    yanked: bool

    @property
    def projects(self) -> tuple[str, ...]:
        """The normalized names of the projects."""
        return tuple(sorted({_project_of(release) for release in self.releases}))


class PromoteView:
    """
    Promotes releases, for clients that may.

    Args:
        indexes: The indexes of the server; None without any but this one.
        served: The index that releases come from.
        authorizer: Checks the rights of the client.
    """

    def __init__(self, indexes: IIndexes | None, served: ServedIndex, authorizer: Authorizer) -> None:
        self._indexes = indexes
        self._served = served
        self._authorizer = authorizer

    async def promote(self, context: RequestContext) -> Response:
        """Promote releases; the response has all that is in the way, or the files that have come."""
        wanted = parse_promotion(read_json(context.request))
        identity = await self._authorizer.authenticate(context.request)
        forbidden = list(self._forbidden(wanted, identity))
        if forbidden and not identity.is_authenticated:
            # Clients log in at a 401 only.
            self._authorizer.refuse(identity, Action.PROMOTE, forbidden[0].name, index=wanted.to)
        names = {refusal.name for refusal in forbidden}
        allowed = [release for release in wanted.releases if _project_of(release) not in names]
        if not allowed:
            raise PromotionForbidden(forbidden)
        refusals = [*forbidden, *self._elsewhere(wanted)]
        target = await self._store_of(wanted.to)
        try:
            outcome = await self._promote(target, wanted, allowed, identity, refusals)
        except PromotionRefused as error:
            if any(part.is_forbidden for part in error.refusals):
                raise PromotionForbidden(error.refusals) from None
            raise
        response = Response(headers=JSON, body=_document(self._served.scope.index, wanted, outcome))
        return with_change(response, target, wanted.projects)

    async def _promote(
        self,
        target: IPromotionTarget,
        wanted: PromotionBody,
        releases: list[str],
        identity: Identity,
        refusals: list[RefusedPart],
    ) -> PromotionOutcome:
        source = self._served.store
        if source is None:
            raise Conflict("From here nothing can be promoted.")
        outcome: PromotionOutcome = await result_of(
            target.promote,
            source,
            releases,
            by=identity.name,
            yanked=wanted.yanked,
            may_create=lambda project: self._authorizer.permits(
                identity, Action.UPLOAD, project, index=wanted.to
            ),
            refusals=refusals,
        )
        return outcome

    def _forbidden(self, wanted: PromotionBody, identity: Identity) -> Iterator[RefusedPart]:
        """Yield the projects that a client may not promote: nothing else is said of them."""
        permits, to = self._authorizer.permits, wanted.to
        for project in wanted.projects:
            if not permits(identity, Action.READ, project):
                reason = f"{identity.name} may not read it here."
            elif not permits(identity, Action.PROMOTE, project, index=to):
                reason = f"{identity.name} may not promote it to {to or 'the index without a name'}."
            else:
                continue
            yield RefusedPart(name=project, reason=reason, is_forbidden=True)

    def _elsewhere(self, wanted: PromotionBody) -> Iterator[RefusedPart]:
        allowed = self._served.promote_to
        if allowed is not None and wanted.to not in allowed:
            where = f"to {', '.join(allowed)} only" if allowed else "nowhere"
            name = wanted.to or "the index without a name"
            yield RefusedPart(name=name, reason=f"What is here may be promoted {where}.")

    async def _store_of(self, index: str) -> IPromotionTarget:
        if self._indexes is None:
            raise NotFound("This server has no other index.")
        looking = self._indexes.look(Scope(index=index))
        if looking is not None:
            await looking
        store = self._indexes.find(Scope(index=index)).store
        target = None if store is None else IPromotionTarget(store, None)
        if target is None:
            raise Conflict(f"Into {index or 'the index without a name'} nothing can be promoted.")
        return target


def parse_promotion(document: object) -> PromotionBody:
    """
    Parse the body of a request for a promotion.

    Raises:
        BadRequest: A key is unknown, or its value cannot be used.
    """
    if not isinstance(document, dict) or not document.keys() <= _KEYS:
        raise BadRequest('The body must be a JSON object with "to", "releases" and perhaps "yanked".')
    to, releases, yanked = document.get("to"), document.get("releases"), document.get("yanked", False)
    if not isinstance(to, str) or not (to == "" or is_index_name(to)):
        raise BadRequest('"to" must be the name of an index.')
    if not isinstance(releases, list) or not releases or not all(map(_is_release, releases)):
        raise BadRequest('"releases" must be a list such as ["acme==1.2"].')
    if not isinstance(yanked, bool):
        raise BadRequest('"yanked" must be true or false.')
    return PromotionBody(to=to, releases=tuple(releases), yanked=yanked)


def _is_release(text: object) -> bool:
    return isinstance(text, str) and "==" in text and is_valid_name(text.partition("==")[0].strip())


def _project_of(release: str) -> str:
    return normalize(release.partition("==")[0].strip())


def _document(source: str, wanted: PromotionBody, outcome: PromotionOutcome) -> bytes:
    published = [
        {"project": file.project, "filename": file.filename, "sha256": file.sha256}
        for file in outcome.published
    ]
    document = {
        "id": outcome.id,
        "from": source,
        "to": wanted.to,
        "published": published,
        "present": list(outcome.present),
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n"
