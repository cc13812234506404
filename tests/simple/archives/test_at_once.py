"""A small member is unpacked in one step, with the verdict of the longer way."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.simple.archives.zip import ZipArchive, read_zip
from twisted_index.simple.archives.zip_central_directory import CentralDirectoryEntry
from twisted_index.simple.core_metadata import BadArchive, check_wheel_members, read_wheel_metadata

from .samples import MEMBERS, make_zip, mutated

STREAMED_SIZE = 200_000
#: Deflated, stored, compressed in a way that only `zipfile` reads, with a member of several pieces, none.
ARCHIVES = (
    make_zip(MEMBERS),
    make_zip(MEMBERS, method=zipfile.ZIP_STORED),
    make_zip(MEMBERS, method=zipfile.ZIP_BZIP2),
    make_zip({**MEMBERS, "demo/large": bytes(STREAMED_SIZE)}),
    make_zip({**MEMBERS, "demo/empty": b""}),
    make_zip({}),
)


class InPieces(ZipArchive):
    """A zip archive that is always read the longer way."""

    def _read_at_once(self, entry: CentralDirectoryEntry, limit: int) -> bytes | None:
        return None


def verdict(read: Callable[[], object]) -> object:
    try:
        return read()
    except BadArchive as error:
        return (type(error), error.reason, error.advice)


def verdicts(archive: ZipArchive, limit: int) -> list[object]:
    return [
        verdict(lambda: read_wheel_metadata(archive)),
        verdict(lambda: check_wheel_members(archive, limit)),
    ]


@examples(400)
@given(st.data(), st.sampled_from(ARCHIVES), st.sampled_from([100, 6000, 10_000_000]))
def test_both_ways_give_one_verdict_of_a_damaged_archive(
    data: st.DataObject, content: bytes, limit: int
) -> None:
    """Whatever is cut, overwritten, inserted or removed, and however much may be unpacked."""
    content = mutated(data, content)
    at_once, in_pieces = (kind(io.BytesIO(content)) for kind in (ZipArchive, InPieces))
    assert verdicts(at_once, limit) == verdicts(in_pieces, limit)


@examples(400)
@given(st.data(), st.sampled_from(ARCHIVES[:3]))
def test_both_ways_give_one_verdict_of_each_flipped_bit(data: st.DataObject, content: bytes) -> None:
    """One bit anywhere: in a header, in packed bytes, in the directory."""
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    at_once, in_pieces = (kind(io.BytesIO(flipped)) for kind in (ZipArchive, InPieces))
    assert verdicts(at_once, 10_000_000) == verdicts(in_pieces, 10_000_000)


@pytest.mark.parametrize("content", ARCHIVES[:5])
def test_both_ways_read_a_whole_archive(content: bytes) -> None:
    """Each member is found with its content, in both ways."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        expected = {name.encode(): archive.read(name) for name in archive.namelist()}
    for kind in (ZipArchive, InPieces):
        ours = kind(io.BytesIO(content))
        assert {entry.name: ours.read(entry, 10_000_000) for entry in ours.directory} == expected
        assert read_zip(ours, 10_000_000, lambda name: name == b"demo/data.bin") == MEMBERS["demo/data.bin"]
