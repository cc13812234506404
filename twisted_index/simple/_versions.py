"""Versions: their normal form and their order. Public through `names`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_version
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from twisted_index.simple.model import File

    #: Sorts versions; its parts are nobody's business.
    VersionKey: TypeAlias = tuple[int, Version | str]


class _Release(NamedTuple):
    """
    What is known of a valid version.

    Attributes:
        normal: The PEP 440 normal form, with the zeros that it was written with.
        trimmed: The same for every spelling of one release: `1.0` and `1.0.0` both give `1`.
        version: For comparing.
    """

    normal: str
    trimmed: str
    version: Version


# Reading a version costs more than 10 µs and a project's files share theirs, so that most are asked
# for more than once. An entry holds about 1 KB.
@lru_cache(maxsize=4096)
def _release(version: str) -> _Release | None:
    """Read a version; None unless PEP 440 allows it."""
    try:
        read = Version(version)
        return _Release(str(read), canonicalize_version(read), read)
    # InvalidVersion is a ValueError, and so is Python's refusal of a number of 4,300 digits.
    except ValueError:
        return None


# Numbers without leading zeros between dots: in normal form already, and nearly every version there
# is. A scan of 100,000 names has more of them than the cache holds, and needs no comparing.
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")


def normal_form(version: str) -> str | None:
    """Give the PEP 440 normal form of a version; None if it is not valid."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        return version
    release = _release(version)
    return None if release is None else release.normal


def trimmed(version: str) -> str:
    """Give what all spellings of a release have in common; what is not valid, as it is."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        while version.endswith(".0"):
            version = version[:-2]
        return version
    release = _release(version)
    return version if release is None else release.trimmed


def version_key(version: str) -> VersionKey:
    """
    Give a key that sorts versions: the valid ones as PEP 440 orders them, then others as text.

    Spellings of one release (`1.0`, `1.0.0`) have equal keys.
    """
    release = _release(version)
    return (1, version) if release is None else (0, release.version)


def ordered_versions(versions: Iterable[str]) -> tuple[str, ...]:
    """
    Order versions, each release once (PEP 700: no duplicates, normal form preferred).

    Returns:
        Ascending by `version_key`. Of several spellings of a release the first is kept, in its
        normal form; what is no version by PEP 440 is kept as it is.
    """
    spellings: dict[str, str] = {}
    for version in versions:
        spellings.setdefault(trimmed(version), normal_form(version) or version)
    return tuple(sorted(spellings.values(), key=version_key))


def file_order(file: File) -> tuple[VersionKey, str]:
    """Give a key that sorts the files of a project page: by version, then by file name."""
    return version_key(file.version), file.filename
