"""Versions: their normal form and their order. Public through `names`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_version
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from twisted_index.simple.model import File

    #: Sorts versions; equal for all spellings of one release.
    VersionKey: TypeAlias = "Version | _NotAVersion"


# Numbers without leading zeros between dots: nearly every version there is, and in normal form as it
# stands. The limit of digits keeps clear of Python's own, which is an error.
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:\.(?:0|[1-9][0-9]{0,18}))*")


@dataclass(frozen=True, slots=True)
class _NotAVersion:
    """Text that PEP 440 does not allow as a version: sorts as text, after every version."""

    text: str

    def __lt__(self, other: object) -> bool:
        return isinstance(other, _NotAVersion) and self.text < other.text

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, _NotAVersion) or self.text > other.text


#: Characters of a version that is worth remembering; hostile ones would fill tens of megabytes.
_MEMORABLE = 64


def version_sort_key(version: str) -> VersionKey:
    """
    Give a key that sorts versions: the valid ones as PEP 440 orders them, then others as text.

    Spellings of one release (`1.0`, `1.0.0`) have equal keys.
    """
    return _remembered(version) if len(version) <= _MEMORABLE else _read(version)


def _read(version: str) -> VersionKey:
    try:
        return Version(version)
    # InvalidVersion is a ValueError, and so is Python's refusal of a number of 4,300 digits.
    except ValueError:
        return _NotAVersion(version)


# The files of a project share their versions, so most versions are read more than once.
_remembered = lru_cache(maxsize=4096)(_read)


def normal_form(version: str) -> str | None:
    """Give the PEP 440 normal form of a version; None if it is not valid."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        return version
    key = version_sort_key(version)
    return str(key) if isinstance(key, Version) else None


def canonical_version(version: str) -> str:
    """
    Give the normal form without trailing zeros; text that is not a version, as it is.

    Equal for all spellings of one release. Sets and dicts hold releases by this and not by
    `version_sort_key`: a page of an upstream's could name any number of versions with equal hashes, as
    numbers, unlike text, are hashed without a secret.
    """
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        while version.endswith(".0"):
            version = version[:-2]
        return version
    key = version_sort_key(version)
    return canonicalize_version(key) if isinstance(key, Version) else version


def sorted_versions(versions: Iterable[str]) -> tuple[str, ...]:
    """
    Order versions, each release once (PEP 700: no duplicates, normal form preferred).

    Returns:
        Ascending by `version_sort_key`. Of several spellings of a release the first is kept, in its
        normal form; what is not a version by PEP 440 is kept as it is.
    """
    keyed = [(version_sort_key(version), version) for version in dict.fromkeys(versions)]
    keyed.sort(key=itemgetter(0))
    firsts = (next(spellings)[1] for _key, spellings in groupby(keyed, key=itemgetter(0)))
    return tuple(normal_form(version) or version for version in firsts)


def sorted_files(files: Iterable[File]) -> tuple[File, ...]:
    """Sort the files of a project page by version, then by file name."""
    # Two stable sorts: a tuple of both would ask first whether two versions are equal, in Python.
    by_name = sorted(files, key=attrgetter("filename"))
    return tuple(sorted(by_name, key=lambda file: version_sort_key(file.version)))
