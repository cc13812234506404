"""
A Python on a platform for which files are chosen: its tags, its markers, and the words of pip and uv for it.

Pure, but for a target of this machine.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging import tags
from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from twisted_index.errors import ConfigurationError
from twisted_index.simple.names import DistributionType, InvalidFilename, parse_filename
from twisted_index.simple.platform_tags import platform_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.markers import Marker

    from twisted_index.simple.model import File

#: pip's words for Windows: uv's words, and the machines in markers.
_WINDOWS = {
    "win_amd64": ("x86_64-pc-windows-msvc", "AMD64"),
    "win32": ("i686-pc-windows-msvc", "x86"),
    "win_arm64": ("aarch64-pc-windows-msvc", "ARM64"),
}
#: Versions of glibc for which uv resolves (2.n), and the machines.
_GLIBC = (17, 28, *range(31, 41))
_LINUX_MACHINES = ("x86_64", "aarch64")
_MACOS = {"arm64": "aarch64-apple-darwin", "x86_64": "x86_64-apple-darwin"}

_PLATFORM = re.compile(
    r"(?P<windows>win32|win_amd64|win_arm64)"
    r"|manylinux(?:_2_(?P<glibc>\d+)|(?P<old>2014))_(?P<glibc_machine>\w+)"
    r"|musllinux_1_(?P<musl>\d+)_(?P<musl_machine>\w+)"
    r"|macosx_(?P<macos>\d+)_(?P<macos_minor>\d+)_(?P<macos_machine>\w+)"
)
_PYTHON = re.compile(r"3\.?(\d+)(?:\.(\d+))?")

_WORDS = (
    "win_amd64, win32, win_arm64; macosx_14_0_arm64, macosx_14_0_x86_64 and earlier or later ones;"
    " manylinux2014_x86_64, manylinux_2_28_x86_64, manylinux_2_31_x86_64 to manylinux_2_40_x86_64,"
    " musllinux_1_2_x86_64, and these with aarch64"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Target:
    """
    A Python on a platform.

    Attributes:
        python: Two or three numbers, as in `3.12`.
        platform: In pip's words, as in `win_amd64`; empty for this machine.
    """

    python: str
    platform: str = ""

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform or 'this machine'}"

    @property
    def is_own(self) -> bool:
        """Whether it is this Python on this machine, for which pip resolves too."""
        return not self.platform and _numbers(self.python)[:2] == sys.version_info[:2]

    @property
    def full_python(self) -> str:
        """Three numbers; without a third, the first release, as uv takes it."""
        return self.python if self.python.count(".") == 2 else f"{self.python}.0"


def target(python: str, platform: str) -> Target:
    """
    Make a target from the words of options.

    Args:
        python: As for pip's `--python-version`, such as `3.12`, `3.12.4` or `312`; empty for this one.
        platform: As for pip's `--platform`; empty for this machine.

    Raises:
        ConfigurationError: uv has no equal; the message says which words have.
    """
    match = _PYTHON.fullmatch(python)
    if python and match is None:
        raise ConfigurationError(
            f"--python-version {python}: only a CPython 3 can be asked for; write it as 3.12 or 3.12.4."
        )
    if platform:
        _described(platform)
    version = ".".join(("3", *filter(None, match.groups()))) if match else _this_python()
    return Target(python=version, platform=platform)


def targets(pythons: Sequence[str], platforms: Sequence[str]) -> tuple[Target, ...]:
    """Make a target of each Python with each platform, from the words of options, each once."""
    return tuple(
        dict.fromkeys(
            target(python, platform) for python in pythons or [""] for platform in platforms or [""]
        )
    )


def folded(sentences: Iterable[tuple[Target, str]]) -> Iterator[str]:
    """Yield sentences that name their targets; those that differ in that alone as one, with all targets."""
    found: dict[str, list[str]] = {}
    for target, sentence in sentences:
        found.setdefault(sentence.replace(str(target), "\0"), []).append(str(target))
    for sentence, names in found.items():
        yield sentence.replace("\0", ", ".join(names))


def _this_python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# -- Platforms


@dataclass(frozen=True, slots=True, kw_only=True)
class _Platform:
    """A platform: its word for uv and what the environment adds to it; its markers."""

    uv: str
    markers: Mapping[str, str]
    environ: Mapping[str, str] = field(default_factory=dict)


@lru_cache(64)
def _described(platform: str) -> _Platform:
    """
    Describe a platform in pip's words.

    Raises:
        ConfigurationError: uv has no word for it.
    """
    match = _PLATFORM.fullmatch(platform)
    if match is not None and match["windows"]:
        uv, machine = _WINDOWS[platform]
        return _Platform(uv=uv, markers=_markers("nt", "win32", "Windows", machine))
    if match is not None and (machine := match["macos_machine"]) in _MACOS:
        return _macos(machine, (int(match["macos"]), int(match["macos_minor"])))
    if match is not None and (machine := match["glibc_machine"]) in _LINUX_MACHINES:
        minor = int(match["glibc"] or 17)
        if minor in _GLIBC:
            return _linux(f"{machine}-manylinux_2_{minor}", machine)
    if match is not None and (machine := match["musl_machine"]) in _LINUX_MACHINES and match["musl"] == "2":
        # uv's musl is musllinux_1_2.
        return _linux(f"{machine}-unknown-linux-musl", machine)
    raise ConfigurationError(
        f"--platform {platform}: uv resolves for no such platform; it does for {_WORDS}."
    )


def _markers(os_name: str, sys_platform: str, system: str, machine: str) -> Mapping[str, str]:
    return {
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
        "platform_release": "",
        "platform_version": "",
    }


def _macos(machine: str, version: tuple[int, int]) -> _Platform:
    return _Platform(
        uv=_MACOS[machine],
        environ={"MACOSX_DEPLOYMENT_TARGET": ".".join(map(str, version))},
        markers=_markers("posix", "darwin", "Darwin", machine),
    )


def _linux(uv: str, machine: str) -> _Platform:
    return _Platform(uv=uv, markers=_markers("posix", "linux", "Linux", machine))


def uv_words(wanted: Target) -> tuple[list[str], Mapping[str, str]]:
    """Return the options of `uv pip compile` for a target, and what the environment adds to them."""
    words = ["--python-version", wanted.python]
    if not wanted.platform:
        return words, {}
    described = _described(wanted.platform)
    return [*words, "--python-platform", described.uv], described.environ


@lru_cache(64)
def environment(wanted: Target) -> Mapping[str, str]:
    """Return the values of environment markers (PEP 508) for a target, with CPython."""
    own = {name: str(value) for name, value in default_environment().items()}
    if wanted.platform:
        own |= _described(wanted.platform).markers
    return own | {
        "implementation_name": "cpython",
        "implementation_version": wanted.full_python,
        "platform_python_implementation": "CPython",
        "python_full_version": wanted.full_python,
        "python_version": ".".join(wanted.python.split(".")[:2]),
    }


def holds(marker: Marker | None, wanted: Target, extra: str = "") -> bool:
    """
    Whether an environment marker (PEP 508) holds for a target.

    Args:
        marker: The marker; None holds everywhere.
        wanted: The target.
        extra: The extra that is installed; empty for none.
    """
    try:
        return marker is None or marker.evaluate({**environment(wanted), "extra": extra})
    except (ValueError, UndefinedEnvironmentName):
        # It compares what cannot be compared: installers refuse the file, or take what it guards.
        return True


# -- Which files fit


@lru_cache(64)
def tags_of(wanted: Target) -> tuple[tags.Tag, ...]:
    """Return the tags that a target supports, best first (PEP 425), with CPython."""
    version = _numbers(wanted.python)[:2]
    name = f"cp{version[0]}{version[1]}"
    platforms = list(platform_tags(wanted.platform) if wanted.platform else tags.platform_tags())
    return (
        *tags.cpython_tags(version, [name], platforms),
        *tags.compatible_tags(version, name, platforms),
    )


@lru_cache(64)
def _ranks(wanted: Target) -> Mapping[tags.Tag, int]:
    return {tag: rank for rank, tag in enumerate(tags_of(wanted))}


def fits(file: File, wanted: Target) -> bool:
    """Whether a wheel can be installed on a target, or an sdist built for it, as far as its page says."""
    return _allows(file, wanted) and (not file.filename.endswith(".whl") or _rank(file, wanted) is not None)


def best_wheel(files: Iterable[File], wanted: Target) -> File | None:
    """Return the wheel that an installer would take of those of one version; None if none fits."""
    ranked = [
        (rank, file) for file in files if _allows(file, wanted) and (rank := _rank(file, wanted)) is not None
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _allows(file: File, wanted: Target) -> bool:
    try:
        return SpecifierSet(file.requires_python or "").contains(wanted.full_python, prereleases=True)
    except InvalidSpecifier:
        return True


def _rank(file: File, wanted: Target) -> tuple[int, int, str] | None:
    """Return the rank of a wheel, the least for the best: by its tags, then by its build number."""
    try:
        name = parse_filename(file.filename)
    except InvalidFilename:
        return None
    if name.kind is not DistributionType.WHEEL:
        return None
    ranks = _ranks(wanted)
    found = [ranks[tag] for tag in tags.parse_tag(name.tags) if tag in ranks]
    number = re.match(r"\d*", name.build)[0]  # type: ignore[index]
    return (min(found), -int(number or 0), file.filename) if found else None
