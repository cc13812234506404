"""
A treq client over our own agent, without cookies and URL re-encoding.

Imported by the first request, so an idle server never loads treq.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConsumer
    from twisted.web.iweb import IAgent


class ExactURL(EncodedURL):
    """
    A URL that treq passes on unchanged.

    hyperlink's `to_uri` raises for hosts that are IPv6 literals or have an underscore, and rewrites
    escapes; the requested URL must be the checked one.

    Args:
        text: The URL: absolute, ASCII.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def to_uri(self) -> ExactURL:
        """Return this very URL."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """Return the original text."""
        return self._text


@implementer(IBodyProducer)
class RequestBody:
    """
    The body of a request, written at once.

    treq's own producer runs in Twisted's global cooperator, and so in the global reactor.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the body."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: everything has been written."""

    resumeProducing = stopProducing = pauseProducing


def client_over(agent: IAgent) -> Any:
    """Return a treq client that keeps no cookies."""
    jar = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    return HTTPClient(agent, jar, _producer)


def _producer(body: bytes | IBodyProducer) -> IBodyProducer:
    return RequestBody(body) if isinstance(body, bytes) else body
