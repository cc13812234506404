"""
Which old releases of a project may go, and how many files at once. Pure.

A release is a public version (PEP 440): `1.0+cpu` and `1.0+cu126` are one, and a post-release is one of its
own. Pre-releases are those of `Version.is_prerelease`: alphas, betas, candidates, and all with `.dev`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.simple.names import public_version, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """
    A listed file.

    Attributes:
        filename: Its name.
        version: Its version.
        uploaded: Seconds since the epoch.
        yanked: Whether it is yanked.
    """

    filename: str
    version: str
    uploaded: float
    yanked: bool = False

    def is_offered(self) -> bool:
        """Return whether installers choose it."""
        return not self.yanked


def superseded(files: Iterable[StoredFile], keep: int, *, latest_uploads: bool = False) -> list[StoredFile]:
    """
    Return the files of all releases but the newest ones.

    A release without an offered file is not one of those that are kept, since installers pass it over; it
    goes once there are enough newer ones. So not all files are ever returned.

    Args:
        files: Those that are counted together.
        keep: The number of releases to keep, at least 1.
        latest_uploads: Whether to keep as many of the latest uploads too, whatever their versions.

    Returns:
        The oldest release first.
    """
    by_release: defaultdict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        by_release[public_version(file.version)].append(file)
    releases = sorted(by_release.items(), key=lambda item: version_sort_key(item[0]), reverse=True)
    kept = {
        name for name, _files in sorted(releases, key=_last_upload, reverse=True)[: keep * latest_uploads]
    }
    old: list[list[StoredFile]] = []
    for name, its_files in releases:
        if keep <= 0:
            old.append([] if name in kept else its_files)
        elif any(file.is_offered() for file in its_files):
            keep -= 1
    return [file for its_files in reversed(old) for file in its_files]


def _last_upload(release: tuple[str, list[StoredFile]]) -> float:
    return max(file.uploaded for file in release[1])


@dataclass(frozen=True, slots=True)
class DeletionLimit:
    """
    How many files one run may delete.

    Attributes:
        number: Of files, or percent of them.
        is_percent: Which of the two.
    """

    number: int
    is_percent: bool

    @classmethod
    def parse(cls, raw: object) -> DeletionLimit:
        """
        Read a number, or a percentage such as `5%`.

        Raises:
            ValueError: It is neither.
        """
        text = str(raw)
        number = text.removesuffix("%")
        if isinstance(raw, bool) or not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise ValueError(f"{raw!r} is neither a number nor a percentage such as 5%")
        return cls(int(number), text.endswith("%"))

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percent else str(self.number)

    def forbids(self, number: int, total: int) -> bool:
        """Return whether a number of files is more than may be deleted of a total."""
        return number * 100 > self.number * total if self.is_percent else number > self.number
