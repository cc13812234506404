"""What stores answer otherwise than Amazon S3 is understood, and never as what it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kit.answering_store import answering_store
from twisted_index.backends.object_store.bucket import Bucket, ObjectChanged, ObjectExists
from twisted_index.backends.object_store.conditions import Conditions, probe_conditions
from twisted_index.errors import Unavailable


def _error(code: str, message: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


_CALLS: dict[str, Callable[[Bucket], object]] = {
    "put": lambda bucket: bucket.put("a", b"1", metadata={}),
    "delete": lambda bucket: bucket.delete("a"),
    "copy": lambda bucket: bucket.copy("a", "b"),
    "read": lambda bucket: bucket.read("a", limit=9),
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
@pytest.mark.parametrize("status", [409, 412])
def test_a_refusal_of_what_had_no_condition_is_a_failure(
    status: int, call: Callable[[Bucket], object], monkeypatch: pytest.MonkeyPatch
):
    with (
        answering_store(monkeypatch, (status, _error("OperationAborted"))) as (bucket, _),
        pytest.raises(Unavailable, match="refuses this now"),
    ):
        call(bucket)


def test_a_refusal_of_a_condition_is_no_failure(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, (412, _error("PreconditionFailed"))) as (bucket, _):
        with pytest.raises(ObjectExists):
            bucket.create("a", b"1", metadata={})
        with pytest.raises(ObjectChanged):
            bucket.replace("a", b"1", etag="e", metadata={})
        with pytest.raises(ObjectChanged):
            bucket.read("a", limit=9, etag="e")


def test_an_object_that_is_not_there_is_told_from_a_proxy_without_a_store(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, (404, b"404 page not found"), (404, _error("NoSuchKey"))) as (
        bucket,
        _,
    ):
        with pytest.raises(Unavailable):
            bucket.read("a", limit=9)
        assert bucket.read("a", limit=9) is None


def test_reads_name_etags_in_quotes(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, (412, b"")) as (bucket, seen), pytest.raises(ObjectChanged):
        bucket.read("a", limit=9, etag="e")
    assert seen[0].headers["If-Match"] == '"e"'


def test_writes_name_etags_in_quotes_to_a_store_that_wants_that(monkeypatch: pytest.MonkeyPatch):
    wanted = _error("InvalidArgument", "If-Match each ETag must be surrounded by double quotes")
    with answering_store(monkeypatch, (400, wanted), (412, b"")) as (bucket, seen):
        for _time in range(2):
            with pytest.raises(ObjectChanged):
                bucket.replace("a", b"1", etag="e", metadata={})
    assert [request.headers["If-Match"] for request in seen] == ["e", '"e"', '"e"']


def test_a_store_that_knows_no_conditions_does_not_keep_them(monkeypatch: pytest.MonkeyPatch):
    with answering_store(monkeypatch, (501, _error("NotImplemented"))) as (bucket, _):
        assert probe_conditions(bucket) is Conditions.IGNORED


@pytest.mark.parametrize(
    ("status", "code", "part"),
    [
        (403, "InvalidObjectState", "is archived"),
        (403, "QuotaExceeded", "quota of s3://bucket/p"),
        (400, "Content-MD5 OR x-amz-checksum- HTTP header is required", "AWS_CHECKSUM_ALGORITHM"),
    ],
)
def test_what_a_store_refuses_has_its_sentence(
    status: int, code: str, part: str, monkeypatch: pytest.MonkeyPatch
):
    with (
        answering_store(monkeypatch, (status, _error("Refused", code))) as (bucket, _),
        pytest.raises(Unavailable, match=part),
    ):
        bucket.put("a", b"1", metadata={})
