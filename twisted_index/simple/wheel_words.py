"""The tags of wheels in words, and which Pythons and platforms have one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.simple.platform_tags import OLD_GLIBC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EVERY_PLATFORM = "any platform"

_PYTHON = re.compile(r"(?P<kind>[a-z]+)(?P<major>\d)(?P<minor>\d*)")
_NAMES = {"py": "Python", "cp": "Python", "pp": "PyPy", "gp": "GraalPy"}
_LINUX = re.compile(r"(?P<libc>many|musl)linux_(?P<version>\d+_\d+)_(?P<machine>\w+)")
_OLD_LINUX = re.compile(rf"(?P<name>{'|'.join(OLD_GLIBC)})_(?P<machine>\w+)")
_MACOS = re.compile(r"macosx_(?P<version>\d+_\d+)_(?P<machine>\w+)")
#: The machines of wheels for several.
_FAT = {"universal2": ("arm64", "x86_64"), "universal": ("x86_64",), "intel": ("x86_64",)}
_WINDOWS = {"win32": "32-bit x86", "win_amd64": "x86_64", "win_arm64": "ARM64"}
#: Rows and columns of a grid; numpy has 9 and 14.
_MOST_ROWS, _MOST_COLUMNS = 30, 30


def tag_words(tags: str) -> tuple[str, str]:
    """
    Say what a wheel is for.

    Args:
        tags: As in `Distribution.tags`.

    Returns:
        The Pythons, such as `Python 3.12`, and the platforms, such as `Linux x86_64 (glibc 2.17)`.
    """
    python, abi, platform = tags.split("-")
    pythons = dict.fromkeys(_python_words(each, abi) for each in python.split("."))
    platforms: dict[str, str] = {}
    for each in sorted(platform.split("."), key=_age):
        for name, since in _platforms(each):
            platforms.setdefault(name, since)
    shown = (f"{name} ({since})" if since else name for name, since in platforms.items())
    return " or ".join(pythons), ", ".join(shown)


def _python_words(tag: str, abi: str) -> str:
    match = _PYTHON.fullmatch(tag)
    if match is None or match["kind"] not in _NAMES:
        return tag
    name = f"{_NAMES[match['kind']]} {match['major']}"
    if not match["minor"]:
        return f"any {name}"
    threads = ", free-threaded" if re.fullmatch(r"cp\d+t", abi) else ""
    later = " or later" if _is_minimum(match["kind"], abi) else ""
    return f"{name}.{match['minor']}{later}{threads}"


def _is_minimum(kind: str, abi: str) -> bool:
    """Return whether later Pythons can use it too (PEP 425, PEP 384, PEP 803)."""
    return kind == "py" or "abi3" in abi.split(".") or "abi3t" in abi.split(".")


def _age(tag: str) -> tuple[int, ...]:
    """Order tags of one platform by the version that they need, the least first."""
    return tuple(int(number) for number in re.findall(r"\d+", _modern(tag).partition("_")[2])[:2])


def _modern(tag: str) -> str:
    """Return the name of PEP 600 for an old one."""
    match = _OLD_LINUX.fullmatch(tag)
    return tag if match is None else f"manylinux_2_{OLD_GLIBC[match['name']]}_{match['machine']}"


def _platforms(tag: str) -> list[tuple[str, str]]:
    """Return the names of the platforms of a tag, each with what it needs at least."""
    if tag == "any":
        return [(EVERY_PLATFORM, "")]
    if tag in _WINDOWS:
        return [(f"Windows {_WINDOWS[tag]}", "")]
    if (match := _LINUX.fullmatch(_modern(tag))) is not None:
        version = match["version"].replace("_", ".")
        if match["libc"] == "many":
            return [(f"Linux {match['machine']}", f"glibc {version}")]
        return [(f"Linux {match['machine']}, musl", f"musl {version}")]
    if (match := _MACOS.fullmatch(tag)) is not None:
        machines = _FAT.get(match["machine"], (match["machine"],))
        return [(f"macOS {machine}", match["version"].replace("_", ".")) for machine in machines]
    return [(tag, "")]


# -- The grid


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelGrid:
    """
    Which Pythons and platforms have a wheel.

    Attributes:
        pythons: The rows, such as `3.12`, `3.13t`, `PyPy 3.11`, ascending.
        platforms: The columns.
        cells: What each that has a wheel needs at least of its platform, such as `glibc 2.17`; perhaps empty.
    """

    pythons: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    cells: Mapping[tuple[str, str], str] = field(default_factory=dict)


def wheel_grid(wheels: Iterable[str]) -> WheelGrid:
    """
    Make the grid of some wheels.

    Args:
        wheels: The tags of each, as in `Distribution.tags`.

    Returns:
        At most 30 rows and columns: what is beyond them is left out.
    """
    offers = [offer for tags in sorted(set(wheels)) for offer in _offers(tags)]
    exact = sorted({offer.row for offer in offers if not offer.later} | _least(offers))[-_MOST_ROWS:]
    columns = sorted({offer.platform for offer in offers if offer.platform != EVERY_PLATFORM})[:_MOST_COLUMNS]
    columns = columns or [EVERY_PLATFORM]
    open_end = max((row for row in exact if row[:2] == ("", 3) and not row[3]), default=None)
    names = {row: _row_name(row, later=row == open_end and any(o.later for o in offers)) for row in exact}
    cells: dict[tuple[str, str], str] = {}
    for offer in sorted(offers, key=lambda offer: offer.age):
        for row in exact:
            if _covers(offer, row):
                for column in columns if offer.platform == EVERY_PLATFORM else [offer.platform]:
                    cells.setdefault((names[row], column), offer.since)
    return WheelGrid(pythons=tuple(names.values()), platforms=tuple(columns), cells=cells)


#: A Python: its implementation (empty for CPython), its two numbers, whether it is free-threaded.
_Row = tuple[str, int, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    row: _Row
    later: bool
    platform: str
    since: str
    age: tuple[int, ...]


def _offers(tags: str) -> Iterable[_Offer]:
    python, abi, platform = tags.split("-")
    for each in python.split("."):
        match = _PYTHON.fullmatch(each)
        if match is None or match["kind"] not in _NAMES or len(match["minor"]) > 3:
            continue
        kind, minor = match["kind"], match["minor"]
        name = _NAMES[kind] if kind in ("pp", "gp") else ""
        threads = re.fullmatch(r"cp\d+t", abi) is not None
        row = (name, int(match["major"]), int(minor or 0), threads)
        later = not minor or _is_minimum(kind, abi)
        for one in platform.split("."):
            for place, since in _platforms(one):
                yield _Offer(row=row, later=later, platform=place, since=since, age=_age(one))


def _least(offers: list[_Offer]) -> set[_Row]:
    """Return the rows of wheels for a Python and all later ones, if no others show where these begin."""
    if not any(offer.later for offer in offers):
        return set()
    exact = [offer.row for offer in offers if not offer.later and not offer.row[0]]
    starts = {offer.row for offer in offers if offer.later and (offer.row[2] or not exact)}
    numbers = [row[2] for row in [*exact, *starts] if row[1] == 3]
    if not numbers or max(numbers) - min(numbers) > _MOST_ROWS:
        return starts
    # All between them can use these wheels too.
    return starts | {("", 3, minor, False) for minor in range(min(numbers), max(numbers) + 1)}


def _covers(offer: _Offer, row: _Row) -> bool:
    if not offer.later:
        return offer.row == row
    usable = offer.row[1] == row[1] and offer.row[2] <= row[2]
    # Other implementations, and Pythons without the lock, use those without an ABI only.
    return usable and (offer.platform == EVERY_PLATFORM or not (row[0] or row[3]))


def _row_name(row: _Row, *, later: bool) -> str:
    """Name a row of the grid."""
    name, major, minor, threads = row
    if not minor:
        return f"any {name or 'Python'} {major}"
    return f"{name} {major}.{minor}{'t' if threads else ''}{' or later' if later else ''}".strip()
