"""METADATA out of the middle of a wheel that lies elsewhere."""

from __future__ import annotations

import io
import itertools
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from twisted_index.backends.upstream.lazy_wheel import read_remote_metadata
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.errors import BadGateway, Unavailable
from twisted_index.simple.model import File

METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\n"
NAME = "demo-1.0-py3-none-any.whl"
LIMIT = 1_000_000


def wheel(
    metadata: bytes = METADATA, *, before: int = 0, after: int = 0, members: int = 0, zip64: bool = False
) -> bytes:
    """Make a wheel with so many bytes before and after its METADATA, and further members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            archive.writestr(f"demo/a_module_with_a_long_name_{number:07}.py", b"")
        _write(archive, "demo/data", b"x" * before, zipfile.ZIP_STORED)
        with archive.open("demo-1.0.dist-info/METADATA", "w", force_zip64=zip64) as member:
            member.write(metadata)
        _write(archive, "demo/more", b"y" * after, zipfile.ZIP_STORED)
    return file.getvalue()


def _write(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    if data:
        archive.writestr(name, data, method)


class Part:
    """What comes of a range."""

    def __init__(self, data: bytes, total: int | None, status: int = 206) -> None:
        self.status, self.data, self.length, self.total = status, data, len(data), total
        self.aborted, self.coding, self.is_delimited = False, "", True

    def deliver(self, receive: Callable[[bytes], None]) -> Deferred[None]:
        try:
            receive(self.data)
        except Exception:
            return fail()
        return succeed(None)

    def abort(self) -> None:
        self.aborted = True


class Ranges:
    """An upstream that has a file, and counts what it is asked."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def __call__(self, url: str, *, first: int | None = None, last: int | None = None) -> Deferred[Any]:
        assert last is not None
        size = len(self.data)
        start, end = (max(0, size - last), size) if first is None else (first, min(size, last + 1))
        self.asked.append((start, end))
        return succeed(Part(self.data[start:end], size))


class FromTheStartOnly:
    """An upstream that has another answer to a range that counts from the end."""

    def __init__(self, ranges: Ranges, instead: Any) -> None:
        self.ranges, self.instead = ranges, instead

    def __call__(self, url: str, *, first: int | None = None, last: int | None = None) -> Deferred[Any]:
        if first is not None:
            return self.ranges(url, first=first, last=last)
        return fail(self.instead) if isinstance(self.instead, Exception) else succeed(self.instead)


class Inline:
    """A worker without a thread."""

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        return succeed(function(*args, **kwargs))

    def stop(self) -> Deferred[None]:
        return succeed(None)


class MetadataTests(SynchronousTestCase):
    """What is read of which wheel, and what that costs."""

    def read(self, fetch: Any, size: int | None = None, limit: int = LIMIT) -> bytes | None:
        remote = RemoteFile(file=File(filename=NAME, version="1.0", size=size), url="http://a/" + NAME)
        return self.successResultOf(
            Deferred.fromCoroutine(read_remote_metadata(fetch, remote, limit, Inline()))
        )

    def refusal(self, fetch: Any, size: int | None = None, limit: int = LIMIT) -> BaseException:
        remote = RemoteFile(file=File(filename=NAME, version="1.0", size=size), url="http://a/" + NAME)
        reading = Deferred.fromCoroutine(read_remote_metadata(fetch, remote, limit, Inline()))
        return self.failureResultOf(reading, Unavailable).value

    def test_a_small_wheel_takes_one_request(self) -> None:
        ranges = Ranges(wheel())

        assert self.read(ranges) == METADATA
        assert self.read(ranges, len(ranges.data)) == METADATA
        assert ranges.asked == [(0, len(ranges.data))] * 2

    def test_a_large_wheel_takes_its_end_and_little_more(self) -> None:
        for before, after in ((5_000_000, 0), (0, 5_000_000), (2_500_000, 2_500_000)):
            ranges = Ranges(wheel(before=before, after=after))

            assert self.read(ranges) == METADATA
            assert len(ranges.asked) <= 2
            assert sum(end - start for start, end in ranges.asked) <= 200_000

    def test_a_wheel_with_many_members_takes_its_directory_too(self) -> None:
        ranges = Ranges(wheel(members=20_000, after=1_000_000))

        assert self.read(ranges) == METADATA
        assert len(ranges.asked) <= 3

    def test_no_byte_is_fetched_twice(self) -> None:
        ranges = Ranges(wheel(members=5_000, before=300_000))
        self.read(ranges)
        spans = sorted(ranges.asked)

        assert [b for a, b in itertools.pairwise(spans) if b[0] < a[1]] == []

    def test_a_zip64_member_is_read(self) -> None:
        assert self.read(Ranges(wheel(zip64=True, after=200_000))) == METADATA

    def test_long_metadata_is_read_in_a_few_steps(self) -> None:
        text = METADATA + bytes(range(32, 127)) * 9_000
        ranges = Ranges(wheel(text, after=200_000))

        assert self.read(ranges) == text
        assert len(ranges.asked) <= 6

    def test_a_server_without_ranges_is_left_alone(self) -> None:
        part = Part(wheel(), None, 200)

        assert self.read(lambda url, **_: succeed(part)) is None
        assert part.aborted

    def test_a_server_that_refuses_ranges_is_left_alone(self) -> None:
        """Some answer 400, 403, 416 or 501, and have the whole file all the same."""

        def refusing(url: str, **_range: Any) -> Deferred[Any]:
            return fail(BadGateway("The upstream sent unexpected status 501."))

        assert self.read(refusing) is None

    def test_an_upstream_that_knows_no_range_from_the_end_is_asked_by_positions(self) -> None:
        """Whatever it answers instead: a refusal, nothing, the whole, or another part."""
        for size in (50, 90_000, 400_000):
            data = wheel(before=size)
            for instead in (
                BadGateway("It answers with 416."),
                Unavailable("It answers with 500."),
                None,
                Part(data, None, 200),
                Part(data, len(data)),
                Part(b"", len(data)),
            ):
                ranges = Ranges(data)
                assert self.read(FromTheStartOnly(ranges, instead)) == METADATA
                assert len(ranges.asked) <= 3

    def test_metadata_over_the_limit_is_none(self) -> None:
        data = wheel(METADATA + b" " * 10_000)

        assert self.read(Ranges(data), limit=5_000) is None

    def test_a_bomb_is_refused(self) -> None:
        data = wheel(METADATA + b" " * 100_000_000)

        assert isinstance(self.refusal(Ranges(data)), BadGateway)

    def test_what_the_wheel_says_is_given_whatever_that_is(self) -> None:
        """Of another project or version, or nothing at all: clients judge that, as without a server."""
        for other in (b"Name: other\nVersion: 1.0\n\n", b"Name: demo\nVersion: 2.0\n\n", b""):
            assert self.read(Ranges(wheel(other))) == other

    def test_what_is_no_wheel_is_refused(self) -> None:
        for data in (b"x" * 100, b"x" * 500_000, wheel()[:-5], b"junk" + wheel(), wheel()[:40] + b"?" * 500):
            assert isinstance(self.refusal(Ranges(data)), BadGateway)

    def test_a_wheel_with_bytes_in_front_is_refused_with_that_reason(self) -> None:
        for count in (10, 3_000_000):
            ranges = Ranges(b"#" * count + wheel())
            refusal = self.refusal(ranges)

            assert isinstance(refusal, BadGateway)
            assert f"There are {count:,} bytes in front of the zip archive" in refusal.message
            assert sum(end - start for start, end in ranges.asked) <= 70_000

    def test_a_member_that_claims_to_lie_elsewhere_costs_nothing_more(self) -> None:
        data = bytearray(wheel(before=500_000))
        where = data.rindex(b"PK\1\2") + 42
        for offset in (len(data) - 10, 2**31, 2**32 - 1):
            struct.pack_into("<L", data, where, offset)
            ranges = Ranges(bytes(data))

            assert isinstance(self.refusal(ranges), BadGateway)
            assert len(ranges.asked) == 1

    def test_a_directory_that_claims_to_be_huge_is_not_fetched(self) -> None:
        data = b"x" * 30_000_000
        end = struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 9, 9, len(data), 0, 0)
        ranges = Ranges(data + end)

        assert self.read(ranges) is None
        assert len(ranges.asked) == 1

    def test_an_upstream_that_contradicts_itself_about_the_size_is_left_alone(self) -> None:
        assert self.read(Ranges(wheel()), size=7) is None

    def test_an_upstream_that_sends_more_or_nothing_is_not_believed(self) -> None:
        data = wheel(before=200_000)

        assert self.read(lambda url, **_: succeed(Part(data, len(data)))) is None
        assert self.read(lambda url, **_: succeed(Part(b"", len(data)))) is None
        assert self.read(lambda url, **_: succeed(None)) is None

    def test_a_part_that_is_coded_is_not_taken_for_the_part(self) -> None:
        """A front end that packs whatever it sends packs ranges, too."""
        part = Part(wheel(), len(wheel()))
        part.coding = "gzip"

        assert self.read(lambda url, **_: succeed(part)) is None
        assert part.aborted


@pytest.mark.parametrize("cut", range(0, 700, 7))
def test_a_wheel_with_any_byte_turned_is_read_or_refused(cut: int) -> None:
    data = bytearray(wheel())
    data[cut % len(data)] ^= 0xFF
    remote = RemoteFile(file=File(filename=NAME, version="1.0"), url="http://a/" + NAME)
    outcome: list[Any] = []
    reading = Deferred.fromCoroutine(read_remote_metadata(Ranges(bytes(data)), remote, LIMIT, Inline()))
    reading.addBoth(outcome.append)

    assert outcome[0] == METADATA or outcome[0].check(BadGateway)
