"""Whatever the bytes are and the disk does, a reader of archives is told a sentence."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.errors import SimpleIndexError
from twisted_index.simple.core_metadata import (
    BadArchive,
    UnreadableFile,
    ZipArchive,
    read_sdist_metadata,
    read_wheel_metadata,
)

from .samples import (
    DOCUMENT,
    MANY,
    SDIST_EXTENSIONS,
    SDISTS,
    WHEEL,
    check_members,
    mutated,
    read_sdist,
    read_wheel,
)


class Failing(io.BytesIO):
    """A file on a disk that fails."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_a_disk_that_fails_is_told_apart_from_a_bad_sdist(extension: str) -> None:
    with pytest.raises(UnreadableFile, match="could not be read"):
        read_sdist_metadata(Failing(SDISTS[extension]), extension, MANY)


def test_a_disk_that_fails_is_told_apart_from_a_bad_wheel() -> None:
    with pytest.raises(UnreadableFile, match="could not be read"):
        read_wheel_metadata(ZipArchive(Failing(WHEEL)))


def test_what_cannot_be_sought_in_is_refused() -> None:
    class Pipe(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError(errno.ESPIPE, "Illegal seek")

    with pytest.raises(UnreadableFile):
        read_wheel_metadata(ZipArchive(Pipe(WHEEL)))


def test_a_refusal_carries_its_reason_and_its_advice_as_one_public_error() -> None:
    with pytest.raises(BadArchive) as caught:
        read_wheel(b"")
    error = caught.value
    assert isinstance(error, SimpleIndexError)
    assert error.status == 400
    assert error.message == f"{error.reason} {error.advice}"


@given(st.data())
def test_a_mutated_wheel_gives_its_metadata_or_a_reason(data: st.DataObject) -> None:
    content = mutated(data, WHEEL)
    with contextlib.suppress(BadArchive):
        assert read_wheel(content) == DOCUMENT
        check_members(content, MANY)


@examples(60)
@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
@given(st.data())
def test_a_mutated_sdist_gives_some_document_or_a_reason(extension: str, data: st.DataObject) -> None:
    with contextlib.suppress(BadArchive):
        read_sdist(mutated(data, SDISTS[extension]), extension, 10_000_000)


@examples(60)
@given(st.data())
def test_a_mutated_tar_inside_a_sound_stream_gives_some_document_or_a_reason(data: st.DataObject) -> None:
    with contextlib.suppress(BadArchive):
        read_sdist(gzip.compress(mutated(data, SDISTS[".tar"][:4096]), 1), ".tar.gz", 10_000_000)


@given(st.binary(max_size=2000))
@pytest.mark.parametrize("extension", SDIST_EXTENSIONS)
def test_any_bytes_give_a_reason(extension: str, content: bytes) -> None:
    with pytest.raises(BadArchive):
        read_sdist(content, extension)
    with pytest.raises(BadArchive):
        read_wheel(content)
