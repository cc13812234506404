"""Versions: their normal form and their order, public through `names`; and valid specifiers of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_version
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from twisted_index.simple.model import File

    #: Sorts versions; equal for all spellings of one release.
    VersionKey: TypeAlias = "Version | _NotAVersion"


# Numbers without leading zeros between dots: nearly all versions, and already in normal form. The limit of
# digits is far below Python's own, above which int() raises.
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:\.(?:0|[1-9][0-9]{0,18}))*")


@dataclass(frozen=True, slots=True)
class _NotAVersion:
    """Text that PEP 440 does not allow as a version: sorts as text, after every version."""

    text: str

    def __lt__(self, other: object) -> bool:
        return isinstance(other, _NotAVersion) and self.text < other.text

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, _NotAVersion) or self.text > other.text


#: Characters of a version that is cached; hostile ones would fill tens of megabytes.
_MAX_CACHED = 64


def version_sort_key(version: str) -> VersionKey:
    """
    Return a key that sorts versions: valid ones as PEP 440 orders them, then others as text.

    Spellings of one release (`1.0`, `1.0.0`) have equal keys.
    """
    return _cached_parse(version) if len(version) <= _MAX_CACHED else _parse(version)


def _parse(version: str) -> VersionKey:
    try:
        return Version(version)
    # InvalidVersion is a ValueError, and so is the error of int() for more than 4,300 digits.
    except ValueError:
        return _NotAVersion(version)


# The files of a project share their versions, so most versions are parsed more than once.
_cached_parse = lru_cache(maxsize=4096)(_parse)


def normal_form(version: str) -> str | None:
    """Return the PEP 440 normal form of a version; None if it is not valid."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        return version
    key = version_sort_key(version)
    return str(key) if isinstance(key, Version) else None


def canonical_version(version: str) -> str:
    """
    Return the normal form without trailing zeros; text that is not a version unchanged.

    Equal for all spellings of one release. Sets and dicts use this and not `version_sort_key` as the key
    of a release: an upstream's page could name any number of versions with equal hashes, as the hashes of
    numbers, unlike those of text, are not randomized.
    """
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        while version.endswith(".0"):
            version = version[:-2]
        return version
    key = version_sort_key(version)
    return canonicalize_version(key) if isinstance(key, Version) else version


def public_version(version: str) -> str:
    """Return the version without its local part (PEP 440), equal for all spellings of one release."""
    key = version_sort_key(version)
    return canonical_version(key.public if isinstance(key, Version) else version)


def is_prerelease(version: str) -> bool:
    """Return whether a version is a pre-release or a development release (PEP 440)."""
    key = version_sort_key(version)
    return isinstance(key, Version) and key.is_prerelease


def sorted_versions(versions: Iterable[str]) -> tuple[str, ...]:
    """
    Order versions, each release once (PEP 700: no duplicates, normal form preferred).

    Returns:
        Ascending by `version_sort_key`. Of several spellings of a release the first is kept, in its
        normal form; text that is not a version by PEP 440 is kept unchanged.
    """
    firsts = (spellings[0] for spellings in _releases(versions))
    return tuple(normal_form(version) or version for version in firsts)


def sorted_files(files: Iterable[File]) -> tuple[File, ...]:
    """Sort the files of a project page by version, then by file name."""
    files = list(files)
    releases = enumerate(_releases(file.version for file in files))
    rank = {version: at for at, spellings in releases for version in spellings}
    return tuple(sorted(files, key=lambda file: (rank[file.version], file.filename)))


def _releases(versions: Iterable[str]) -> list[list[str]]:
    """Return the spellings of each release, in their order; the releases ascend by `version_sort_key`."""
    distinct = list(dict.fromkeys(versions))
    plain = all(map(_PLAIN_RELEASE.fullmatch, distinct))
    key: Callable[[str], Any] = _plain_sort_key if plain else version_sort_key
    keyed = [(key(version), version) for version in distinct]
    keyed.sort(key=itemgetter(0))
    return [[version for _, version in group] for _, group in groupby(keyed, key=itemgetter(0))]


def _plain_sort_key(version: str) -> list[int]:
    """Return a key for final releases only: numbers without trailing zeros, which compare much faster."""
    numbers = list(map(int, version.split(".")))
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return numbers


@lru_cache(maxsize=1024)  # a whole index has a few dozen distinct ones
def are_specifiers(text: str) -> bool:
    """Whether a text is a specifier set (PEP 440) in printable ASCII."""
    if not (text.isascii() and text.isprintable()):  # `===` accepts any text, pages and installers do not
        return False
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True
