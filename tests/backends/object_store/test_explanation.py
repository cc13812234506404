"""Why a page of a bucket is what it is: the words that are its own."""

from __future__ import annotations

import pytest

from tests.backends.object_store.shelf import Node, place
from tests.kit.at_once import answer
from tests.kit.bucket_indexes import Node as IndexNode
from tests.kit.bucket_indexes import add
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.backends.object_store.staged_objects import key_of_list, key_of_marker
from twisted_index.errors import Unavailable
from twisted_index.indexes.composite import explain, unasked
from twisted_index.interfaces import Explanation
from twisted_index.simple.explanation import Obstacle, SourceKind
from twisted_index.testing import make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")


@pytest.fixture
def bucket() -> MemoryBucket:
    bucket = MemoryBucket("s3://bucket/packages")
    place(bucket, ONE)
    return bucket


def why(node: Node, project: str = "demo") -> Explanation:
    found: Explanation = answer(explain, node.source, project)
    return found


def hidden(node: Node) -> list[tuple[str, Obstacle, str]]:
    return [(file.path, file.obstacle, file.version) for file in why(node).hidden]


def test_the_owner_of_a_name_is_the_bucket_by_its_url(bucket: MemoryBucket):
    (said,) = why(Node(bucket)).sources
    assert (said.kind, said.name) == (SourceKind.FOLDER, "bucket s3://bucket/packages")
    assert (said.claims, said.entry, said.says) == (True, f"demo/{ONE.filename}", "has 1 file of it")


def test_a_bucket_that_does_not_answer_may_have_it(bucket: MemoryBucket):
    bucket.fail(times=100, error=Unavailable("The object store does not answer."))
    found = why(Node(bucket))
    assert found.error is not None
    assert [one.says for one in found.sources] == ["may have it: The object store does not answer."]


def test_a_bucket_that_was_not_asked_is_named(bucket: MemoryBucket):
    (said,) = unasked(Node(bucket).source, "was not asked")
    assert (said.name, said.asked) == ("bucket s3://bucket/packages", False)


def test_a_file_that_a_promotion_hides_names_it(bucket: MemoryBucket):
    place(bucket, TWO)
    bucket.place(key_of_list("20261101-1"), f"{TWO.filename}.provenance\n{TWO.filename}\n".encode())
    bucket.place(f"demo/{TWO.filename}.provenance", b"{}")
    bucket.place(key_of_marker("demo", "20261101-1"))
    (file,) = why(Node(bucket)).hidden
    assert (file.path, file.obstacle, file.version) == (f"demo/{TWO.filename}", Obstacle.STAGED, "2.0")
    assert "the promotion 20261101-1 shows it" in file.reason


def test_a_file_whose_upload_did_not_end_is_said(bucket: MemoryBucket):
    bucket.place(f"demo/{TWO.filename}{CLAIM}", b"{}")
    bucket.place(f"demo/{TWO.filename}", b"")
    assert hidden(Node(bucket)) == [(f"demo/{TWO.filename}", Obstacle.UNREAD, "2.0")]


def test_what_was_replaced_since_the_page_was_made_is_looked_at_again(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
):
    # What was learned is kept of the last project only.
    monkeypatch.setattr("twisted_index.backends.object_store.object_root._MAX_OBJECTS", 1)
    bucket.place("demo/.deleted", b"# none\n")
    place(bucket, make_wheel("other", "1.0"))
    node = Node(bucket)
    node.page("demo")
    node.page("other")
    line = f"{TWO.sha256}  {TWO.size}  2026-11-01T10:00:00Z  {TWO.filename}  by alice\n"
    bucket.place("demo/.deleted", line.encode())
    (file,) = why(node).hidden
    assert (file.filename, file.obstacle, file.note) == (TWO.filename, Obstacle.DELETED, "by alice")


def test_a_page_that_was_made_costs_no_request(bucket: MemoryBucket):
    bucket.place("demo/.deleted", f"-  -  2026-11-01T10:00:00Z  {TWO.filename}\n".encode())
    node = Node(bucket)
    node.page("demo")
    bucket.forget_operations()
    assert hidden(node) == [("", Obstacle.DELETED, "2.0")]
    assert bucket.calls == []


def test_an_index_of_a_bucket_and_its_base_are_named(bucket: MemoryBucket):
    bucket = MemoryBucket("s3://bucket/indexes")
    add(bucket, "base", ONE)
    add(bucket, "dev", TWO, settings='bases = ["base"]\n')
    bucket.place(f"base/demo/{TWO.filename}", make_wheel("demo", "2.0", files={"x.txt": b""}).content)
    found: Explanation = answer(explain, IndexNode(bucket).find("dev").source, "demo")
    names = [(one.name, one.index, one.claims) for one in found.sources][:2]
    assert names == [("bucket s3://bucket/indexes/dev", None, True), ("index base", "base", False)]
    (file,) = found.hidden
    assert (file.obstacle, file.index) == (Obstacle.SHADOWED, "base")
    assert "in bucket s3://bucket/indexes/dev comes first" in file.reason
