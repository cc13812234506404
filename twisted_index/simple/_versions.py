"""Versions: their normal form and their order. Public through `names`."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_version
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from twisted_index.simple.model import File

    #: Sorts versions; its parts are nobody's business.
    VersionKey: TypeAlias = tuple[Any, ...]


# Numbers without leading zeros between dots: in normal form already, and nearly every version there
# is. They are read here, at a tenth of what `packaging` takes; a page can have thousands. The limit
# of digits keeps clear of Python's own, which is an error.
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:\.(?:0|[1-9][0-9]{0,18}))*")


class _Release(NamedTuple):
    """
    What is known of a valid version.

    Attributes:
        normal: The PEP 440 normal form, with the zeros that it was written with.
        trimmed: The same for every spelling of one release: `1.0` and `1.0.0` both give `1`.
        key: For sorting.
    """

    normal: str
    trimmed: str
    key: VersionKey


# The files of a project share their versions, so that most are asked for more than once. An entry
# holds about 1 KB.
@lru_cache(maxsize=4096)
def _release(version: str) -> _Release | None:
    """Read any version; None unless PEP 440 allows it."""
    try:
        read = Version(version)
        return _Release(str(read), canonicalize_version(read), _key(read))
    # InvalidVersion is a ValueError, and so is Python's refusal of a number of 4,300 digits.
    except ValueError:
        return None


# The places of a key: valid, epoch, release, pre-release, post-release, development, local.
_FINAL = (3, 0)
_BEFORE_PRE_RELEASES = (-1, 0)
_PRE_RELEASES = {"a": 0, "b": 1, "rc": 2}
_NO_POST = -1
_NO_DEV = math.inf


def _key(version: Version) -> VersionKey:
    """
    Spell the order of PEP 440 ("Summary of permitted suffixes and relative ordering") as a tuple.

    Tuples of numbers compare in C. Comparing `Version` objects takes most of the time of a page.
    """
    if version.pre is not None:
        pre = (_PRE_RELEASES[version.pre[0]], version.pre[1])
    elif version.post is None and version.dev is not None:
        pre = _BEFORE_PRE_RELEASES
    else:
        pre = _FINAL
    return (
        0,
        version.epoch,
        _without_zeros(version.release),
        pre,
        _NO_POST if version.post is None else version.post,
        _NO_DEV if version.dev is None else version.dev,
        _local_key(version.local),
    )


def _plain_key(version: str) -> VersionKey:
    release = _without_zeros(tuple(map(int, version.split("."))))
    return (0, 0, release, _FINAL, _NO_POST, _NO_DEV, ())


def _without_zeros(release: tuple[int, ...]) -> tuple[int, ...]:
    while release and release[-1] == 0:
        release = release[:-1]
    return release


def _local_key(local: str | None) -> tuple[tuple[int, int, str], ...]:
    """Order the parts of a local version: numbers as numbers, after all words."""
    parts = local.split(".") if local else ()
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


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
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        return _plain_key(version)
    release = _release(version)
    return (1, version) if release is None else release.key


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
