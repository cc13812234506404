"""Requests of lists go where those of the client library go, and their failures say what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from twisted.logger import capturedLogs, formatEvent

from tests.kit.answering_store import EMPTY, answering_store, set_credentials
from twisted_index.backends.object_store.bucket import WriteForbidden
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.backends.object_store.s3_signature import S3Credentials, query_of, sign_request
from twisted_index.backends.object_store.settled_writes import SettledWrites
from twisted_index.config.bucket_location import Location
from twisted_index.errors import ConfigurationError, Unavailable


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_address_of_the_store_that_is_no_url_is_refused_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("obstore")
    set_credentials(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv(name, "store.example:9000")
    with pytest.raises(ConfigurationError, match=f"{name} has to be a URL"):
        StoreBucket(Location("s3", "bucket"))


def test_the_signature_is_that_of_the_published_example():
    # "Authenticating Requests: Using the Authorization Header" of Amazon S3, the example of a list.
    example = S3Credentials(
        key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
    )
    url = f"https://examplebucket.s3.amazonaws.com/?{query_of({'prefix': 'J', 'max-keys': '2'})}"
    headers = sign_request(example, "GET", url, datetime(2013, 5, 24, tzinfo=UTC))
    assert headers["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_a_list_is_requested_with_the_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t0ken")
    with answering_store(monkeypatch) as (bucket, seen):
        assert bucket.list_all("foo").is_complete
    (request,) = seen
    assert "Credential=AKID/" in request.headers["Authorization"]
    assert "/eu-central-1/s3/" in request.headers["Authorization"]
    assert request.headers["X-Amz-Security-Token"] == "t0ken"
    assert request.path == "/bucket?encoding-type=url&list-type=2&prefix=p%2Ffoo%2F"


def test_a_list_of_a_public_bucket_is_not_signed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with answering_store(monkeypatch) as (bucket, seen):
        bucket.list_all()
    assert seen[0].headers["Authorization"] is None


def fetch_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreBucket:
    """Return a bucket whose credentials come from the store's address."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "token").write_text("proof")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{os.environ['AWS_ENDPOINT_URL']}/keys")
    return StoreBucket(Location("s3", "bucket", "p"))


def keys(name: str) -> tuple[int, bytes]:
    fields = {"AccessKeyId": name, "SecretAccessKey": "s", "Token": "t"}
    return 200, json.dumps({**fields, "Expiration": "2099-01-01T00:00:00Z"}).encode()


def test_credentials_that_the_library_fetches_sign_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, keys("FETCHED"), (200, EMPTY)) as (_, seen):
        fetch_credentials(tmp_path, monkeypatch).list_all("foo")
    query = parse_qs(urlsplit(seen[-1].path).query)
    assert query["X-Amz-Credential"][0].startswith("FETCHED/")
    assert (query["prefix"], query["list-type"]) == (["p/foo/"], ["2"])


def test_they_are_fetched_once_for_a_list_that_is_requested_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with answering_store(monkeypatch, keys("FETCHED"), (200, EMPTY)) as (_, seen):
        bucket = fetch_credentials(tmp_path, monkeypatch)
        for _ in range(3):
            bucket.list_all("foo")
    assert [request.path.partition("?")[0] for request in seen] == ["/keys", *["/bucket"] * 3]


def test_they_are_fetched_anew_when_the_store_has_refused_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with answering_store(monkeypatch, keys("OLD"), (403, b""), keys("NEW"), (200, EMPTY)) as (_, seen):
        bucket = fetch_credentials(tmp_path, monkeypatch)
        with pytest.raises(Unavailable):
            bucket.list_all("foo")
        bucket.list_all("foo")
    assert "Credential=NEW%2F" in seen[-1].path


@pytest.mark.parametrize("status", [500, 503, 299])
def test_a_failure_that_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch, status: int):
    with answering_store(monkeypatch, (status, b""), (200, EMPTY)) as (bucket, seen):
        assert bucket.list_all().is_complete
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (403, "SignatureDoesNotMatch", "refuses the credentials"),
        (403, "RequestTimeTooSkewed", "set its clock"),
        (403, "AccessDenied", "grant them the bucket"),
        (404, "NoSuchBucket", "There is no bucket s3://bucket"),
        (503, "SlowDown", "overloaded"),
        (500, "InternalError", "has failed"),
        (301, "PermanentRedirect", "AWS_REGION"),
        (307, "TemporaryRedirect", "AWS_REGION"),
        (200, "InternalError", "does not answer as one"),
        (407, "", "does not answer as one"),
    ],
)
def test_a_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch, status: int, body: str, sentence: str):
    answer = f"<Error><Code>{body}</Code><Message>internal text</Message></Error>".encode()
    with (
        answering_store(monkeypatch, (status, answer)) as (bucket, seen),
        pytest.raises(Unavailable) as raised,
    ):
        bucket.list_all()
    assert sentence in raised.value.message
    assert "internal" not in raised.value.message
    # The request, and what is signed, goes to no other server.
    assert {request.path.partition("?")[0] for request in seen} == {"/bucket"}


def test_credentials_that_may_not_write_are_forbidden_to_and_nothing_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
):
    refusal = (403, b"<Error><Code>AccessDenied</Code></Error>")
    with (
        answering_store(monkeypatch, refusal) as (bucket, seen),
        pytest.raises(WriteForbidden, match="not write"),
    ):
        SettledWrites(bucket).create("demo/demo.whl", b"bytes", metadata={})
    assert len(seen) == 1


def test_a_proxy_of_the_environment_gets_the_request(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch) as (bucket, seen):
        monkeypatch.setenv("http_proxy", os.environ["AWS_ENDPOINT_URL"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
        bucket.list_all()
    assert seen[0].path.startswith("http://store.example/bucket?")


def test_a_proxy_gets_the_login_of_its_url(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch) as (bucket, seen):
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        monkeypatch.setenv("http_proxy", endpoint.replace("//", "//ann:p%20w@"))
        bucket.list_all()
    assert seen[0].headers["Proxy-Authorization"] == "Basic YW5uOnAgdw=="


def test_a_proxy_gets_nothing_of_a_request_to_a_store_with_tls(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, (502, b"")) as (bucket, seen):
        monkeypatch.setenv("https_proxy", os.environ["AWS_ENDPOINT_URL"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example")
        with pytest.raises(Unavailable):
            bucket.list_all()
    assert {(each.command, each.path) for each in seen} == {("CONNECT", "store.example:443")}
    assert not seen[0].headers["Authorization"]


def test_lists_share_a_connection(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, protocol="HTTP/1.1") as (bucket, seen):
        bucket.list_all("foo")
        bucket.list_all("bar")
    assert len(seen) == 2
    assert seen[0].connection is seen[1].connection


def test_a_list_is_requested_anew_at_once_if_the_store_has_closed_the_connection(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("twisted_index.backends.object_store.s3_requests._PAUSES", ())
    with answering_store(monkeypatch, (298, EMPTY), protocol="HTTP/1.1") as (bucket, seen):
        bucket.list_all("foo")
        bucket.list_all("bar")
    assert seen[0].connection is not seen[1].connection


def test_a_connection_that_was_not_used_for_a_while_is_not_used_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.backends.object_store.kept_connections._KEPT", -1.0)
    with answering_store(monkeypatch, protocol="HTTP/1.1") as (bucket, seen):
        bucket.list_all("foo")
        bucket.list_all("bar")
    assert seen[0].connection is not seen[1].connection


def test_a_store_at_an_http_url_is_not_asked_unless_that_is_allowed(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch) as (bucket, seen):
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        with pytest.raises(Unavailable, match="AWS_ALLOW_HTTP"):
            bucket.list_all()
    assert not seen


def test_nothing_secret_is_logged_or_shown(monkeypatch: pytest.MonkeyPatch):
    refusal = (403, b"<Error><Code>AccessDenied</Code></Error>")
    with answering_store(monkeypatch, refusal) as (bucket, _), capturedLogs() as events:  # noqa: SIM117
        with pytest.raises(Unavailable) as raised:
            bucket.list_all()
    texts = [*map(formatEvent, events), raised.value.message, *map(str, _causes(raised.value))]
    assert events
    assert not [text for text in texts if "s3cret" in text or "Signature" in text or "?" in text]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
