"""
Requests of lists to a bucket of S3: signed, sent by connections of the standard library. Blocking.

The one of `http_client` needs a running reactor, and answers to other rules: these requests go where those
of the client library go, with the same credentials and by the same variables for proxies and certificates.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from twisted_index.backends.object_store.kept_connections import KeptConnections
from twisted_index.backends.object_store.s3_signature import S3Credentials, query_of, sign_request

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Tries of a request that the store could not serve, and seconds before the next ones.
_PAUSES = (0.1, 0.4)
#: Seconds for which a URL is signed: as long as the store accepts a request that is signed otherwise.
_SIGNED = 900
#: Seconds for which a signed URL is used: credentials that are fetched hold for five minutes at least.
_FETCHED = 240
#: Signed URLs that are kept: as many as a server has busy projects.
_MAX_SIGNED = 1000


class S3Requests:
    """
    Sends requests of lists.

    Args:
        bucket: The name of the bucket.
        options: What the client library gets for each of its stores.
    """

    def __init__(self, bucket: str, options: Mapping[str, Any]) -> None:
        self._bucket = bucket
        self._options = options
        #: By the URL, and the time in which it is used.
        self._signed = lru_cache(_MAX_SIGNED)(self._sign_by_library)

    def get(self, fields: Mapping[str, str]) -> bytes:
        """
        Request the bucket with a query.

        Raises:
            OSError: No answer, or a refusal; its text has no query.
        """
        for pause in (*_PAUSES, None):
            try:
                return self._get(query_of(fields))
            except _Refusal as refusal:
                if pause is None or not refusal.is_passing:
                    raise
            except ConnectionError as error:
                # One that is refused says that nothing is there.
                if pause is None or isinstance(error, ConnectionRefusedError):
                    raise
            time.sleep(pause)
        raise AssertionError

    def _get(self, query: str) -> bytes:
        place, region = self._place
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        headers = {"User-Agent": "twisted-index"}
        url = f"{place}?{query}"
        if is_set("AWS_SKIP_SIGNATURE"):
            pass
        elif key and secret:
            token = os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_TOKEN") or ""
            credentials = S3Credentials(key=key, secret=secret, token=token, region=region)
            headers |= sign_request(credentials, "GET", url, datetime.now(UTC))
        else:
            url = self._signed(url, time.monotonic() // _FETCHED)
        status, body = self._connections.get(url, headers)
        if not 200 <= status < 300:
            self._signed.cache_clear()
            raise _Refusal(status, body)
        return body

    @cached_property
    def _connections(self) -> KeptConnections:
        return KeptConnections(self._place[0])

    @cached_property
    def _place(self) -> tuple[str, str]:
        """The URL of the bucket, and its region, as the library understands the environment."""
        from obstore import sign
        from obstore.store import S3Store

        none: Any = {"access_key_id": "none", "secret_access_key": "none", "skip_signature": False}
        store = S3Store(self._bucket, **none, **self._options)
        parts = urlsplit(sign(store, "GET", "x", timedelta(seconds=1)))
        if parts.scheme == "http" and not self._options["client_options"]["allow_http"]:
            raise OSError("BadScheme")
        region = parse_qs(parts.query)["X-Amz-Credential"][0].split("/")[2]
        return parts._replace(query="", path=parts.path.removesuffix("/x")).geturl(), region

    def _sign_by_library(self, url: str, _time: float) -> str:
        """Sign a URL with credentials that the library fetches for it, and shows to nothing else."""
        from obstore import sign
        from obstore.store import S3Store

        # It signs keys only. So called, an endpoint is the URL of a bucket, and the empty key a slash.
        options: Any = {**self._options, "virtual_hosted_style_request": True}
        store = S3Store(self._bucket, endpoint=f"{url}&x-id=", **options)
        return sign(store, "GET", "", timedelta(seconds=_SIGNED))


class _Refusal(OSError):
    """What a store answers in place of a list: its status and code, which hold no secrets."""

    def __init__(self, status: int, body: bytes) -> None:
        code = re.search(rb"<Code>([A-Za-z]{1,60})</Code>", body)
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        late = "RequestTimeTooSkewed" if b"Request has expired" in body else ""
        super().__init__(f"{status} {reason} {code[1].decode() if code else ''} {late}".rstrip())
        self.is_passing = status >= 500 or status == 429


def is_set(variable: str) -> bool:
    """Return whether a variable of the environment says yes, as the library understands it."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on", "y")
