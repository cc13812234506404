"""File systems of a test's own, where the system lets us mount them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: How to make a file system, by what its times are like. The first word is the type to mount it as.
_MAKERS = {
    "tmpfs": (),
    "tmpfs small": (),
    "ext4 with times of nanoseconds": ("mkfs.ext4", "-q", "-I", "256"),
    "ext4 with times of seconds": ("mkfs.ext4", "-q", "-I", "128"),
    "ext3": ("mkfs.ext4", "-q", "-t", "ext3"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "vfat": ("mkfs.vfat",),
}
KINDS = tuple(kind for kind in _MAKERS if kind != "tmpfs small")
#: Bytes; less is too little for xfs.
_SIZE = 400 << 20


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make and mount an empty file system of a kind."""
    disk = tmp_path / "disk"

    def mount(kind: str) -> Path:
        disk.mkdir()
        maker, source, options = _MAKERS[kind], tmp_path / "image", ("-o", "loop")
        if maker:
            source.touch()
            os.truncate(source, _SIZE)
        else:
            options = ("-o", "size=1m") if kind == "tmpfs small" else ()
        if maker and (shutil.which(maker[0]) is None or not _run(*maker, str(source))):
            pytest.skip(f"{kind} cannot be made here")
        if os.geteuid() != 0 or not _run("mount", "-t", kind.split()[0], *options, str(source), str(disk)):
            pytest.skip(f"{kind} may not be mounted here")
        return disk

    yield mount
    if os.path.ismount(disk):
        _run("umount", "-l", str(disk))


def _run(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
