"""The Python that an installer installs for, and whether a wheel can be installed there. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from twisted_index.simple._filenames import WHEEL_EXTENSION
from twisted_index.simple.platform_tags import OLD_GLIBC

if TYPE_CHECKING:
    from twisted_index.simple.model import ProjectPage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interpreter:
    """
    A Python on some machine, as far as it is known. Compared by identity, which costs a lookup nothing.

    Attributes:
        implementation: The abbreviation in tags (PEP 425): `cp` or `pp`; empty if unknown.
        version: Of the language, as two or three numbers; empty if unknown.
        system: `linux`, `macos` or `windows`; empty if unknown.
        system_version: Of macOS; empty if unknown.
        machine: As wheels for that system spell it; empty if unknown.
        libc: `glibc` or `musl`; empty if unknown.
        libc_version: Two numbers; empty if unknown.
    """

    implementation: str = ""
    version: tuple[int, ...] = ()
    system: str = ""
    system_version: tuple[int, ...] = ()
    machine: str = ""
    libc: str = ""
    libc_version: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """In words, such as `cp311 linux x86_64 glibc 2.36`."""
        python = f"{self.implementation or 'py'}{''.join(map(str, self.version[:2]))}" if self.version else ""
        system = self.system + ".".join(map(str, self.system_version))
        libc = f"{self.libc} {'.'.join(map(str, self.libc_version))}".strip()
        return " ".join(filter(None, (python, system, self.machine, libc))) or "unknown"


class Offer(NamedTuple):
    """
    What one or more files of a page need.

    Attributes:
        tags: The three tags of a wheel, each possibly compressed (PEP 425); empty for an sdist.
        requires_python: A specifier set; empty without one.
    """

    tags: str
    requires_python: str

    def __str__(self) -> str:
        requires = f" (Python {self.requires_python})" if self.requires_python else ""
        return (self.tags or "sdist") + requires


#: What a page has for installers: each once, sdists first.
Offers: TypeAlias = tuple[Offer, ...]

#: Distinct offers of a page that are judged; numpy has some 150.
_MOST_OFFERS = 1000


def offers_of(page: ProjectPage) -> Offers:
    """Return what a page offers. Equal offers of two pages are one object, since most pages have the same."""
    return _shared(
        tuple(sorted({Offer(_tags(file.filename), file.requires_python or "") for file in page.files}))
    )


@lru_cache(1024)
def _shared(offers: Offers) -> Offers:
    return offers


def _tags(filename: str) -> str:
    """Return the tags of a listed file, whose name is known to be valid."""
    if not filename.endswith(WHEEL_EXTENSION):
        return ""
    return "-".join(filename[: -len(WHEEL_EXTENSION)].lower().rsplit("-", 3)[1:])


def may_install(offers: Offers, interpreter: Interpreter) -> bool:
    """Whether an installer may find a file for an interpreter; False only if it is certain of every file."""
    return len(offers) > _MOST_OFFERS or any(_may_use(offer, interpreter) for offer in offers)


def _may_use(offer: Offer, interpreter: Interpreter) -> bool:
    # Installers compare the release alone, also for a pre-release of Python.
    release = ".".join(map(str, interpreter.version)) if len(interpreter.version) > 2 else ""
    if offer.requires_python and release and not _allows(offer.requires_python, release):
        return False
    parts = offer.tags.split("-")
    if len(parts) != 3:
        return True
    pythons, abis, platforms = (part.split(".") for part in parts)
    is_stable = any(abi.startswith("abi3") for abi in abis)
    return any(_may_run(python, is_stable, interpreter) for python in pythons) and any(
        _may_load(platform, interpreter) for platform in platforms
    )


@lru_cache(1024)
def _allows(requires_python: str, version: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


# -- Python tags

_PYTHON = re.compile(r"(py|cp|pp)(\d)(\d{0,3})")


def _may_run(tag: str, is_stable: bool, interpreter: Interpreter) -> bool:
    """Judge a Python tag; `is_stable` if its wheel uses the stable ABI (PEP 425, "Python Tag")."""
    match = _PYTHON.fullmatch(tag)
    if match is None or not interpreter.version:
        return True
    major, minor = interpreter.version[:2]
    if int(match[2]) != major:
        return False
    if match[1] == "py":
        return not match[3] or int(match[3]) <= minor
    if match[1] != interpreter.implementation:
        return not interpreter.implementation
    # A later CPython runs what was built for an earlier one only with the stable ABI.
    return not match[3] or int(match[3]) == minor or (is_stable and int(match[3]) < minor)


# -- Platform tags

_LINUX = re.compile(r"(?:(many)linux(?:1|2010|2014|_(\d+)_(\d+))|(musl)linux_(\d+)_(\d+)|linux)_(\w+)")
_MACOS = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
_WINDOWS = {"win32": "i686", "win_amd64": "x86_64", "win_arm64": "aarch64"}
_SYSTEMS = {"manylinux": "linux", "musllinux": "linux", "linux": "linux", "macosx": "macos", "win": "windows"}

_MACHINES = frozenset(
    {
        *("x86_64", "i686", "aarch64", "armv6l", "armv7l", "armv8l"),
        *("ppc64", "ppc64le", "s390x", "riscv64", "loongarch64"),
    }
)
#: What else may run: the Python of a 64-bit machine may be one of 32 bits, and does not say so.
_ALSO_RUNS = {
    "x86_64": {"i686"},
    "aarch64": {"armv6l", "armv7l", "armv8l"},
    "armv8l": {"armv6l", "armv7l"},
    "armv7l": {"armv6l"},
}
_FAT = {"universal", "universal2", "intel", "fat", "fat3", "fat32", "fat64", "i386", "ppc", "ppc64"}
#: Architectures of macOS that a machine runs; Python in Rosetta says x86_64.
_MAC_RUNS = {"arm64": {"arm64", "universal2"}, "x86_64": {"x86_64", *_FAT}}


def _may_load(tag: str, interpreter: Interpreter) -> bool:
    """Judge a platform tag."""
    kind = re.match(r"[a-z]*", tag)[0]  # type: ignore[index]
    system = _SYSTEMS.get(kind)
    if system is None or not interpreter.system:
        return True
    if system != interpreter.system:
        return False
    judge = {"linux": _may_load_linux, "macos": _may_load_macos, "windows": _may_load_windows}[system]
    return judge(tag, interpreter)


def _may_load_linux(tag: str, interpreter: Interpreter) -> bool:
    """See PEP 600 and PEP 656."""
    match = _LINUX.fullmatch(tag)
    if match is None:
        return True
    glibc, glibc_major, glibc_minor, musl, musl_major, musl_minor, machine = match.groups()
    if not _runs_machine(machine, interpreter.machine):
        return False
    libc, have = interpreter.libc, interpreter.libc_version
    if not libc or not (glibc or musl):
        return True
    if musl:
        return libc == "musl" and (not have or (int(musl_major), int(musl_minor)) <= have)
    need = (int(glibc_major), int(glibc_minor)) if glibc_major else (2, OLD_GLIBC[tag.partition("_")[0]])
    return libc == "glibc" and (not have or need <= have)


def _runs_machine(wanted: str, machine: str) -> bool:
    known = wanted in _MACHINES and machine in _MACHINES
    return not known or wanted == machine or wanted in _ALSO_RUNS.get(machine, ())


def _may_load_windows(tag: str, interpreter: Interpreter) -> bool:
    # Windows on ARM runs Python for any of them, each of which reports the processor.
    return interpreter.machine == "aarch64" or _runs_machine(_WINDOWS.get(tag, ""), interpreter.machine)


def _may_load_macos(tag: str, interpreter: Interpreter) -> bool:
    match = _MACOS.fullmatch(tag)
    if match is None:
        return True
    runs = _MAC_RUNS.get(interpreter.machine)
    if runs is not None and match[3] in {"arm64", "x86_64", *_FAT} and match[3] not in runs:
        return False
    have, need = interpreter.system_version, (int(match[1]), int(match[2]))
    if not have or have == (10, 16):
        # What macOS 11 and later report to a Python that was built for earlier ones.
        return True
    return need[0] <= have[0] if have[0] > 10 else need <= have
