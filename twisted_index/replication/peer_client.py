"""HTTP client for other servers of a replication: asks for their roles, and for a hand-over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredList
from twisted.web.http_headers import Headers

from twisted_index.errors import BadGateway, SimpleIndexError
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import NetrcCredentials, split_userinfo
from twisted_index.http_client.error_message import read_error_message
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.retry import Denied
from twisted_index.http_client.urls import origin_of
from twisted_index.replication.peers import parse_answer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from twisted.internet.defer import Deferred

    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.replication.peers import PeerAnswer

#: Seconds for an answer: changes wait for those of all peers.
_SECONDS = 2.0
#: Seconds for a hand-over: the primary waits for running uploads, and scans all projects.
_HAND_OVER = 600.0
#: Bytes of an answer.
_MAX_BODY = 64 << 10


class PeerServers:
    """
    The servers of a replication, by their URLs.

    Args:
        reactor: Twisted's reactor.
        environ: Environment variables that name proxies, certificates and the netrc file.
    """

    def __init__(self, reactor: Any, *, environ: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._environ = environ
        self._clients: dict[str, tuple[HTTPClient, str]] = {}

    async def ask(self, url: str) -> PeerAnswer:
        """
        Ask a server for its role.

        Args:
            url: The URL of the server. Its user and password are sent to its origin only.

        Raises:
            SimpleIndexError: The server does not answer within seconds, or is none of this project.
        """
        return await self._within(url, _SECONDS, self._request("GET", url, None, _SECONDS))

    async def hand_over(self, url: str) -> PeerAnswer:
        """
        Ask a primary to hand over.

        Args:
            url: As for `ask`.

        Returns:
            Its state afterwards: it is retired, and the serial is that of its last change.

        Raises:
            SimpleIndexError: It refuses, or it is unknown whether it has handed over.
        """
        body = json.dumps({"hand-over": True}).encode("ascii")
        return await self._within(url, _HAND_OVER, self._request("POST", url, body, _HAND_OVER))

    def close(self) -> Deferred[Any]:
        """Close idle connections."""
        return DeferredList([client.close() for client, _url in self._clients.values()])

    def _within(
        self, url: str, seconds: float, work: Coroutine[Any, Any, PeerAnswer]
    ) -> Deferred[PeerAnswer]:
        return self._client(url)[0].with_timeout(work, seconds)

    def _client(self, url: str) -> tuple[HTTPClient, str]:
        if url not in self._clients:
            clean, account = split_userinfo(url)
            client = HTTPClient(
                origin_of(clean),
                self._reactor,
                "server",
                environ=self._environ,
                # The operator has named this server, so any address is allowed; redirects are not followed.
                egress_policy=None,
                credentials=account or NetrcCredentials(clean, self._environ),
                limits=ClientLimits(connect=_SECONDS, head=_HAND_OVER, max_body=_MAX_BODY, tries=1),
                persistent=False,
            )
            self._clients[url] = client, f"{clean}-/replication"
        return self._clients[url]

    async def _request(self, method: str, url: str, body: bytes | None, seconds: float) -> PeerAnswer:
        client, target = self._client(url)
        headers = Headers({b"Accept": [b"application/json"]})
        if body is not None:
            headers.setRawHeaders(b"Content-Type", [b"application/json"])
        response = await client.request(method, target, headers, body, head=seconds)
        if response.status == 200:
            return parse_answer(await response.body.read())
        raise await self._refusal(response, hands_over=method == "POST")

    async def _refusal(self, response: HTTPResponse, *, hands_over: bool) -> SimpleIndexError:
        message = await read_error_message(response)
        said = f" It says: {message}" if message else ""
        if response.status in (401, 403):
            # What a server is, it tells everyone, but for those whose token it does not know.
            needed = ", with a token that has the right manage" if hands_over else ""
            return Denied(
                f"It does not accept the token in the URL or netrc ({response.status}); write"
                f" https://__token__:TOKEN@HOST, or an entry of netrc{needed}.{said}"
            )
        return BadGateway(f"It responds with {response.status}.{said}")
