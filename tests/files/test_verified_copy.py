"""Files that are copied have their bytes and their time before they have a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from twisted_index.files import verified_copy
from twisted_index.files.verified_copy import copy_file, move_file

SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


@pytest.fixture
def source(tmp_path: Path) -> bytes:
    path = tmp_path / "source"
    path.write_bytes(b"foo")
    os.utime(path, ns=(10**18 + 7, 10**18 + 7))
    return os.fsencode(path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "other").mkdir()
    return tmp_path / "other" / "target"


def no_link(_source: bytes, _target: bytes) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


@pytest.mark.parametrize("sha256", [SHA256, ""], ids=["known", "unknown"])
def test_a_file_is_moved_to_another_file_system_also_without_its_digest(
    source: bytes, target: Path, sha256: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified_copy, "give_name", no_link)
    move_file(source, os.fsencode(target), sha256)
    assert (target.read_bytes(), target.stat().st_mtime_ns) == (b"foo", 10**18 + 7)
    assert not os.path.exists(source)


def test_a_file_with_other_bytes_than_expected_stays_where_it_is(
    source: bytes, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified_copy, "give_name", no_link)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        move_file(source, os.fsencode(target), "0" * 64)
    assert not target.exists()
    assert os.path.exists(source)


def test_a_copy_takes_a_name_from_another_file_only_if_it_is_to(source: bytes, target: Path) -> None:
    target.write_bytes(b"bar")
    root = os.fsencode(target.parent)
    with pytest.raises(FileExistsError):
        copy_file(root, source, os.fsencode(target))
    assert target.read_bytes() == b"bar"
    copy_file(root, source, os.fsencode(target), replaces=True)
    assert (target.read_bytes(), target.stat().st_mtime_ns) == (b"foo", 10**18 + 7)
