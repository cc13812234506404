"""A folder in a bucket, which tests fill and look into as they do with a folder of the file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pytest

from tests.kit import object_stores


class BucketFolder:
    """
    What tests use of `Path`, for keys: a folder is there while anything is in it.

    Args:
        url: The place in the store.
        environment: The credentials; the server's environment gets them too.
        path: Relative to the place.
    """

    #: A bucket is looked at once in `rescan`; without that, each answer is as fresh as that of a folder.
    _FRESH: ClassVar[dict[str, str]] = {"TWISTED_INDEX_RESCAN": "0"}

    def __init__(self, url: str, environment: Mapping[str, str], path: str = "") -> None:
        self.url = url
        self.environment = {**environment, **self._FRESH}
        self._credentials = dict(environment)
        self._path = PurePosixPath(path)
        self._objects: Any = object_stores.open_place(url, environment)

    def __str__(self) -> str:
        """What a server takes as the path of its packages: the whole place."""
        assert self._key == "", "servers are given the whole place"
        return self.url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketFolder) and (self.url, self._key) == (other.url, other._key)

    def __hash__(self) -> int:
        return hash((self.url, self._key))

    @property
    def _key(self) -> str:
        return "" if self._path == PurePosixPath() else self._path.as_posix()

    def _at(self, path: PurePosixPath) -> BucketFolder:
        return BucketFolder(self.url, self._credentials, path.as_posix())

    def __truediv__(self, name: str) -> BucketFolder:
        return self._at(self._path / name)

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def parent(self) -> BucketFolder:
        return self._at(self._path.parent)

    def with_name(self, name: str) -> BucketFolder:
        return self._at(self._path.with_name(name))

    def relative_to(self, other: BucketFolder) -> PurePosixPath:
        return self._path.relative_to(other._path)

    def mkdir(self, **_options: bool) -> None:
        """Nothing is made: a folder comes with what is in it."""

    def write_bytes(self, content: bytes, *, modified: float | None = None) -> None:
        """Write a file; `modified` is noted as rclone does."""
        attributes = None if modified is None else {"mtime": f"{modified:.9f}"}
        self._objects.put(self._key, content, attributes=attributes)

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def touch(self) -> None:
        self.write_bytes(self.read_bytes() if self.exists() else b"")

    def read_bytes(self) -> bytes:
        return bytes(self._objects.get(self._key).bytes())

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def unlink(self) -> None:
        assert self.is_file(), self._key
        self._objects.delete(self._key)

    def rename(self, target: BucketFolder) -> None:
        self._objects.rename(self._key, target._key)

    def is_file(self) -> bool:
        return self._key in self._keys()

    def exists(self) -> bool:
        return self._key == "" or self.is_file() or any(self.rglob("*"))

    def rglob(self, pattern: str) -> Iterator[BucketFolder]:
        """All files below whose names match; folders are no entries of their own."""
        within = f"{self._key}/" if self._key else ""
        paths = (PurePosixPath(key) for key in self._keys() if key.startswith(within))
        return (self._at(path) for path in paths if path.match(pattern))

    def glob(self, pattern: str) -> Iterator[BucketFolder]:
        return (found for found in self.rglob(pattern) if found.parent == self)

    def copy_in(self, folder: Path) -> None:
        """Copy all files of a folder, with their times, as `rclone copy` does."""
        for path in filter(Path.is_file, folder.rglob("*")):
            place = self / path.relative_to(folder).as_posix()
            place.write_bytes(path.read_bytes(), modified=path.stat().st_mtime)

    def empty(self) -> None:
        """Remove all that lies below, also what servers keep there for themselves."""
        for found in list(self.rglob("*")):
            found.unlink()

    def _keys(self) -> list[str]:
        return [entry["path"] for page in self._objects.list() for entry in page]


def environment_of(folders: tuple[Any, ...]) -> dict[str, str]:
    """What the environment of a server of these folders needs."""
    found: dict[str, str] = {}
    for folder in folders:
        found |= getattr(folder, "environment", {})
    return found


def set_time(path: Path | BucketFolder, modified: float) -> None:
    """Say when a file was modified last."""
    if isinstance(path, BucketFolder):
        path.write_bytes(path.read_bytes(), modified=modified)
    else:
        os.utime(path, (modified, modified))


def new_folder(kind: str, stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path | BucketFolder:
    """Make an empty folder for packages: `folder` on this machine, else in a store of this kind."""
    if kind == "folder":
        return tmp_path_factory.mktemp("packages")
    return BucketFolder(*object_stores.new_place(kind, stores))
