"""The platform tags of the wheels that a machine can use, from the best tag that it has. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging import tags

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The names before PEP 600, newest first, and their versions of glibc: 2.n.
OLD_GLIBC = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}

#: glibc 2.n of the oldest tags, for the machines that had wheels before manylinux2014, and for all others.
_OLDEST_GLIBC, _OLDEST_ELSEWHERE = {"x86_64": 5, "i686": 5}, 17
_LIBC = re.compile(r"(?P<name>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)_(?P<machine>\w+)")
_MACOS = re.compile(r"macosx_(?P<major>\d+)_(?P<minor>\d+)_(?P<machine>\w+)")


@lru_cache(64)
def platform_tags(platform: str) -> tuple[str, ...]:
    """
    Return the platform tags that a machine can use, best first, without `any`.

    Args:
        platform: In pip's words: `manylinux_2_28_x86_64`, `win_amd64`, `macosx_14_0_arm64`. What is
            neither of Linux nor of macOS is the only tag itself.
    """
    for old, glibc in OLD_GLIBC.items():
        platform = platform.replace(f"{old}_", f"manylinux_2_{glibc}_")
    if (libc := _LIBC.fullmatch(platform)) is not None:
        return (*_libc_tags(**libc.groupdict()), f"linux_{libc['machine']}")
    if (macos := _MACOS.fullmatch(platform)) is not None:
        version = (int(macos["major"]), int(macos["minor"]))
        return tuple(tags.mac_platforms(version, macos["machine"]))
    return (platform,)


def _libc_tags(name: str, major: str, minor: str, machine: str) -> Iterator[str]:
    """Yield the tags of a version of a libc and of all before it (PEP 600, PEP 656)."""
    is_glibc = name == "manylinux"
    oldest = _OLDEST_GLIBC.get(machine, _OLDEST_ELSEWHERE) if is_glibc else 0
    old_names = {glibc: old for old, glibc in OLD_GLIBC.items()} if is_glibc else {}
    for earlier in range(int(minor), oldest - 1, -1):
        yield f"{name}_{major}_{earlier}_{machine}"
        if earlier in old_names:
            yield f"{old_names[earlier]}_{machine}"
