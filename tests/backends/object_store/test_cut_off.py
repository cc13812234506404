"""A node dies between any two operations; repeating the change completes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock

from tests.backends.object_store.test_races import KEY, LARGE, LIMIT, OTHER, SMALL
from tests.backends.object_store.writers import Cut, candidate_of, cut_after, make_editor
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.backends.object_store.claimed_upload import ClaimedUpload
from twisted_index.backends.object_store.claims import Claim, Decision
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.settled_writes import UPLOAD, SettledWrites
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.errors import Conflict, NotFound, Unavailable
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.testing import BuiltFile, SynchronousRunner

#: As MemoryBucket dates what it writes, and much later.
EARLY, LATE = datetime.fromtimestamp(1_700_000_100, UTC), datetime.fromtimestamp(1_700_100_000, UTC)
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"

Change = Callable[[ObjectEditor], object]


def _publish(made: BuiltFile) -> Change:
    def publish(editor: ObjectEditor) -> object:
        with candidate_of(made, signature=SIGNATURE) as received:
            return editor.publish(received) or editor.complete(received, by="alice")

    return publish


def _delete(editor: ObjectEditor) -> object:
    return editor.delete("demo", SMALL.filename, by="alice")


def _yank(editor: ObjectEditor) -> object:
    return editor.yank("demo", version="1.0", filename=None, reason="broken", by="alice")


def _archive(editor: ObjectEditor) -> object:
    return editor.set_status("demo", ProjectStatus(status=Status.ARCHIVED, reason="old"), by="alice")


def _shown(bucket: MemoryBucket) -> dict[str, str]:
    """What a node that has just started lists."""
    source = ObjectSource(bucket, worker=SynchronousRunner(), reactor=Clock())
    page = answer(source.project_page, "demo").value
    return {} if page is None else {file.filename: file.hashes["sha256"] for file in page.files}


CHANGES: dict[str, tuple[list[Change], Change, dict[str, object]]] = {
    "a small upload": ([], _publish(SMALL), {}),
    "a large upload": ([], _publish(LARGE), {}),
    "an upload over another": ([_publish(SMALL)], _publish(OTHER), {"overwrite": ["1.0"]}),
    "a large upload over a small one": ([_publish(SMALL)], _publish(LARGE), {"overwrite": ["1.0"]}),
    "a deleted file that returns": ([_publish(SMALL), _delete], _publish(SMALL), {}),
    "a deletion": ([_publish(SMALL), _yank], _delete, {}),
    "a deletion of a large file": ([_publish(LARGE), _yank], _delete, {}),
    "a yank": ([_publish(SMALL)], _yank, {}),
    "a status": ([_publish(SMALL)], _archive, {}),
}


def _prepared(before: list[Change], options: dict[str, object]) -> MemoryBucket:
    bucket = MemoryBucket()
    for change in before:
        change(_editor(bucket, options))
    return bucket


def _editor(bucket: MemoryBucket, options: dict[str, object]) -> ObjectEditor:
    editor = make_editor(bucket, one_request=LIMIT, now=lambda: EARLY, **options)
    assert editor.conditions
    return editor


def _state(bucket: MemoryBucket) -> dict[str, bytes]:
    """All but what is derived, and what was decided of files."""
    keys = bucket.keys()
    return {key: bucket.content(key) for key in keys if not key.startswith(".") and not key.endswith(CLAIM)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_was_cut_off_anywhere_is_completed_by_repeating_it(name: str) -> None:
    before, change, options = CHANGES[name]
    whole = _prepared(before, options)
    old = _shown(whole)
    whole.forget_operations()
    editor = _editor(whole, options)
    whole.forget_operations()
    change(editor)
    new, operations = _shown(whole), sum(whole.operations.values())
    for steps in range(operations):
        bucket = _prepared(before, options)
        editor = _editor(bucket, options)
        cut_after(bucket, steps)
        with suppress(Cut):
            change(editor)
        bucket.before = None
        between = _shown(bucket)
        assert set(between.items()) <= set(old.items()) | set(new.items()), f"after {steps}"
        with suppress(NotFound):
            change(_editor(bucket, options))
        assert _state(bucket) == _state(whole), f"after {steps}"
        assert _shown(bucket) == new


def test_a_claim_without_its_file_takes_the_name_until_it_is_deleted_an_hour_later() -> None:
    bucket = MemoryBucket()
    editor = _editor(bucket, {})
    bucket.fail("put_file", times=9)
    with candidate_of(LARGE) as received, pytest.raises(Exception, match="answer"):
        editor.publish(received)
    assert bucket.content(KEY) == b""
    assert _shown(bucket) == {}
    with candidate_of(OTHER) as other, pytest.raises(Conflict):
        editor.publish(other)
    with pytest.raises(Conflict):
        _delete(editor)
    _delete(make_editor(bucket, now=lambda: LATE))
    assert _state(bucket) == {}
    with candidate_of(OTHER) as other:
        assert editor.publish(other) is not None
    assert set(_shown(bucket)) == {OTHER.filename}


def test_a_large_upload_ends_if_its_name_was_given_free_meanwhile() -> None:
    bucket = MemoryBucket()
    editor = _editor(bucket, {})

    def before(operation: object) -> None:
        if getattr(operation, "method", "") == "read" and getattr(operation, "key", "") == KEY:
            bucket.before = None
            _delete(make_editor(bucket, now=lambda: LATE))
            with candidate_of(OTHER) as other:
                assert make_editor(bucket).publish(other) is not None

    bucket.before = before
    with candidate_of(LARGE) as received, pytest.raises(Unavailable):
        editor.publish(received)
    assert bucket.content(KEY) == OTHER.content


def _withdrawn() -> MemoryBucket:
    """A node has decided to take its file back, and died before it did."""
    bucket = MemoryBucket()
    claim = Claim(hashlib.sha256(LARGE.content).hexdigest(), len(LARGE.content), Decision.WITHDRAWN)
    bucket.place(KEY + CLAIM, claim.format())
    return bucket


@pytest.mark.parametrize("taken", [False, True])
def test_a_claim_that_was_withdrawn_stops_uploads_for_an_hour_at_most(taken: bool) -> None:
    bucket = _withdrawn()
    if taken:
        bucket.place(KEY, b"", {"sha256": hashlib.sha256(LARGE.content).hexdigest()})
    with candidate_of(LARGE) as received:
        with pytest.raises(Unavailable):
            _editor(bucket, {}).publish(received)
        bucket.now_ns = int(LATE.timestamp()) * 10**9
        editor = make_editor(bucket, one_request=LIMIT, now=lambda: LATE)
        assert editor.publish(received) is not None
    assert set(_shown(bucket)) == {LARGE.filename}
    assert b"withdrawn" not in bucket.content(KEY + CLAIM)


def test_of_uploads_that_replace_a_withdrawn_claim_at_once_one_is_its_owner() -> None:
    bucket = _withdrawn()
    bucket.now_ns = int(LATE.timestamp()) * 10**9
    claim = Claim(hashlib.sha256(LARGE.content).hexdigest(), len(LARGE.content))
    first, second = (
        ClaimedUpload(bucket, SettledWrites(bucket), KEY, claim, {UPLOAD: name}, bucket.now_ns)
        for name in ("first", "second")
    )

    def before(operation: Operation) -> None:
        if operation.method == "replace":
            bucket.before = None
            second.take()

    bucket.before = before
    with suppress(Unavailable):
        first.take()
    assert (first.is_owner, second.is_owner) == (False, True)
