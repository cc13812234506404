"""yank, unyank, delete, status and prune with a bucket as their path."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.object_store.learned import LearnedObject, format_learned, object_id
from twisted_index.backends.object_store.project_listing import CLAIM
from twisted_index.errors import Unavailable
from twisted_index.server import buckets
from twisted_index.simple.manifest import parse_line
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Console

WHEEL, SDIST = make_wheel("demo", "1.0"), make_sdist("demo", "1.0")
URL = "s3://bucket/packages"
#: Each with what the one before has left.
COMMANDS = [
    "status demo",
    "status Demo archived --reason=old",
    "status demo",
    "status demo active",
    "status nope",
    "status nope archived",
    "yank demo==1 --reason=broken",
    f"unyank {WHEEL.filename}",
    f"unyank {WHEEL.filename}",
    "yank demo==9",
    "unyank nope==1",
    "delete --dry-run demo==1.0",
    "delete demo==1.0 --reason=leaked",
    "delete demo==1.0",
    f"delete {WHEEL.filename}",
    "prune --keep=1 demo",
    "prune --keep=1 --older=30d --yes demo",
    "prune --keep=1 --yes *",
    "prune --keep=1 --yes demo",
    "prune --keep=1 nope",
]


@pytest.fixture
def bucket(console: Console, monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    """A bucket that has what the folder of the console has."""
    WHEEL.write_to(console.path / "demo")
    for made in (SDIST, make_wheel("demo", "2.0.dev1"), make_wheel("demo", "2.0.dev2")):
        made.write_to(console.path)
    bucket = MemoryBucket(URL)
    bucket.now_ns = time.time_ns()
    for path in console.path.rglob("*.*"):
        bucket.place(path.relative_to(console.path).as_posix(), path.read_bytes(), {})
    monkeypatch.setattr(buckets, "StoreBucket", lambda *_arguments, **_options: bucket)
    return bucket


@pytest.fixture
def told(console: Console) -> Callable[[str], tuple[int, str, str]]:
    """Run a command on the bucket."""

    def run(line: str) -> tuple[int, str, str]:
        command, *words = line.split()
        return console.told(command, "--path", URL, "--state", str(console.state), *words)

    return run


def test_each_does_to_a_bucket_what_it_does_to_a_folder(console: Console, bucket: MemoryBucket, told):
    for line in COMMANDS:
        command, *words = line.split()
        expected = console.told(command, "--path", str(console.path), "--state", "none", *words)
        assert told(line) == expected, line
        assert changed(bucket) == changed_in(console.path), line


def changed(bucket: MemoryBucket) -> dict[str, object]:
    own = (key for key in bucket.keys() if not key.startswith(".keep/"))  # noqa: SIM118
    return {key: said(key, bucket.content(key)) for key in own}


def changed_in(folder: Path) -> dict[str, object]:
    """What a folder has, as `changed`."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".twisted"))
    return {path.relative_to(folder).as_posix(): said(path.name, path.read_bytes()) for path in found}


def said(name: str, content: bytes) -> object:
    """The content, but of a tombstone when it was made."""
    if not name.endswith(".deleted"):
        return content
    return [(line.name, line.sha256, line.note) for line in map(parse_line, content.splitlines())]


def test_the_history_of_the_bucket_has_what_was_done(console: Console, bucket: MemoryBucket, told):
    told("yank demo==1.0")
    told(f"delete {SDIST.filename}")
    events = [bucket.content(key) for key in bucket.keys() if key.startswith(".keep/history/")]  # noqa: SIM118
    assert sorted(json.loads(event)["action"] for event in events) == ["delete", "yank", "yank"]
    assert console.events() == []


def test_an_index_of_a_bucket_is_changed_as_one_of_a_folder(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    indexes, bucket = tmp_path / "indexes", MemoryBucket(URL)
    make_wheel("demo", "2.0").write_to(indexes / "dev" / "demo")
    WHEEL.write_to(indexes / "prod" / "demo")
    (indexes / "dev" / ".index.toml").write_text('bases = ["prod"]')
    for path in filter(Path.is_file, indexes.rglob("*")):
        bucket.place(path.relative_to(indexes).as_posix(), path.read_bytes(), {})
    monkeypatch.setattr(buckets, "StoreBucket", lambda *_arguments, **_options: bucket)
    for line in (
        "yank demo==2.0 --index dev",
        "yank demo==1.0 --index prod",
        "status demo archived --index dev",
        "status demo --index prod",
        "prune --keep=1 --yes demo --index prod",
        "delete demo==1.0 --index dev",
        "delete demo==2.0 --index dev",
        "status demo --index nope",
    ):
        command, *words = line.split()
        here, there = (
            console.told(command, "--indexes", place, "--state", "none", *words)
            for place in (str(indexes), URL)
        )
        assert there == here, line
    assert {"dev/demo/.deleted", "dev/demo/.archived"} <= set(bucket.keys())


def test_the_bucket_comes_from_the_configuration_too(console: Console, bucket: MemoryBucket, tmp_path: Path):
    (tmp_path / "index.toml").write_text(f'path = "{URL}"\nstate = "state"\n')
    code, out, _err = console.told("yank", "--config", str(tmp_path / "index.toml"), WHEEL.filename)
    assert (code, out) == (0, f"Yanked {WHEEL.filename}.\n")
    assert bucket.content(f"demo/{WHEEL.filename}.yanked") == b"\n"


@pytest.mark.parametrize(
    "line", ["yank demo==1.0", "unyank demo==1.0", "delete demo==1.0", "status demo", "prune --keep=1 demo"]
)
def test_a_store_that_is_away_is_one_sentence(bucket: MemoryBucket, told, line: str):
    bucket.fail(times=100, error=Unavailable("The object store does not answer."))
    assert told(line) == (1, "", "twisted-index: The object store does not answer.\n")


def test_a_store_that_keeps_no_conditions_is_changed_by_a_single_writer_only(
    bucket: MemoryBucket, told, monkeypatch: pytest.MonkeyPatch
):
    bucket.keeps_conditions = False
    code, out, err = told("yank demo==1.0")
    assert (code, out) == (1, "")
    assert "single-writer = true" in err
    monkeypatch.setenv("TWISTED_INDEX_SINGLE_WRITER", "true")
    assert told("yank demo==1.0")[0] == 0


def test_what_only_looks_writes_nothing(bucket: MemoryBucket, told):
    for line in ("status demo", "delete --dry-run demo==1.0", "prune --keep=1 demo"):
        told(line)
    assert bucket.operations["write"] == bucket.operations["delete"] == 0


def test_prune_goes_by_the_times_at_which_files_were_first_uploaded(bucket: MemoryBucket, told):
    key = "demo-2.0.dev1-py3-none-any.whl"
    assert told("prune --keep=1 --older=30d demo")[1] == "There is nothing to delete.\n"
    known = LearnedObject(result=FileFacts(sha256="0" * 64), uploaded_ns=10**18)
    learned = format_learned({object_id(bucket.list_all().objects[key]): known})
    bucket.place(".learned/demo", learned, {})
    assert f"{key} would be deleted." in told("prune --keep=1 --older=30d demo")[1]


def test_prune_counts_no_release_of_which_only_a_part_has_arrived(bucket: MemoryBucket, told):
    whole = make_wheel("demo", "2.0.dev3").content
    bucket.place("demo/demo-2.0.dev3-py3-none-any.whl", whole[: len(whole) // 2], {})
    said = told("prune --keep=1 demo")[1].splitlines()
    assert said[0] == "demo-2.0.dev1-py3-none-any.whl would be deleted."


def test_a_name_that_an_upload_has_taken_and_not_filled_is_freed(bucket: MemoryBucket, told):
    key = f"demo/{make_wheel('demo', '3.0').filename}"
    delete = f"delete {key.rpartition('/')[2]}"
    bucket.place(key + CLAIM, b"{}", {})
    bucket.place(key, b"", {})
    code, _out, err = told(delete)
    assert code == 1
    assert "is being uploaded" in err

    bucket.now_ns -= 2 * 3600 * 10**9
    bucket.place(key + CLAIM, b"{}", {})
    assert told(delete)[0] == 0
    assert key not in set(bucket.keys())
