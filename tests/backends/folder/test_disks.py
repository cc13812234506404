"""A disk that is full, and one that is read-only: small ones of our own, where the system lets us."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.at_once import answer
from tests.kit.folder_store import Shop
from twisted_index.backends.layout.spool import Spool
from twisted_index.errors import InsufficientStorage, Unavailable
from twisted_index.interfaces import Upload
from twisted_index.testing import make_wheel

MOUNT, UMOUNT = shutil.which("mount"), shutil.which("umount")


def mount(*words: str) -> bool:
    assert MOUNT is not None
    return subprocess.run([MOUNT, *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if MOUNT is None or UMOUNT is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    if not mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)):
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run([UMOUNT, "-l", str(disk)], capture_output=True, check=False)


def big(version: str, size: int):
    content = os.urandom(size).hex()[:size]
    return make_wheel("demo", version, files={"demo/x.py": content}, compress=False)


def receive(spool: Spool, content: bytes) -> None:
    for start in range(0, len(content), 4096):
        answer(spool.write, content[start : start + 4096])


def test_a_full_disk_is_told_and_left_as_it_was(
    small_disk: Path, open_shop: Callable[..., Shop], either_way: str
):
    shop = open_shop(small_disk)
    fits, too_big = big("1.0", 300_000), big("2.0", 900_000)
    assert shop.publish(fits)
    spool = answer(shop.store.spool)
    with pytest.raises(InsufficientStorage, match="no space left"):
        receive(spool, too_big.content)
    spool.close()
    assert shop.tree() == [f"demo/{fits.filename}"]
    assert shop.files() == {fits.filename: fits.sha256}
    assert shop.publish(big("3.0", 300_000))


def test_a_disk_that_fills_with_the_last_bytes_publishes_nothing(
    small_disk: Path, open_shop: Callable[..., Shop], either_way: str
):
    shop = open_shop(small_disk)
    (small_disk / "filler").write_bytes(bytes(950_000))
    made = big("1.0", 150_000)
    spool = answer(shop.store.spool)
    # Less than what goes to the disk at once: it is tried only when it is published.
    answer(spool.write, made.content)
    with pytest.raises(InsufficientStorage):
        answer(shop.store.publish, Upload(spool=spool, filename=made.filename))
    assert shop.tree() == ["filler"]
    assert shop.files() == {}


def test_a_read_only_folder_is_told(small_disk: Path, open_shop: Callable[..., Shop], tmp_path: Path):
    made = make_wheel("demo", "1.0")
    shop = open_shop(small_disk)
    shop.publish(made)
    if not mount("-o", "remount,ro", str(small_disk)):
        pytest.skip("remounting is not allowed here")
    for change in (
        lambda: answer(shop.store.spool),
        lambda: shop.do("delete", "demo", made.filename),
        lambda: shop.do("yank", "demo", version="1.0"),
    ):
        with pytest.raises(Unavailable) as caught:
            change()
        assert "/" not in caught.value.message
    assert shop.files() == {made.filename: made.sha256}

    # And as the second of two folders nothing is half deleted.
    made.write_to(tmp_path / "first")
    both = open_shop(tmp_path / "first", small_disk)
    with pytest.raises(Unavailable, match="nothing was changed"):
        both.do("delete", "demo", made.filename)
    assert both.tree() == [made.filename]
    assert both.do("yank", "demo", version="1.0", reason="why") == (made.filename,)
    assert both.file(made.filename).yanked is not None
