"""Signatures of requests to S3: Signature Version 4, in the API reference of Amazon S3."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class S3Credentials:
    """
    What signs requests.

    Attributes:
        key: The id of the access key.
        secret: The access key.
        token: Of a session; empty without one.
        region: Of the bucket.
    """

    key: str
    secret: str
    token: str = ""
    region: str


def sign_request(
    credentials: S3Credentials, method: str, url: str, now: datetime, *, content: bytes = b""
) -> dict[str, str]:
    """
    Return the headers that sign a request.

    Args:
        credentials: Those of the client.
        method: Such as GET.
        url: With its query, as `query_of` writes it.
        now: In UTC; the store accepts a quarter of an hour more or less.
        content: The body.
    """
    parts = urlsplit(url)
    time, scope = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}/{credentials.region}/s3/aws4_request"
    sha256 = hashlib.sha256(content).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": sha256, "x-amz-date": time}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join([method, parts.path or "/", parts.query, *lines, "", names, sha256])
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{credentials.secret}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}"):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return headers


def query_of(fields: Mapping[str, str]) -> str:
    """Write a query as it is signed: sorted, and all but the unreserved characters escaped."""
    return urlencode(sorted(fields.items()), quote_via=quote, safe="~")
