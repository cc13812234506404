"""Writes objects of any key, also those that the client library refuses."""

from __future__ import annotations

import http.client
import os
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from twisted_index.backends.object_store.s3_signature import S3Credentials, sign_request


def put_raw(url: str, key: str | bytes, content: bytes = b"") -> None:
    """Put an object of any key below the URL of a place; the environment says where the store is."""
    bucket, _slash, prefix = url.removeprefix("s3://").partition("/")
    name = key.encode() if isinstance(key, str) else key
    path = f"/{bucket}/{quote(prefix.encode() + b'/' + name if prefix else name, safe='/')}"
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    assert endpoint.hostname is not None
    credentials = S3Credentials(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
    )
    now = datetime.now(UTC)
    headers = sign_request(credentials, "PUT", f"{endpoint.geturl()}{path}", now, content=content)
    connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port, timeout=20)
    try:
        # As it is: clients would make another path of one with two dots.
        connection.request("PUT", path, content, headers)
        answer = connection.getresponse()
        assert answer.status == 200, (key, answer.status, answer.read())
    finally:
        connection.close()
