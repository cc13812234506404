"""
Which files a Python can use, and which a machine: each alone, unlike in `targets`. Pure.

A machine uses what is built for older systems too, and wheels of pure Python. Words that are not of Linux
or macOS are tags that have to be the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from packaging import tags
from packaging.specifiers import SpecifierSet

from twisted_index.simple.names import DistributionType
from twisted_index.simple.platform_tags import platform_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.simple.names import Distribution

#: Fits wheels of pure Python, and is the platform in their tags.
ANY_PLATFORM = "any"

_PYTHON = re.compile(r"(?P<major>\d)\.(?P<minor>\d{1,3})(?:\.(?P<micro>\d{1,3}))?(?P<threads>t?)")
#: Words without a machine, such as `windows` and `linux`, are no platform, and would fit no wheel.
_PLATFORM = re.compile(
    r"any|win32|win_[a-z0-9]+|(?:manylinux1|manylinux20\d\d|linux)_\w+|[a-z]+_\d+_[a-z0-9_]+"
)
#: Of a release series of Python, more than there will be (3.9 had 25).
_MICROS = range(60)


def python_word(raw: object) -> str:
    """
    Read a version of Python: `3.12`, `3.12.4`, or `3.13t` for the build without the GIL.

    Raises:
        ValueError: It is none; the message says why.
    """
    if not isinstance(raw, str) or _PYTHON.fullmatch(raw) is None:
        raise ValueError(f'{raw!r} is not a version of Python; write it like "3.12"')
    return raw


def platform_word(raw: object) -> str:
    """
    Read a platform in pip's words: `manylinux_2_28_x86_64`, `win_amd64`, `macosx_14_0_arm64`, `any`.

    Raises:
        ValueError: It is none; the message says why.
    """
    if not isinstance(raw, str) or _PLATFORM.fullmatch(raw) is None:
        raise ValueError(f'{raw!r} is not a platform; write it like "manylinux_2_28_x86_64" or "win_amd64"')
    return raw


def fits_pythons(distribution: Distribution, requires_python: str | None, pythons: Sequence[str]) -> bool:
    """
    Return whether one of several Pythons may use a file.

    Args:
        distribution: The parsed name of the file.
        requires_python: A specifier set; a Python of two numbers meets it if any of its releases does.
        pythons: From `python_word`.
    """
    is_wheel = distribution.kind is DistributionType.WHEEL
    return any(
        _allows(requires_python or "", python)
        and (not is_wheel or not _python_pairs(distribution.tags).isdisjoint(_supported(python)))
        for python in pythons
    )


def fits_platforms(distribution: Distribution, platforms: Sequence[str]) -> bool:
    """Return whether one of several machines can use a file; an sdist is for all. See `platform_word`."""
    if distribution.kind is not DistributionType.WHEEL:
        return True
    found = set(distribution.tags.rpartition("-")[2].split("."))
    return any(not found.isdisjoint((ANY_PLATFORM, *platform_tags(one))) for one in platforms)


def _python_pairs(compressed: str) -> set[tuple[str, str]]:
    pythons, abis, _platforms = compressed.split("-")
    return set(product(pythons.split("."), abis.split(".")))


@lru_cache(64)
def _supported(python: str) -> frozenset[tuple[str, str]]:
    """Return the Python and ABI tags that CPython of a version supports (PEP 425)."""
    match = _PYTHON.fullmatch(python)
    assert match is not None
    version, name = (int(match["major"]), int(match["minor"])), f"cp{match['major']}{match['minor']}"
    found = (
        *tags.cpython_tags(version, [name + match["threads"]], [ANY_PLATFORM]),
        *tags.compatible_tags(version, name, [ANY_PLATFORM]),
    )
    return frozenset((tag.interpreter, tag.abi) for tag in found)


@lru_cache(1024)
def _allows(requires_python: str, python: str) -> bool:
    version, specifiers = python.rstrip("t"), SpecifierSet(requires_python)
    if version.count(".") == 2:
        return specifiers.contains(version, prereleases=True)
    return any(specifiers.contains(f"{version}.{micro}", prereleases=True) for micro in _MICROS)
