"""
Builds wheels and sdists in memory that installers accept.

Equal arguments give equal bytes, so that digests can be compared between runs.

Out of scope: building real distributions; the files contain only what installers read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from twisted_index.testing.archives import SDIST_WRITERS, record_of, write_zip

#: The members of an archive by path; text is written as UTF-8.
Contents = Mapping[str, bytes | str]

# 2.2 is the first version in which an sdist's dependencies are reliable without a build (PEP 643).
_METADATA_VERSION: Final = "2.2"

# An in-tree build backend (PEP 517) without dependencies: an sdist contains its own wheel.
_PYPROJECT: Final = """\
[build-system]
requires = []
build-backend = "ready_made"
backend-path = ["_build"]
"""
_BACKEND: Final = """\
import pathlib
import shutil


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = pathlib.Path(__file__).parent.glob("*.whl")
    shutil.copy(wheel, wheel_directory)
    return wheel.name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("This sdist was made without a project.")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltFile:
    """
    A distribution file in memory, valid or not.

    Attributes:
        project: The normalized name of its project.
        version: In normal form (PEP 440) if valid, else as given.
        filename: The last segment of its URL, decoded.
        content: Its bytes.
        metadata: Its core metadata, which is served at the URL plus `.metadata`.
    """

    project: str
    version: str
    filename: str
    content: bytes
    metadata: bytes

    @property
    def sha256(self) -> str:
        """The lower-case hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def size(self) -> int:
        """The length of the content in bytes."""
        return len(self.content)

    def write_to(self, folder: str | Path) -> Path:
        """
        Write the file into a folder under its own name, replacing an existing file.

        Args:
            folder: Created, with its parents, if it does not exist.

        Returns:
            The path of the file.
        """
        target = (Path(folder) if isinstance(folder, str) else folder) / self.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.content)
        return target


def make_wheel(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    build: str = "",
    tag: str = "py3-none-any",
    extra_metadata: Iterable[str] = (),
    files: Contents | None = None,
    metadata: bytes | str | None = None,
    filename: str | None = None,
    compress: bool = True,
) -> BuiltFile:
    """
    Build a wheel that installers accept.

    Args:
        name: The project's name in any spelling; escaped in the file name (PEP 427).
        version: Normalized (PEP 440) if valid, else unchanged.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        build: A build tag; begins with a digit.
        tag: Python, ABI and platform, each possibly several joined by dots (PEP 425).
        extra_metadata: Further header lines of METADATA, such as `Provides-Extra: tls`.
        files: The installed files; by default a package with a `__version__`.
        metadata: The whole METADATA, overriding the other arguments.
        filename: Overrides the correct file name.
        compress: Deflate the members; else they are stored.

    Returns:
        The wheel; its bytes depend on the arguments only.
    """
    escaped, normalized = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, normalized, requires, requires_python, extra_metadata)
    if files is None:
        files = {f"{escaped}/__init__.py": f'__version__ = "{normalized}"\n'}
    dist_info = f"{escaped}-{_wheel_part(normalized)}.dist-info"
    members = {path: _as_bytes(content) for path, content in files.items()}
    members[f"{dist_info}/METADATA"] = _as_bytes(metadata)
    members[f"{dist_info}/WHEEL"] = _wheel_file(build, tag)
    members[f"{dist_info}/RECORD"] = record_of(members, f"{dist_info}/RECORD")
    parts = [escaped, _wheel_part(normalized), *([build] if build else []), tag]
    return BuiltFile(
        project=canonicalize_name(name),
        version=normalized,
        filename=filename or "-".join(parts) + ".whl",
        content=write_zip(members, compress=compress),
        metadata=_as_bytes(metadata),
    )


def make_sdist(
    name: str,
    version: str,
    *,
    extension: str = ".tar.gz",
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    extra_metadata: Iterable[str] = (),
    files: Contents | None = None,
    metadata: bytes | str | None = None,
    filename: str | None = None,
) -> BuiltFile:
    """
    Build an sdist that installers accept; it builds offline, without dependencies.

    Args:
        name: The project's name in any spelling; escaped in the file name (PEP 625).
        version: Normalized (PEP 440) if valid, else unchanged.
        extension: One of `.tar.gz`, `.tgz`, `.zip`, `.tar.bz2`, `.tar.xz`, `.tar`.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        extra_metadata: Further header lines of PKG-INFO, such as `Dynamic: Requires-Dist`.
        files: The files that the wheel built from it installs, as for `make_wheel`.
        metadata: The whole PKG-INFO, overriding the other arguments.
        filename: Overrides the correct file name.

    Returns:
        The sdist; its bytes depend on the arguments only.

    Raises:
        ValueError: The extension is not one of these.
    """
    if extension not in SDIST_WRITERS:
        raise ValueError(f"An sdist's extension is one of {', '.join(SDIST_WRITERS)}; not {extension!r}.")
    escaped, normalized = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, normalized, requires, requires_python, extra_metadata)
    wheel = make_wheel(name, version, files=files, metadata=metadata)
    top = f"{escaped}-{normalized}"
    members = {
        f"{top}/PKG-INFO": _as_bytes(metadata),
        f"{top}/pyproject.toml": _PYPROJECT.encode(),
        f"{top}/_build/ready_made.py": _BACKEND.encode(),
        f"{top}/_build/{wheel.filename}": wheel.content,
    }
    return BuiltFile(
        project=canonicalize_name(name),
        version=normalized,
        filename=filename or f"{top}{extension}",
        content=SDIST_WRITERS[extension](members),
        metadata=_as_bytes(metadata),
    )


def _as_bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _escaped(name: str) -> str:
    """Escape a project name for a file name: PEP 503 normal form, with `_` for `-` (PEP 427, 625)."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _normal(version: str) -> str:
    try:
        return str(Version(version))
    except InvalidVersion:
        return version


def _wheel_part(version: str) -> str:
    """Escape the hyphens of an invalid version, which separate the parts of a wheel's name (PEP 427)."""
    return version.replace("-", "_")


def _core_metadata(
    name: str, version: str, requires: Iterable[str], requires_python: str | None, extra: Iterable[str]
) -> bytes:
    lines = [f"Metadata-Version: {_METADATA_VERSION}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python is not None else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += extra
    return "".join(f"{line}\n" for line in lines).encode()


def _wheel_file(build: str, tag: str) -> bytes:
    pure = "true" if tag.endswith("-none-any") else "false"
    lines = ["Wheel-Version: 1.0", "Generator: twisted-index.testing", f"Root-Is-Purelib: {pure}"]
    lines += [f"Tag: {single}" for single in sorted(map(str, parse_tag(tag)))]
    lines += [f"Build: {build}"] if build else []
    return "".join(f"{line}\n" for line in lines).encode()
