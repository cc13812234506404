"""A source over several buckets: an index, and what it inherits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.backends.object_store.shelf import place, read_whole
from tests.backends.object_store.writers import candidate_of
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.bucket_view import BucketView
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.object_reader import ObjectReader
from twisted_index.backends.object_store.object_root import ObjectRoot
from twisted_index.backends.object_store.source import ObjectBase, ObjectSource
from twisted_index.errors import Conflict, Unavailable
from twisted_index.simple.model import File, ProjectStatus, Status
from twisted_index.testing import SynchronousRunner, make_wheel

OLD, NEW = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
OTHER_OLD = make_wheel("demo", "1.0", files={"other.txt": b"other"})


class Line:
    """`dev` inherits `base`, both in one bucket."""

    def __init__(self) -> None:
        self.whole = MemoryBucket("s3://bucket/indexes")
        self.clock = Clock()
        self.roots = {
            name: ObjectRoot(BucketView(self.whole, name), worker=SynchronousRunner(), reactor=self.clock)
            for name in ("dev", "base")
        }
        self.source = ObjectSource(
            self.roots["dev"],
            bases=[ObjectBase("base", self.roots["base"])],
            worker=SynchronousRunner(),
            reactor=self.clock,
        )
        self.editor = ObjectEditor(self.source.bucket, self.source.reader, index="dev")

    def files(self) -> dict[str, File]:
        page = answer(self.source.project_page, "demo").value
        return {} if page is None else {file.version: file for file in page.files}

    def keys_of(self, *prefixes: str) -> list[str]:
        return [key for key in sorted(self.whole.keys()) if key.startswith(prefixes)]

    def publish(self, made: Any) -> object:
        with candidate_of(made) as candidate:
            return self.editor.publish(candidate)


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_page_has_the_files_of_all_buckets_and_links_each_at_its_owner(line: Line):
    place(line.whole, NEW, prefix="dev/")
    place(line.whole, OLD, prefix="base/")
    owners = {version: file.owner for version, file in line.files().items()}
    assert owners == {"1.0": "base", "2.0": None}


def test_the_list_has_the_names_of_all_buckets(line: Line):
    place(line.whole, make_wheel("mine", "1.0"), prefix="dev/")
    place(line.whole, OLD, prefix="base/")
    assert answer(line.source.project_list).value.names == ("demo", "mine")


def test_what_any_bucket_quarantines_is_not_listed(line: Line):
    place(line.whole, NEW, prefix="dev/")
    line.whole.place("base/demo/.quarantined", b"")
    assert answer(line.source.project_list).value.names == ()


def test_a_file_of_a_base_is_read_from_there(line: Line):
    place(line.whole, OLD, prefix="base/")
    body = answer(line.source.open_file, "demo", OLD.filename)
    assert read_whole(body) == OLD.content


def test_a_page_without_its_base_is_unavailable(line: Line):
    place(line.whole, NEW, prefix="dev/")
    line.whole.fail("list", "base*")
    with pytest.raises(Unavailable):
        line.files()


def test_two_lines_list_a_base_once(line: Line):
    place(line.whole, OLD, prefix="base/")
    heir = ObjectSource(line.roots["base"], worker=SynchronousRunner(), reactor=line.clock)
    line.files()
    line.whole.forget_operations()
    answer(heir.project_page, "demo")
    assert not line.whole.operations


def test_other_bytes_under_an_inherited_name_are_refused(line: Line):
    place(line.whole, OLD, prefix="base/")
    with pytest.raises(Conflict, match="the index base"):
        line.publish(OTHER_OLD)


def test_the_inherited_bytes_may_be_published_in_front_of_it(line: Line):
    place(line.whole, OLD, prefix="base/")
    line.publish(OLD)
    assert line.keys_of("dev/demo/") == [f"dev/demo/{OLD.filename}"]


@pytest.mark.parametrize(
    "change",
    [
        lambda editor: editor.yank("demo", version="1.0", filename=None, reason="", by="alice"),
        lambda editor: editor.delete("demo", OLD.filename, by="alice"),
        lambda editor: editor.set_status("demo", ProjectStatus(status=Status.ARCHIVED), by="alice"),
    ],
    ids=["yank", "delete", "status"],
)
def test_what_is_inherited_is_changed_in_its_own_index_only(line: Line, change: Any):
    place(line.whole, OLD, prefix="base/")
    with pytest.raises(Conflict, match="It lies in the index base, which dev inherits"):
        change(line.editor)
    assert line.keys_of("base/demo/", "dev/demo/") == [f"base/demo/{OLD.filename}"]


def test_a_name_that_a_base_has_deleted_stays_taken(line: Line):
    place(line.whole, OLD, prefix="base/")
    base = ObjectEditor(BucketView(line.whole, "base"), ObjectReader([line.roots["base"]]), index="base")
    base.delete("demo", OLD.filename, by="alice")
    with pytest.raises(Conflict, match="was deleted in the index base"):
        line.publish(OLD)


def test_a_change_of_a_view_is_below_its_prefix(line: Line):
    line.editor.now = lambda: datetime(2026, 1, 1, tzinfo=UTC)
    line.publish(NEW)
    line.editor.yank("demo", version="2.0", filename=None, reason="bad", by="alice")
    assert line.keys_of("dev/demo/") == [f"dev/demo/{NEW.filename}", f"dev/demo/{NEW.filename}.yanked"]
