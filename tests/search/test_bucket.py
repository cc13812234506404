"""What is known of the projects of a bucket is read by ranges, once."""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.indexes.composite import local_parts
from twisted_index.search.directory import ProjectDirectory
from twisted_index.search.row_store import RowStore
from twisted_index.testing import BuiltFile, SynchronousRunner, make_sdist, make_wheel

SUMMARY = ["Summary: Python Imaging Library (fork)"]
#: Larger than what is read of its end.
BALLAST = {"PIL/__init__.py": "", "PIL/data": b"\0\1" * (1 << 20)}


def everything() -> None:
    """Let everyone read all."""


def directory(bucket: MemoryBucket) -> ProjectDirectory:
    threads = SynchronousRunner()
    clock = Clock()
    source = ObjectSource(bucket, worker=threads, reactor=clock)
    parts = local_parts(source)
    return ProjectDirectory(source, parts, RowStore(), thread=threads, reader=threads, clock=clock)


def put(bucket: MemoryBucket, file: BuiltFile) -> None:
    bucket.put(f"{file.project}/{file.filename}", file.content, metadata={})


def test_a_project_of_a_bucket_is_found_by_its_import_name():
    bucket = MemoryBucket()
    put(bucket, make_wheel("Pillow", "2.0", files=BALLAST, extra_metadata=SUMMARY, compress=False))
    put(bucket, make_sdist("other", "1.0", extra_metadata=["Summary: only a source"]))
    searched = directory(bucket)
    (hit,) = answer(searched.search, "PIL", everything, 5).results
    assert (hit.row.shown_name, hit.row.summary, hit.why) == ("Pillow", SUMMARY[0][9:], "imports PIL")
    (hit,) = answer(searched.search, "only a source", everything, 5).results
    assert hit.row.name == "other"


def test_nothing_is_read_again_by_the_next_search():
    bucket = MemoryBucket()
    put(bucket, make_wheel("pillow", "2.0", files=BALLAST, compress=False))
    searched = directory(bucket)
    answer(searched.search, "PIL", everything, 5)
    bucket.operations.clear()
    answer(searched.search, "PIL", everything, 5)
    assert not bucket.operations["read"]
