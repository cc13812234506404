"""
Lock files: `uv.lock` and `pylock.toml` (PEP 751), as pins for a target.

All extras and groups of dependencies are taken, so that each of them can be installed. Blocking.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Protocol

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import (
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from twisted_index.errors import ConfigurationError
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import environment, holds, tags_of
from twisted_index.simple.formatting import printable
from twisted_index.simple.names import normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packaging.pylock import Package

    from twisted_index.resolution.targets import Target

#: The versions of the format of uv.lock.
_UV_VERSION = 1


class LockFile(Protocol):
    """A lock file that has been read."""

    def pins(self, target: Target) -> tuple[Pin, ...]:
        """
        Return what it holds for a target.

        Raises:
            ConfigurationError: It is not made for this target.
        """

    def all_pins(self) -> tuple[Pin, ...]:
        """Return what it holds for any target."""

    def left_out(self) -> tuple[str, ...]:
        """Return a sentence for each project in it that no index can serve."""


def is_lock_file(path: str) -> bool:
    """Whether a file is a lock file, by its name."""
    name = os.path.basename(path)
    return name == "uv.lock" or re.fullmatch(r"pylock(\.[^.]+)?\.toml", name) is not None


def read_lock_file(path: str) -> LockFile:
    """
    Read a lock file.

    Raises:
        ConfigurationError: It cannot be read, or is of another version of the format.
    """
    place = printable(path)
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"{place} is not TOML: {printable(str(error))}.") from None
    if os.path.basename(path) == "uv.lock":
        return _UvLock(document, place)
    return _Pylock(document, place)


def _left_out(place: str, project: str, kind: str, where: str) -> str:
    return (
        f"{place}: {printable(project)} comes from {kind} ({printable(where)}), and not from an index: build"
        " a wheel of it, and copy that into the folder."
    )


class _Pylock:
    """A lock file by PEP 751."""

    def __init__(self, document: Mapping[str, Any], place: str) -> None:
        self._place = place
        try:
            self._lock = Pylock.from_dict(document)
        except PylockUnsupportedVersionError as error:
            raise ConfigurationError(
                f"{place} is of another version of the format: {printable(str(error))}. Lock again for 1.0."
            ) from None
        except PylockValidationError as error:
            raise ConfigurationError(f"{place} is not a lock file: {printable(str(error))}.") from None

    def pins(self, target: Target) -> tuple[Pin, ...]:
        try:
            selected = self._lock.select(
                environment=dict(environment(target)),  # type: ignore[arg-type]
                tags=tags_of(target),
                extras=self._lock.extras,
                dependency_groups={*(self._lock.dependency_groups or ()), *(self._lock.default_groups or ())},
            )
            return tuple(
                Pin(project=package.name, version=str(package.version), hashes=_hashes(package))
                for package, file in selected
                if isinstance(file, PackageWheel | PackageSdist) and package.version is not None
            )
        except PylockSelectError as error:
            raise ConfigurationError(f"{self._place}, for {target}: {printable(str(error))}.") from None

    def all_pins(self) -> tuple[Pin, ...]:
        return tuple(
            Pin(project=package.name, version=str(package.version), hashes=hashes)
            for package in self._lock.packages
            if package.version is not None and (hashes := _hashes(package))
        )

    def left_out(self) -> tuple[str, ...]:
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        for package in self._lock.packages:
            if package.vcs is not None:
                where = package.vcs.url or package.vcs.path or ""
                yield _left_out(self._place, package.name, "a repository", where)
            elif package.directory is not None:
                yield _left_out(self._place, package.name, "a folder", package.directory.path)
            elif package.archive is not None:
                where = package.archive.url or package.archive.path or ""
                yield _left_out(self._place, package.name, "an archive", where)
            elif package.version is None:
                yield f"{self._place}: {package.name} has no version, and is left out; pin it by itself."


def _hashes(package: Package) -> frozenset[str]:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist is not None else []
    return frozenset(f"{name}:{digest.lower()}" for file in files for name, digest in file.hashes.items())


#: What the project itself is, or a member of its workspace.
_OWN_SOURCES = ("editable", "virtual")
_KINDS = {"git": "a repository", "url": "a URL", "path": "a file", "directory": "a folder"}
#: uv writes conflicts of extras and groups as such conditions.
_OF_AN_EXTRA = re.compile(r"""extra [!=]= (['"])[^'"]*\1""")


class _UvLock:
    """A lock file of uv: a graph, whose edges have markers."""

    def __init__(self, document: Mapping[str, Any], place: str) -> None:
        self._place = place
        if document.get("version") != _UV_VERSION:
            raise ConfigurationError(
                f"{place} has version {document.get('version')!r} of the format, of which {_UV_VERSION} is"
                " known here; write it as another: uv export --format pylock.toml -o pylock.toml."
            )
        try:
            self._requires_python = SpecifierSet(document.get("requires-python", ""))
            self._packages: list[Mapping[str, Any]] = document.get("package", [])
            self._named = defaultdict(list)
            for package in self._packages:
                self._named[package["name"]].append(package)
                self._kind(package)
        except (InvalidSpecifier, KeyError, TypeError, AttributeError, IndexError):
            raise self._broken() from None

    def _broken(self) -> ConfigurationError:
        return ConfigurationError(f"{self._place} is not as uv writes it; lock again.")

    def pins(self, target: Target) -> tuple[Pin, ...]:
        if not self._requires_python.contains(target.full_python, prereleases=True):
            raise ConfigurationError(
                f"{self._place} is for Python {self._requires_python}, not for {target}."
            )
        try:
            return tuple(self._walk(target))
        except (KeyError, TypeError, AttributeError, InvalidMarker):
            raise self._broken() from None

    def all_pins(self) -> tuple[Pin, ...]:
        try:
            return tuple(_uv_pin(one) for one in self._packages if self._kind(one) == "registry")
        except (KeyError, TypeError, AttributeError):
            raise self._broken() from None

    def left_out(self) -> tuple[str, ...]:
        return tuple(
            _left_out(self._place, package["name"], _KINDS[kind], str(package["source"][kind]))
            for package in self._packages
            if (kind := self._kind(package)) in _KINDS
        )

    @staticmethod
    def _kind(package: Mapping[str, Any]) -> str:
        return str(next(iter(package["source"])))

    def _walk(self, target: Target) -> Iterator[Pin]:
        """Follow the dependencies of the project; without one, as of a script, take all."""
        roots = [package for package in self._packages if self._kind(package) in _OWN_SOURCES]
        queue = deque((package, None) for package in roots or self._packages)
        seen: set[tuple[int, str | None]] = set()
        while queue:
            package, extra = queue.popleft()
            if (id(package), extra) in seen:
                continue
            if extra is None and self._kind(package) == "registry":
                yield _uv_pin(package)
            seen.add((id(package), extra))
            for edge in _edges(package, extra, is_root=package in roots):
                if holds(_marker(edge), target):
                    found = self._found(edge)
                    queue += [(one, each) for one in found for each in (None, *edge.get("extra", ()))]

    def _found(self, edge: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the packages that a dependency means; its version and source are left out where clear."""
        return [
            package
            for package in self._named[edge["name"]]
            if all(edge.get(key, package.get(key)) == package.get(key) for key in ("version", "source"))
        ]


def _edges(package: Mapping[str, Any], extra: str | None, *, is_root: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the dependencies of a package or of its extra; of the project itself, those of all its extras."""
    extras: Mapping[str, Any] = package.get("optional-dependencies", {})
    if extra is not None:
        yield from extras.get(extra, ())
        return
    yield from package.get("dependencies", ())
    if is_root:
        groups = [*extras.values(), *package.get("dev-dependencies", {}).values()]
        yield from (edge for group in groups for edge in group)


def _marker(edge: Mapping[str, Any]) -> Marker | None:
    text = edge.get("marker")
    return Marker(_OF_AN_EXTRA.sub("os_name != ''", text)) if text else None


def _uv_pin(package: Mapping[str, Any]) -> Pin:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    return Pin(
        project=normalize(package["name"]),
        version=package["version"],
        hashes=frozenset(file["hash"].lower() for file in files if "hash" in file),
    )
