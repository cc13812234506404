"""The view of `/-/why/NAME`: who was asked for a project, who owns it, and what hides each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import TooManyRequests
from twisted_index.http_semantics.client_network import client_network
from twisted_index.http_semantics.negotiation import DocumentFormat, document_format
from twisted_index.indexes.composite import explain
from twisted_index.indexes.why import Asker, answer_why
from twisted_index.interfaces import Action
from twisted_index.web.pages.why import write_why_json, write_why_page, write_why_text
from twisted_index.web.requests.context import HTML, JSON, TEXT
from twisted_index.web.responses.response import Response, keep_private
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.concurrency.token_bucket import TokenBuckets
    from twisted_index.interfaces import Identity, ISource
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.client_info import ClientInfoReader
    from twisted_index.web.requests.context import RequestContext

#: Answers of one network of clients in a row, and per second: each looks at every file of a project.
BURST, PER_SECOND = 20, 1.0


class WhyView:
    """
    Explains pages.

    Args:
        source: Has the pages.
        authorizer: Says what a client may see.
        client_info: Reads the address of a client.
        buckets: Bound how often each network of clients may ask.
        index: The name of the index; empty for the one without a name.
        worker: Threads that write the answers; without it the reactor thread writes them.
    """

    def __init__(
        self,
        source: ISource,
        *,
        authorizer: Authorizer,
        client_info: ClientInfoReader,
        buckets: TokenBuckets,
        index: str = "",
        worker: IThreadRunner | None = None,
    ) -> None:
        self._source = source
        self._authorizer = authorizer
        self._client_info = client_info
        self._buckets = buckets
        self._index = index
        self._worker = worker

    async def show(self, context: RequestContext) -> Response:
        """Respond with the answer for this client."""
        self._refuse_haste(context)
        route = context.route
        asker = self._asker(await self._identity(context), route.project)
        found = await explain(self._source, route.project)

        def respond() -> Response:
            why = answer_why(found, route.project, route.version, self._index, asker)
            form = document_format(context.accept)
            if form is DocumentFormat.HTML:
                return Response(headers=(*HTML, _VARY), body=write_why_page(why, context.frame))
            if form is DocumentFormat.TEXT:
                return Response(headers=(*TEXT, _VARY), body=write_why_text(why))
            return Response(headers=(*JSON, _VARY), body=write_why_json(why))

        # It depends on what else the client may do, also where everyone may read.
        return keep_private(respond() if self._worker is None else await self._worker.run(respond))

    def _refuse_haste(self, context: RequestContext) -> None:
        wait = self._buckets.take(client_network(self._client_info.read(context.request).address))
        if wait:
            raise TooManyRequests(f"Too many questions; retry in {wait} s.", wait)

    async def _identity(self, context: RequestContext) -> Identity:
        """Identify a client that has credentials, also where everyone may read."""
        request = context.request
        has_credentials = header(request, b"Authorization") or self._client_info.read(request).user
        if context.identity.is_authenticated or not has_credentials:
            return context.identity
        return await self._authorizer.authenticate(request)

    def _asker(self, identity: Identity, project: str) -> Asker:
        guard = self._authorizer
        operates = guard.permits(identity, Action.OPERATE)
        return Asker(
            may_read=lambda index: guard.permits(identity, Action.READ, project, index=index),
            operates=operates,
            publishes=operates or guard.is_open or guard.permits(identity, Action.UPLOAD, project),
        )


_VARY = (b"Vary", b"Accept")
