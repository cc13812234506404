"""`twisted-index promote` between the indexes of a bucket."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.bucket_indexes import Node, copy_folder
from tests.kit.memory_bucket import MemoryBucket, Operation
from tests.kit.shelves import EXTRAS, OLD, OTHER_BYTES, SDIST, WHEEL, Shelves
from twisted_index.errors import Unavailable
from twisted_index.server import buckets

from .conftest import Console

URL = "s3://bucket/indexes"
RELEASES = ("acme==1.2", "Acme.Extras==1.2")
BETWEEN = ("--from", "staging", "--to", "prod")
EVERYTHING = {made.filename for made in (OLD, WHEEL, SDIST, EXTRAS)}

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shelves(tmp_path: Path, console: Console) -> Shelves:
    console.state.mkdir(exist_ok=True)
    return Shelves(tmp_path / "indexes")


@pytest.fixture
def bucket(shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    """A bucket that has what the folders have."""
    bucket = MemoryBucket(URL)
    copy_folder(shelves.prod.parent, bucket)
    monkeypatch.setattr(buckets, "StoreBucket", lambda *_arguments, **_options: bucket)
    return bucket


@pytest.fixture
def promote(console: Console, bucket: MemoryBucket) -> Told:
    def run(*words: str) -> tuple[int, str, str]:
        return console.told("promote", "--indexes", URL, "--state", str(console.state), *words)

    return run


def shown(bucket: MemoryBucket) -> set[str]:
    """What a server shows that has just started."""
    node = Node(bucket)
    pages = (node.files("prod", project) or [] for project in ("acme", "acme-extras"))
    return {file.filename for page in pages for file in page}


def left(bucket: MemoryBucket) -> list[str]:
    return [key for key in bucket.keys() if ".staged" in key]  # noqa: SIM118


def cut_off(bucket: MemoryBucket, promote: Told, *, after: str = "create") -> str:
    """Begin a promotion that the store ends at the second file, or at the history; give its ID."""
    if after == "create":
        bucket.fail("create", f"prod/acme/{SDIST.filename}", times=100)
    else:
        bucket.fail("put", ".keep/history/*", times=100)
    code, _out, _err = promote(*BETWEEN, *RELEASES)
    bucket.mend()
    assert code == 1
    (record,) = (key for key in left(bucket) if key.endswith("promotion.json"))
    return record.split("/")[2]


def test_each_does_in_a_bucket_what_it_does_in_folders(
    console: Console, shelves: Shelves, bucket: MemoryBucket, promote: Told
):
    for words in (
        ("--dry-run", *BETWEEN, *RELEASES),
        (*BETWEEN, "nothing==1", "acme==1.2"),
        (*BETWEEN, *RELEASES),
        (*BETWEEN, *RELEASES),
        ("--json", *BETWEEN, "nothing==1"),
        ("--from", "nowhere", "--to", "prod", "acme==1.2"),
        ("--from", "staging", "--to", "nowhere", "acme==1.2"),
        (*BETWEEN,),
        ("--list",),
        ("--list", "--json"),
        ("--resume", "none"),
        ("--cancel", "none"),
    ):
        here = console.told("promote", "--indexes", str(shelves.prod.parent), "--state", "none", *words)
        code, out, err = promote(*words)
        assert (code, out, err) == here, words
    assert shown(bucket) == EVERYTHING
    assert left(bucket) == []


def test_a_dry_run_writes_nothing(bucket: MemoryBucket, promote: Told):
    assert promote("--dry-run", *BETWEEN, *RELEASES)[0] == 0
    assert {key for key in bucket.keys() if key.startswith("prod/") and WHEEL.filename in key} == set()  # noqa: SIM118
    assert left(bucket) == []


def test_as_json_it_prints_what_has_come(promote: Told):
    document = json.loads(promote("--json", *BETWEEN, *RELEASES)[1])
    assert (document["from"], document["to"], document["refusals"]) == ("staging", "prod", [])
    assert {(file["filename"], file["sha256"], file["size"]) for file in document["published"]} == {
        (made.filename, made.sha256, len(made.content)) for made in (WHEEL, SDIST, EXTRAS)
    }


def test_the_history_of_the_bucket_has_it(console: Console, bucket: MemoryBucket, promote: Told):
    promote(*BETWEEN, *RELEASES)
    events = [
        json.loads(bucket.content(key))
        for key in bucket.keys()  # noqa: SIM118
        if key.startswith(".keep/history/")
    ]
    assert {(event["action"], event["index"], event["filename"]) for event in events} == {
        ("promote", "prod", made.filename) for made in (WHEEL, SDIST, EXTRAS)
    }
    assert all(event["by"].endswith("(console)") for event in events)
    assert console.events() == []


def test_a_server_need_not_read_what_has_come(bucket: MemoryBucket, promote: Told):
    promote(*BETWEEN, *RELEASES)
    bucket.forget_operations()
    assert shown(bucket) >= {WHEEL.filename, SDIST.filename}
    read = {call.key for call in bucket.calls if call.method in ("read", "stream", "read_range")}
    assert not read & {f"prod/acme/{made.filename}" for made in (WHEEL, SDIST)}


def test_where_it_may_lead_is_for_the_source_to_say(bucket: MemoryBucket, promote: Told):
    bucket.place("staging/.index.toml", b'promote-to = ["qa"]\nupstream = "unknown-here"\n')
    for words in ((), ("--dry-run",)):
        code, _out, err = promote(*words, *BETWEEN, *RELEASES)
        assert code == 1
        assert "What is in staging may be promoted to qa only." in err
    assert left(bucket) == []


def test_what_a_base_of_the_target_has_counts(bucket: MemoryBucket, promote: Told):
    bucket.place(f"base/acme/{WHEEL.filename}", OTHER_BYTES.content)
    bucket.place("prod/.index.toml", b'bases = ["base"]\n')
    assert promote(*BETWEEN, *RELEASES)[0] == 1
    assert left(bucket) == []


def test_one_that_was_cut_off_is_listed_and_completed(bucket: MemoryBucket, promote: Told):
    running = cut_off(bucket, promote)
    assert shown(bucket) == {OLD.filename}
    assert promote("--list")[1] == (
        f"{running}  prod  acme-extras==1.2, acme==1.2 from staging: its files are hidden\n"
    )
    code, out, _err = promote("--resume", running)
    assert code == 0
    assert out.splitlines()[-1].endswith(" from staging to prod.")
    assert shown(bucket) == EVERYTHING
    assert promote("--list")[1] == "There is no unfinished promotion.\n"


def test_a_dry_run_of_one_that_was_cut_off_says_what_it_goes_on_with(bucket: MemoryBucket, promote: Told):
    cut_off(bucket, promote)
    assert promote("--dry-run", *BETWEEN, *RELEASES)[1].splitlines()[-1].startswith("Would promote 3 files")
    assert shown(bucket) == {OLD.filename}


def test_one_that_was_cut_off_is_undone_after_an_hour_also_without_its_source(
    bucket: MemoryBucket, promote: Told, monkeypatch: pytest.MonkeyPatch
):
    running = cut_off(bucket, promote)
    for key in [key for key in bucket.keys() if key.startswith("staging/")]:  # noqa: SIM118
        bucket.remove(key)
    code, _out, err = promote("--cancel", running)
    assert (code, "less than an hour ago" in err) == (1, True)
    later = time.time_ns() + 3601 * 10**9
    monkeypatch.setattr(
        "twisted_index.backends.object_store.unfinished_promotions.time.time_ns", lambda: later
    )
    assert promote("--cancel", running) == (0, f"Cancelled {running}; prod is as it was before.\n", "")
    own = {key for key in bucket.keys() if key.startswith("prod/") and "1.2" in key}  # noqa: SIM118
    assert (shown(bucket), own, left(bucket)) == ({OLD.filename}, set(), [])


def test_one_that_is_shown_is_recorded_and_not_undone(bucket: MemoryBucket, promote: Told):
    running = cut_off(bucket, promote, after="history")
    assert shown(bucket) == EVERYTHING
    assert promote("--list")[1].endswith(": all its files are shown\n")
    code, _out, err = promote("--cancel", running)
    assert (code, "All its files are shown" in err) == (1, True)
    assert promote("--resume", running)[0] == 0
    assert len([key for key in bucket.keys() if key.startswith(".keep/history/")]) == 3  # noqa: SIM118
    assert left(bucket) == []


def test_one_whose_record_cannot_be_read_is_listed_with_that(bucket: MemoryBucket, promote: Told):
    bucket.place("prod/.staged/odd/promotion.json", b"{}")
    assert "odd  prod  What the promotion odd has written down cannot be read." in promote("--list")[1]
    for how in ("--resume", "--cancel"):
        assert promote(how, "odd")[0] == 1


def test_another_server_gets_nothing_from_a_bucket(promote: Told):
    code, out, err = promote("--from", "staging", "--to", "https://index.example/legacy/", "acme==1.2")
    assert (code, out) == (64, "")
    assert "rclone sync" in err


def test_a_store_that_is_away_is_one_sentence(bucket: MemoryBucket, promote: Told):
    bucket.fail(times=100, error=Unavailable("The object store does not answer."))
    for words in ((*BETWEEN, *RELEASES), ("--list",), ("--resume", "x")):
        assert promote(*words) == (1, "", "twisted-index: The object store does not answer.\n")


class Killed(BaseException):
    """The process is killed."""


def test_wherever_the_console_is_killed_resuming_completes_what_has_begun(
    shelves: Shelves, bucket: MemoryBucket, promote: Told
):
    for number in itertools.count(1):
        for key in bucket.keys():  # noqa: SIM118
            bucket.remove(key)
        copy_folder(shelves.prod.parent, bucket)
        count = itertools.count(1)

        def before(_operation: Operation, count=count, number=number) -> None:
            if next(count) == number:
                raise Killed

        bucket.before = before
        try:
            promote(*BETWEEN, *RELEASES)
            break
        except Killed:
            pass
        finally:
            bucket.before = None
        unfinished = json.loads(promote("--list", "--json")[1])
        assert shown(bucket) in ({OLD.filename}, EVERYTHING)
        for each in unfinished:
            assert promote("--resume", each["id"])[0] == 0
            assert shown(bucket) == EVERYTHING
    assert number > 20
