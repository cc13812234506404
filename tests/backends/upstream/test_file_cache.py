"""Files of upstreams: kept by their digest, given from the disk, and removed when there are too many."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs

from tests.kit.descriptors import open_files
from tests.kit.scripted_remote import Bench, ScriptedRemote, read_body, remote_file
from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.errors import BadGateway, ContradictingMetadata, NotReady, Unavailable
from twisted_index.http_client.retry import Denied
from twisted_index.interfaces import FileBody, StreamingContent
from twisted_index.simple.model import Sidecar
from twisted_index.testing import make_wheel

BIG = bytes(range(256)) * 2000
NAME = "demo-1.0-py3-none-any.whl"
URL = f"https://files.example/{NAME}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "cache")
    bench.remote.offer(remote_file(BIG))
    bench.remote.bodies[URL] = BIG
    return bench


def stored(bench: Bench) -> list[Path]:
    """Give the distribution files that lie in the cache."""
    assert bench.cache is not None
    return sorted(path for path in Path(bench.cache.path, "files").rglob("*") if path.is_file())


def left_over(bench: Bench) -> list[Path]:
    assert bench.cache is not None
    return list(Path(bench.cache.path, "incoming").glob("*"))


def lines(logs: Any) -> list[str]:
    return [event["log_format"] for event in logs if event["log_level"].name in ("warn", "error", "critical")]


def test_a_file_comes_once_and_lies_under_its_digest(bench: Bench):
    assert bench.read() == BIG
    body = bench.open()
    assert body is not None
    assert read_body(body) == BIG

    digest = hashlib.sha256(BIG).hexdigest()
    assert [path.parent.name + path.name for path in stored(bench)] == [digest]
    assert (body.sha256, body.size, body.cache_status) == (digest, len(BIG), "hit")
    assert bench.remote.count("fetch") == 1
    assert left_over(bench) == []


def test_a_cached_file_is_an_open_file_given_at_once(bench: Bench):
    bench.read()

    body = bench.source.open_file("demo", NAME)

    assert isinstance(body, FileBody)
    assert not isinstance(body.content, bytes | StreamingContent)
    assert body.content.fileno() >= 0
    body.content.close()


def test_a_small_file_can_be_opened_again_as_long_as_it_is_listed(bench: Bench):
    bench.remote.offer(remote_file(b"small"))
    bench.remote.bodies[URL] = b"small"
    bench.read()
    body = bench.open()
    assert body is not None
    assert body.reopen is not None
    read_body(body)

    again = body.reopen()
    assert again is not None
    assert again.content == b"small"
    assert again.reopen is not None
    assert again.reopen() is again
    bench.clock.advance(600)
    assert body.reopen() is None


def test_the_first_bytes_come_before_the_last_have_been_sent(bench: Bench):
    bench.remote.by_hand = True
    body = bench.open()
    assert body is not None
    assert isinstance(body.content, StreamingContent)
    assert bench.remote.sendings == []
    outcome: list[int] = []
    body.content.wait_for(0).addCallback(outcome.append)
    bench.remote.sendings[0].send(BIG[:1000])

    assert outcome == [1000]
    assert body.content.read(0, 5000) == BIG[:1000]
    body.content.close()
    bench.remote.sendings[0].send(BIG[1000:])
    bench.remote.sendings[0].end()


def test_the_last_bytes_are_withheld_until_all_is_known_to_be_right(bench: Bench):
    bench.remote.by_hand = True
    body = bench.open()
    assert body is not None
    assert isinstance(body.content, StreamingContent)
    outcome: list[int] = []
    body.content.wait_for(0).addCallback(outcome.append)
    bench.remote.sendings[0].send(BIG)

    assert outcome == [len(BIG) - 65536]
    body.content.wait_for(outcome[0]).addCallback(outcome.append)
    assert body.content.read(outcome[0], 100) == b""
    bench.remote.sendings[0].end()
    assert outcome[1] == len(BIG)
    assert read_body(body) == BIG


def test_two_hundred_clients_are_served_by_one_fetch(bench: Bench):
    before = open_files()
    bench.remote.by_hand = True
    bodies = [bench.open() for _ in range(200)]
    for body in bodies:
        assert body is not None
        body.content.wait_for(0)  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[:100_000])
    late = bench.open()
    bench.remote.sendings[0].send(BIG[100_000:])
    bench.remote.sendings[0].end()

    assert all(read_body(body) == BIG for body in (*bodies, late) if body is not None)
    assert bench.remote.count("fetch") == 1
    assert bench.source.counters.file_joined == 200
    assert open_files() <= before


def test_a_file_goes_on_coming_when_the_first_client_leaves(bench: Bench):
    bench.remote.by_hand = True
    first, second = bench.open(), bench.open()
    assert first is not None
    assert second is not None
    first.content.wait_for(0)  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[:100_000])
    first.content.close()  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[100_000:])
    bench.remote.sendings[0].end()

    assert read_body(second) == BIG


def test_a_file_comes_to_its_end_when_all_clients_have_left(bench: Bench):
    bench.remote.by_hand = True
    body = bench.open()
    assert body is not None
    body.content.wait_for(0)  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[:1])
    body.content.close()  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[1:])
    bench.remote.sendings[0].end()

    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 1


def test_a_head_request_fetches_nothing(bench: Bench):
    body = bench.open()
    assert body is not None
    assert body.size == len(BIG)
    body.content.close()  # type: ignore[union-attr]

    assert bench.remote.count("fetch") == 0
    assert bench.read() == BIG


def test_a_file_that_is_not_what_was_promised_is_complete_nowhere(bench: Bench):
    bench.remote.bodies[URL] = BIG[:-1] + b"!"
    before = open_files()
    with capturedLogs() as logs, pytest.raises(BadGateway):
        bench.read()

    assert len(lines(logs)) == 1
    assert stored(bench) == []
    assert left_over(bench) == []
    assert open_files() <= before
    assert bench.source.counters.files_refused == 1

    bench.remote.bodies[URL] = BIG
    assert bench.read() == BIG


@pytest.mark.parametrize("algorithm", ["md5", "sha512", "blake2b"])
def test_other_digests_are_compared_too(bench: Bench, algorithm: str):
    bench.remote.offer(remote_file(BIG, hashes={algorithm: "00"}))
    with pytest.raises(BadGateway):
        bench.read()
    assert stored(bench) == []

    bench.clock.advance(600)
    bench.remote.offer(remote_file(BIG, hashes={algorithm: hashlib.new(algorithm, BIG).hexdigest()}))
    assert bench.read() == BIG


def test_a_digest_of_an_unknown_kind_is_no_digest(bench: Bench):
    bench.remote.offer(remote_file(BIG, hashes={"shake_128": "00", "rot13": "1"}))

    assert bench.read() == BIG


def test_a_file_without_a_promise_is_pinned_to_what_came_first(bench: Bench):
    bench.remote.offer(remote_file(BIG, promise=False))
    before = bench.page().files[0]
    assert bench.read() == BIG
    after = bench.page().files[0]
    assert before.hashes == {}
    assert after.hashes == {"sha256": hashlib.sha256(BIG).hexdigest()}
    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 1

    # The file is gone from the cache, and the upstream has other bytes of the same length.
    stored(bench)[0].unlink()
    bench.remote.bodies[URL] = BIG[::-1]
    with pytest.raises(BadGateway):
        bench.read()


def test_what_was_pinned_holds_after_a_restart_and_a_refresh(bench: Bench):
    bench.remote.offer(remote_file(BIG, promise=False, sized=False))
    bench.read()
    bench.clock.advance(600)
    bench.remote.offer(remote_file(BIG, promise=False, sized=False), etag='"2"')
    bench.snapshot()
    assert bench.cache is not None
    later = Bench(bench.cache.path, ScriptedRemote(pages=bench.remote.pages), clock=bench.clock)
    (file,) = later.page().files

    assert file.hashes == {"sha256": hashlib.sha256(BIG).hexdigest()}
    assert file.size == len(BIG)


def test_a_promise_that_is_made_no_more_still_holds(bench: Bench):
    bench.snapshot()
    bench.clock.advance(600)
    bench.remote.offer(remote_file(BIG, promise=False), etag='"2"')
    bench.remote.bodies[URL] = BIG[::-1]

    with pytest.raises(BadGateway):
        bench.read()


def test_a_file_of_unknown_size_has_that_of_the_answer(bench: Bench):
    bench.remote.offer(remote_file(BIG, sized=False))
    body = bench.open()

    assert body is not None
    assert body.size == len(BIG)
    assert bench.remote.count("fetch") == 1
    assert read_body(body) == BIG
    assert bench.page().files[0].size == len(BIG)


def test_a_file_of_unknown_size_that_nobody_reads_is_broken_off(bench: Bench):
    bench.remote.offer(remote_file(BIG, sized=False))
    body = bench.open()
    assert body is not None
    body.content.close()  # type: ignore[union-attr]

    assert bench.remote.sendings[0].aborted
    assert left_over(bench) == []
    assert bench.read() == BIG


def test_a_file_whose_length_nobody_says_is_given_when_it_is_there(bench: Bench):
    bench.remote.offer(remote_file(BIG, sized=False))
    bench.remote.says_length = False
    bench.remote.by_hand = True
    outcome = bench.begin(bench.source.open_file, "demo", NAME)
    bench.remote.sendings[0].send(BIG)
    assert outcome == []
    bench.remote.sendings[0].end()

    assert read_body(outcome[0]) == BIG
    assert outcome[0].size == len(BIG)


def test_a_file_whose_length_nobody_says_is_not_waited_for_too_long(bench: Bench):
    bench.remote.offer(remote_file(BIG, sized=False))
    bench.remote.says_length = False
    bench.remote.by_hand = True
    outcome = bench.begin(bench.source.open_file, "demo", NAME)
    bench.clock.advance(25)
    assert outcome[0].check(NotReady)

    bench.remote.sendings[0].send(BIG)
    bench.remote.sendings[0].end()
    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 1


def test_a_file_that_the_upstream_lists_and_has_not_is_no_404(bench: Bench):
    del bench.remote.bodies[URL]

    with pytest.raises(BadGateway):
        bench.read()


def test_a_cached_file_of_another_size_is_fetched_again(bench: Bench):
    bench.read()
    (path,) = stored(bench)
    path.write_bytes(BIG[:-1])

    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 2
    assert path.read_bytes() == BIG


@pytest.mark.parametrize("broken", [BIG[:-1], BIG[:-1] + b"!"])
def test_a_cached_file_of_which_nobody_knows_the_size_is_digested_first(bench: Bench, broken: bytes):
    bench.read()
    stored(bench)[0].write_bytes(broken)
    assert bench.cache is not None
    later = Bench(bench.cache.path, ScriptedRemote(url="https://two.example/simple/"), clock=bench.clock)
    later.remote.offer(remote_file(BIG, sized=False))
    later.remote.bodies[URL] = BIG

    assert later.read() == BIG
    assert later.remote.count("fetch") == 1


def test_a_right_file_of_which_nobody_knows_the_size_is_taken(bench: Bench):
    bench.read()
    assert bench.cache is not None
    later = Bench(bench.cache.path, ScriptedRemote(url="https://two.example/simple/"), clock=bench.clock)
    later.remote.offer(remote_file(BIG, sized=False))

    assert later.read() == BIG
    assert later.page().files[0].size == len(BIG)


# -- Room


def offer_many(bench: Bench, number: int, size: int = 1000) -> None:
    made = []
    for index in range(number):
        content = bytes([index]) * size
        filename = f"demo-{index}.0.tar.gz"
        made.append(remote_file(content, filename, version=f"{index}.0"))
        bench.remote.bodies[f"https://files.example/{filename}"] = content
    bench.remote.offer(*made)


def test_what_was_used_longest_ago_goes_when_the_cache_is_full(tmp_path: Path):
    bench = Bench(tmp_path, size=5000, epoch=2_000_000_000.0)
    offer_many(bench, 6)
    for index in range(5):
        bench.read(f"demo-{index}.0.tar.gz")
        bench.clock.advance(1)
    bench.read("demo-0.0.tar.gz")
    bench.clock.advance(1)
    bench.read("demo-5.0.tar.gz")
    kept = {path.read_bytes()[0] for path in stored(bench)}

    assert kept == {0, 3, 4, 5}
    assert bench.source.counters.bytes_in_cache == 4000
    assert bench.read("demo-1.0.tar.gz") == b"\1" * 1000


def test_a_file_that_is_being_sent_stays(tmp_path: Path):
    bench = Bench(tmp_path, size=5000)
    offer_many(bench, 8)
    bench.read("demo-0.0.tar.gz")
    body = bench.open("demo-0.0.tar.gz")
    for index in range(1, 8):
        bench.clock.advance(1)
        bench.read(f"demo-{index}.0.tar.gz")

    assert body is not None
    assert b"\0" * 1000 in [path.read_bytes() for path in stored(bench)]
    assert read_body(body) == b"\0" * 1000


def test_use_is_remembered_over_restarts(tmp_path: Path):
    bench = Bench(tmp_path, size=5000, epoch=2_000_000_000.0)
    offer_many(bench, 5)
    for index in range(5):
        bench.read(f"demo-{index}.0.tar.gz")
    for path in stored(bench):
        os.utime(path, (1000 + path.read_bytes()[0], 1000))
    modified = {path: path.stat().st_mtime for path in stored(bench)}
    later = Bench(tmp_path, bench.remote, size=5000, epoch=2_000_000_000.0)
    later.read("demo-0.0.tar.gz")
    assert {path: path.stat().st_mtime for path in stored(bench)} == modified

    last = Bench(tmp_path, ScriptedRemote(), size=3000)
    assert last.source.counters.bytes_in_cache == 2000
    assert {path.read_bytes()[0] for path in stored(last)} == {0, 4}


def test_a_file_larger_than_the_cache_is_passed_on(tmp_path: Path):
    bench = Bench(tmp_path, size=1000)
    bench.remote.offer(remote_file(BIG))
    bench.remote.bodies[URL] = BIG

    assert bench.read() == BIG
    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 2
    assert stored(bench) == []
    assert left_over(bench) == []


class FullDisk(DiskCache):
    """A cache whose disk is full after some bytes."""

    left = 0

    def new_file(self) -> Any:
        file = super().new_file()
        if file is not None:
            write = file.write_what_fits

            def write_some(data: bytes, position: int) -> tuple[int, OSError | None]:
                written, _none = write(data[: self.left], position)
                self.left -= written
                is_full = written < len(data)
                return written, OSError(errno.ENOSPC, "No space left on device") if is_full else None

            file.write_what_fits = write_some
        return file


@pytest.mark.parametrize("room", [0, 1, 70_000, len(BIG) - 1])
def test_a_file_that_does_not_fit_on_the_disk_is_passed_on(tmp_path: Path, room: int):
    bench = Bench(tmp_path)
    bench.source._files._cache = cache = FullDisk(str(tmp_path))
    cache.left = room
    bench.remote.offer(remote_file(BIG))
    bench.remote.bodies[URL] = BIG
    before = open_files()
    with capturedLogs() as logs:
        assert bench.read() == BIG
        assert bench.read() == BIG

    assert len(lines(logs)) == 1
    assert stored(bench) == []
    assert left_over(bench) == []
    assert open_files() <= before


def test_a_cache_that_cannot_be_written_is_served_from(bench: Bench, monkeypatch: Any):
    bench.read()
    assert bench.cache is not None
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **others: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and os.fsdecode(path).startswith(bench.cache.path):  # type: ignore[union-attr]
            raise OSError(errno.EROFS, "Read-only file system", path)
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuse)
    other = remote_file(b"other", "demo-2.0.tar.gz", version="2.0")
    bench.remote.offer(remote_file(BIG), other)
    bench.remote.bodies[other.url] = b"other"
    bench.clock.advance(600)
    with capturedLogs() as logs:
        assert bench.read() == BIG
        assert bench.read("demo-2.0.tar.gz") == b"other"
        assert bench.read("demo-2.0.tar.gz") == b"other"

    assert len(lines(logs)) == 1
    assert len(stored(bench)) == 1


def test_a_proxy_keeps_no_file(tmp_path: Path):
    bench = Bench(tmp_path, keeps=False)
    bench.remote.offer(remote_file(BIG))
    bench.remote.bodies[URL] = BIG

    assert bench.read() == BIG
    assert bench.read() == BIG
    assert bench.remote.count("fetch") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_asks_for_the_page_once_for_the_files_that_are_fetched_after_it(tmp_path: Path):
    bench = Bench(tmp_path, keeps=False)
    bench.remote.offer(remote_file(BIG))
    bench.remote.bodies[URL] = BIG
    bench.snapshot()
    bench.read()
    assert bench.remote.count("page") == 1
    bench.clock.advance(30)
    bench.read()
    assert bench.remote.count("page") == 2


def test_a_deleted_cache_is_made_again(bench: Bench, tmp_path: Path):
    bench.read()
    (tmp_path / "cache").rename(tmp_path / "gone")
    assert bench.read() == BIG
    assert bench.read() == BIG

    assert bench.remote.count("fetch") == 2
    assert len(stored(bench)) == 1


def test_what_was_left_unfinished_is_removed_at_the_start_unless_somebody_writes_it(tmp_path: Path):
    unfinished = tmp_path / "incoming"
    unfinished.mkdir()
    (unfinished / "left").write_bytes(b"half")
    with (unfinished / "locked").open("wb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        Bench(tmp_path)

        assert [path.name for path in unfinished.iterdir()] == ["locked"]


def test_stopping_breaks_off_what_is_on_its_way(bench: Bench):
    before = open_files()
    bench.remote.by_hand = True
    body = bench.open()
    assert body is not None
    outcome: list[Any] = []
    body.content.wait_for(0).addBoth(outcome.append)  # type: ignore[union-attr]
    body.content.wait_complete().addErrback(outcome.append)  # type: ignore[union-attr]
    bench.remote.sendings[0].send(BIG[:10])
    bench.stop()

    assert outcome[0] == 10
    assert outcome[1].check(Unavailable)
    assert bench.remote.sendings[0].aborted
    assert left_over(bench) == []
    body.content.close()  # type: ignore[union-attr]
    assert open_files() <= before


# -- A URL is not as lasting as its page


@pytest.mark.parametrize("answer", [None, Denied("It answers with 403."), Denied("It answers with 400.")])
@pytest.mark.parametrize("keeps", [True, False], ids=["cache", "proxy"])
def test_a_file_that_has_moved_is_looked_up_on_its_page(tmp_path: Path, keeps: bool, answer: Any):
    """Though the page is fresh, and the upstream would say that it has not changed."""
    bench = Bench(tmp_path, keeps=keeps)
    bench.remote.offer(remote_file(BIG, url=URL + "?expires=1"))
    assert bench.names() == [NAME]
    bench.remote.bodies[URL + "?expires=1"] = answer
    bench.remote.offer(remote_file(BIG, url=URL + "?expires=2"))
    bench.remote.bodies[URL + "?expires=2"] = BIG

    assert bench.read() == BIG
    assert bench.remote.conditions == [None, None]


def test_a_file_that_is_nowhere_costs_one_look_at_its_page_in_a_while(bench: Bench):
    assert bench.names() == [NAME]
    del bench.remote.bodies[URL]
    for _ in range(5):
        with pytest.raises(BadGateway, match="does not have it"):
            bench.read()

    assert bench.remote.count("page") == 2
    bench.clock.advance(10)
    with pytest.raises(BadGateway, match="does not have it"):
        bench.read()
    assert bench.remote.count("page") == 3


@pytest.mark.parametrize("page", ["another file", "gone", "no project", "down"])
def test_a_url_is_taken_only_for_the_same_file(bench: Bench, page: str):
    """Who opened the page before gets what that promised, or nothing."""
    assert bench.names() == [NAME]
    bench.remote.bodies[URL] = Denied("It answers with 403.")  # type: ignore[assignment]
    other = BIG[::-1]
    bench.remote.bodies["https://files.example/other"] = other
    if page == "another file":
        bench.remote.offer(remote_file(other, url="https://files.example/other"))
    elif page == "gone":
        bench.remote.offer()
    else:
        bench.remote.pages["demo"] = None if page == "no project" else Unavailable("It is down.")

    with pytest.raises(Denied, match="403"):
        bench.read()
    assert stored(bench) == []


def test_an_expired_url_costs_no_core_metadata(bench: Bench):
    document = offer_wheel(bench, offers_metadata=True, url="https://files.example/old")
    assert bench.names() == [MADE.filename]
    bench.remote.documents["https://files.example/old.metadata"] = Denied("It answers with 403.")
    bench.remote.ranged["https://files.example/old"] = BadGateway("It answers with 403.")
    bench.remote.bodies["https://files.example/old"] = Denied("It answers with 403.")  # type: ignore[assignment]
    offer_wheel(bench)

    assert bench.read(MADE.filename, Sidecar.METADATA) == document


# -- Sidecars

MADE = make_wheel("demo", "1.0", requires_python=">=3.8")
MADE_URL = f"https://files.example/{MADE.filename}"


def offer_wheel(bench: Bench, **more: Any) -> bytes:
    """Offer a real wheel; gives its core metadata."""
    bench.remote.offer(remote_file(MADE.content, MADE.filename, **more))
    bench.remote.bodies[MADE_URL] = MADE.content
    assert MADE.metadata is not None
    return MADE.metadata


def test_core_metadata_is_asked_for_once_where_it_is_offered(bench: Bench):
    document = offer_wheel(bench, offers_metadata=True)
    bench.remote.documents[MADE_URL + ".metadata"] = document

    assert bench.read(MADE.filename, Sidecar.METADATA) == document
    assert bench.read(MADE.filename, Sidecar.METADATA) == document
    assert bench.remote.asked[1:] == [("document", MADE_URL + ".metadata")]


@pytest.mark.parametrize("wheel", ["says another thing", "is not there", "is no wheel"])
def test_core_metadata_that_is_nowhere_what_was_promised_is_a_lasting_refusal(bench: Bench, wheel: str):
    """Installers ask again at a 502, and pip then ends in a traceback."""
    offer_wheel(bench, offers_metadata=True, core_metadata={"sha256": "00" * 32})
    bench.remote.documents[MADE_URL + ".metadata"] = b"Name: something\n"
    if wheel == "is not there":
        del bench.remote.bodies[MADE_URL]
    elif wheel == "is no wheel":
        bench.remote.bodies[MADE_URL] = b"x" * MADE.size

    with pytest.raises(ContradictingMetadata, match=r"demo-1\.0.*not what it promised"):
        bench.read(MADE.filename, Sidecar.METADATA)


def test_core_metadata_is_asked_for_again_if_only_the_upstream_is_down(bench: Bench):
    offer_wheel(bench, offers_metadata=True, core_metadata={"sha256": "00" * 32})
    bench.remote.documents[MADE_URL + ".metadata"] = b"Name: something\n"
    bench.remote.bodies[MADE_URL] = Unavailable("It is down.")  # type: ignore[assignment]

    with pytest.raises(Unavailable):
        bench.read(MADE.filename, Sidecar.METADATA)


@pytest.mark.parametrize("promise", [True, False], ids=["promised", "unpromised"])
@pytest.mark.parametrize(
    "document",
    [
        BadGateway("It answers with 401."),
        BadGateway("It is coded in a way that was not asked for."),
        Unavailable("It cannot answer right now (503)."),
        b"<html><body>Please sign in, Name: demo</body></html>",
        b"",
        b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: 2.0\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: \xff\n",
        MADE.content,
    ],
    ids=["401", "coded", "503", "page", "empty", "other project", "other version", "no text", "the wheel"],
)
@pytest.mark.parametrize("ranged", ["ranges", "no ranges", "ranges fail", "ranges lie"])
def test_what_cannot_be_core_metadata_costs_a_look_into_the_wheel(
    bench: Bench, document: Any, promise: bool, ranged: str
):
    assert MADE.metadata is not None
    digest = {"sha256": hashlib.sha256(MADE.metadata).hexdigest()} if promise else {}
    right = offer_wheel(bench, offers_metadata=True, core_metadata=digest)
    bench.remote.documents[MADE_URL + ".metadata"] = document
    if ranged == "ranges":
        bench.remote.ranged[MADE_URL] = right
    elif ranged == "ranges fail":
        bench.remote.ranged[MADE_URL] = BadGateway("It answers with 501.")
    elif ranged == "ranges lie" and promise:
        bench.remote.ranged[MADE_URL] = b"Name: another"

    assert bench.read(MADE.filename, Sidecar.METADATA) == right
    assert bench.read(MADE.filename, Sidecar.METADATA) == right


@pytest.mark.parametrize("way", ["beside", "ranges"])
def test_once_the_wheel_is_here_its_metadata_is_the_truth(bench: Bench, way: str):
    """Unproven metadata that was served before is never served again."""
    right = offer_wheel(bench, offers_metadata=way == "beside")
    said = right + b"Requires-Dist: something-else\n"
    bench.remote.documents[MADE_URL + ".metadata"] = bench.remote.ranged[MADE_URL] = said
    before = bench.open(MADE.filename, Sidecar.METADATA)
    assert before is not None
    assert (before.content, before.reopen) == (said, None)

    bench.read(MADE.filename)
    assert bench.read(MADE.filename, Sidecar.METADATA) == right
    assert bench.cache is not None
    later = Bench(bench.cache.path, ScriptedRemote(), clock=bench.clock, offline=True)
    assert later.read(MADE.filename, Sidecar.METADATA) == right


def test_what_an_older_server_kept_as_core_metadata_is_looked_at(bench: Bench):
    right = offer_wheel(bench, offers_metadata=True)
    assert bench.cache is not None
    path = bench.cache.metadata_path(MADE.sha256, said_by=bench.remote.url)
    page = b"<html>Sign in</html>"
    bench.cache.replace(path, (hashlib.sha256(page).hexdigest().encode() + b"\n", page))
    bench.remote.documents[MADE_URL + ".metadata"] = right

    assert bench.read(MADE.filename, Sidecar.METADATA) == right


def test_a_wheel_whose_metadata_contradicts_its_name_gives_what_it_says(bench: Bench):
    """Clients judge it: they skip it or take it, as they do without a server between."""
    odd = make_wheel("demo", "1.0", metadata=b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0+cu128\n")
    one = remote_file(odd.content, odd.filename)
    bench.remote.offer(one)
    bench.remote.bodies[one.url] = odd.content

    assert bench.read(odd.filename, Sidecar.METADATA) == odd.metadata


def test_core_metadata_is_read_out_of_a_wheel_that_is_there(bench: Bench):
    document = offer_wheel(bench)
    bench.read(MADE.filename)
    assert bench.read(MADE.filename, Sidecar.METADATA) == document
    bench.clock.advance(1000)

    assert bench.cache is not None
    later = Bench(bench.cache.path, ScriptedRemote(), clock=bench.clock, offline=True)
    assert later.read(MADE.filename, Sidecar.METADATA) == document
    assert bench.remote.count("metadata") == 0


def test_core_metadata_that_is_offered_and_not_there_is_read_out_of_the_wheel(bench: Bench):
    document = offer_wheel(bench, offers_metadata=True)
    bench.read(MADE.filename)
    bench.remote.documents[MADE_URL + ".metadata"] = Unavailable("It is down.")

    assert bench.read(MADE.filename, Sidecar.METADATA) == document


def test_core_metadata_is_read_by_ranges_without_fetching_the_wheel(bench: Bench):
    document = offer_wheel(bench)
    bench.remote.ranged[MADE_URL] = document
    assert bench.read(MADE.filename, Sidecar.METADATA) == document
    assert bench.read(MADE.filename, Sidecar.METADATA) == document

    assert bench.remote.count("metadata") == 1
    assert bench.remote.count("fetch") == 0


def test_core_metadata_that_was_read_wrong_from_afar_is_corrected_when_the_wheel_comes(bench: Bench):
    document = offer_wheel(bench)
    bench.remote.ranged[MADE_URL] = b"Name: wrong\n"
    assert bench.read(MADE.filename, Sidecar.METADATA) == b"Name: wrong\n"
    with capturedLogs() as logs:
        bench.read(MADE.filename)

    assert len(lines(logs)) == 1
    assert bench.read(MADE.filename, Sidecar.METADATA) == document


@pytest.mark.parametrize("keeps", [True, False])
def test_core_metadata_that_cannot_be_had_otherwise_costs_the_wheel(tmp_path: Path, keeps: bool):
    bench = Bench(tmp_path, keeps=keeps)
    document = offer_wheel(bench)
    before = open_files()

    assert bench.read(MADE.filename, Sidecar.METADATA) == document
    assert bench.remote.count("fetch") == 1
    assert open_files() <= before


@pytest.mark.parametrize("keeps", [True, False], ids=["cache", "proxy"])
def test_core_metadata_is_waited_for_as_long_as_clients_wait_for_a_wheel(tmp_path: Path, keeps: bool):
    """And the wheel goes on arriving for clients that retry, as pip and uv do."""
    bench = Bench(tmp_path, keeps=keeps)
    document = offer_wheel(bench)
    bench.remote.by_hand = True
    outcome = bench.begin(bench.source.open_file, "demo", MADE.filename, Sidecar.METADATA)
    bench.clock.advance(24)
    assert outcome == []
    bench.clock.advance(1)
    assert outcome[0].check(NotReady)

    again = bench.begin(bench.source.open_file, "demo", MADE.filename, Sidecar.METADATA)
    bench.clock.advance(20)
    bench.remote.sendings[0].send(MADE.content)
    bench.remote.sendings[0].end()
    assert again[0].content == document
    assert bench.remote.count("fetch") == 1


def test_many_who_want_core_metadata_cause_one_request(bench: Bench):
    offer_wheel(bench, offers_metadata=True)
    bench.snapshot()
    bench.remote.by_hand = True
    outcomes = [
        bench.begin(bench.source.open_file, "demo", MADE.filename, Sidecar.METADATA) for _ in range(9)
    ]
    bench.remote.sendings[0].send(MADE.content)
    bench.remote.sendings[0].end()

    assert all(outcome[0].content == MADE.metadata for outcome in outcomes)
    assert bench.remote.count("fetch") == 1


def test_an_sdist_without_core_metadata_has_none(bench: Bench):
    bench.remote.offer(remote_file(b"x", "demo-1.0.tar.gz"))

    assert bench.open("demo-1.0.tar.gz", Sidecar.METADATA) is None


def test_signature_and_provenance_are_passed_on_if_they_are_listed(bench: Bench):
    sidecars = frozenset({Sidecar.SIGNATURE, Sidecar.PROVENANCE})
    bench.remote.offer(remote_file(BIG, sidecars=sidecars, provenance_url="https://one.example/provenance/1"))
    bench.remote.documents[URL + ".asc"] = b"signature"
    bench.remote.documents["https://one.example/provenance/1"] = b"provenance"

    assert bench.read(NAME, Sidecar.SIGNATURE) == b"signature"
    assert bench.read(NAME, Sidecar.PROVENANCE) == b"provenance"
    bench.clock.advance(600)
    bench.remote.offer(remote_file(BIG), etag='"2"')
    assert bench.open(NAME, Sidecar.SIGNATURE) is None


def test_a_page_is_not_passed_on_as_a_signature_or_a_provenance(bench: Bench):
    sidecars = frozenset({Sidecar.SIGNATURE, Sidecar.PROVENANCE})
    provenance = "https://one.example/provenance/1"
    bench.remote.offer(remote_file(BIG, sidecars=sidecars, provenance_url=provenance))
    bench.remote.documents[URL + ".asc"] = bench.remote.documents[provenance] = b"\n<!DOCTYPE html>"

    for sidecar in sidecars:
        with pytest.raises(BadGateway, match="a page instead"):
            bench.read(NAME, sidecar)


def test_nothing_is_logged_when_all_goes_well(bench: Bench):
    with capturedLogs() as logs:
        bench.read()
        bench.read()
        bench.stop()

    assert lines(logs) == []


def test_the_bytes_of_a_file_are_on_the_disk_before_its_name_is(bench: Bench, monkeypatch: Any):
    done = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, real=real, name=name, **more: (done.append(name), real(*args, **more))[1]
        )
    bench.snapshot()
    done.clear()

    assert bench.read() == BIG
    assert done[0] == "fsync"
    assert set(done[1:]) == {"link"}


def test_the_last_bytes_do_not_wait_for_the_disk(bench: Bench, monkeypatch: Any):
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with capturedLogs() as logs:
        assert bench.read() == BIG

    assert stored(bench) == []
    assert left_over(bench) == []
    assert len(lines(logs)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives things away")
@pytest.mark.parametrize("anonymous", [True, False])
def test_what_root_puts_into_a_cache_belongs_to_the_owner_of_the_state(tmp_path, monkeypatch, anonymous):
    """Else the server could neither replace it nor make anything beside it."""
    if not anonymous:
        monkeypatch.setattr("twisted_index.files.anonymous_file._O_TMPFILE", 0)
    os.chown(tmp_path, 12345, 12346)
    cache = DiskCache(str(tmp_path / "cache" / "upstream"))
    path = cache.page_path("https://example.org/simple/", "demo")
    for content in (b"first", b"second"):
        assert cache.replace(path, [content])

    assert cache.read(path, 100) == b"second"
    made = list(tmp_path.rglob("*"))
    assert {"incoming", "pages"} <= {entry.name for entry in made}
    for entry in made:
        assert (entry.stat().st_uid, entry.stat().st_gid) == (12345, 12346)
