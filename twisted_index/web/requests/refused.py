"""Which responses are refusals, and what the audit log says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import (
    Forbidden,
    PromotionForbidden,
    SimpleIndexError,
    TooManyRequests,
    Unauthorized,
)
from twisted_index.events.origin import EventOrigin
from twisted_index.events.refusals import Refusal
from twisted_index.interfaces import ANONYMOUS
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from twisted.web.server import Request

    from twisted_index.events.refusals import Refusals
    from twisted_index.simple.names import Distribution
    from twisted_index.web.requests.client_info import ClientInfoReader


class RefusalRecorder:
    """
    Records logins, requests and uploads that are refused.

    Args:
        refusals: Records them; None records none.
        client_info: Reads the address of a client.
    """

    def __init__(self, refusals: Refusals | None, client_info: ClientInfoReader, *, index: str = "") -> None:
        self._refusals = refusals
        self._client_info = client_info
        self._index = index

    def origin(self, request: Request) -> EventOrigin:
        """Return the client of a request."""
        return EventOrigin.of(self._client_info.read(request).address, header(request, b"User-Agent"))

    def record(self, request: Request, error: Exception) -> None:
        """Record a response to a request if it is a refused login, or about rights."""
        if self._refusals is None:
            return
        if isinstance(error, (Unauthorized, TooManyRequests)):
            # Without credentials it is only a challenge.
            if header(request, b"Authorization") is not None:
                self._refusals.add(self._login(request, error))
        elif isinstance(error, PromotionForbidden):
            self._refusals.add(self._refusal(request, error, project=error.refusals[0].name))
        elif isinstance(error, Forbidden):
            self._refusals.add(self._refusal(request, error, project=error.project))

    def record_upload(self, request: Request, error: SimpleIndexError, file: Distribution | None) -> None:
        """Record a refused upload; its file may not be known yet."""
        if isinstance(error, (Unauthorized, TooManyRequests)):
            self.record(request, error)
        elif self._refusals is not None and error.status < 500:
            project, filename = ("", "") if file is None else (file.project, file.filename)
            self._refusals.add(self._refusal(request, error, project=project, filename=filename))

    def _login(self, request: Request, error: Unauthorized | TooManyRequests) -> Refusal:
        whose = f"login of {error.claimed}" if error.claimed else "login"
        return Refusal(
            origin=self.origin(request), kind=whose, by=ANONYMOUS.name, message=f"{whose}: {error.message}"
        )

    def _refusal(
        self, request: Request, error: SimpleIndexError, *, project: str, filename: str = ""
    ) -> Refusal:
        return Refusal(
            origin=self.origin(request),
            kind=str(error.status),
            by=getattr(request, "user_name", ANONYMOUS.name),
            message=error.message,
            project=project,
            filename=filename,
            index=self._index,
        )
