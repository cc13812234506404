"""
Makes wheels and sdists in memory that installers take.

The same arguments give the same bytes, so that digests may be compared between runs.

Out of scope: building real distributions; the files have just what installers read.
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

#: Paths inside an archive and what stands there; text is written as UTF-8.
Contents = Mapping[str, bytes | str]

# 2.2 is the first in which an sdist's dependencies may be trusted without a build (PEP 643).
_METADATA_VERSION: Final = "2.2"

# An in-tree build backend (PEP 517) that needs nothing installed: an sdist brings its own wheel.
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
    A distribution file, or something that claims to be one, in memory.

    Attributes:
        project: The normalized name of its project.
        version: In normal form (PEP 440) if it is valid, else as it was given.
        filename: What it is called; the last segment of its URL.
        content: Its bytes.
        metadata: The core metadata inside, the bytes that belong at the URL plus `.metadata`.
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
        Write the file into a folder, under its own name, and over what was there.

        Args:
            folder: Made, with its parents, if it is not there yet.

        Returns:
            Where the file is now.
        """
        target = Path(folder) / self.filename
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
    Make a wheel that installers take.

    Args:
        name: The project's name in any spelling; the file name holds it escaped (PEP 427).
        version: Brought into normal form (PEP 440) if it is valid, else left as it is.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        build: A build tag; begins with a digit.
        tag: Python, ABI and platform, each perhaps several joined by dots (PEP 425).
        extra_metadata: More header lines of METADATA, such as `Provides-Extra: tls`.
        files: The installed files; by default a package with a `__version__`.
        metadata: The whole METADATA, overriding the other arguments.
        filename: A name for the file that differs from the right one.
        compress: Deflate the members; else they are stored.

    Returns:
        The wheel; its bytes depend on nothing but the arguments.
    """
    escaped, spelled = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, spelled, requires, requires_python, extra_metadata)
    if files is None:
        files = {f"{escaped}/__init__.py": f'__version__ = "{spelled}"\n'}
    dist_info = f"{escaped}-{_wheel_part(spelled)}.dist-info"
    members = {path: _as_bytes(content) for path, content in files.items()}
    members[f"{dist_info}/METADATA"] = _as_bytes(metadata)
    members[f"{dist_info}/WHEEL"] = _wheel_file(build, tag)
    members[f"{dist_info}/RECORD"] = record_of(members, f"{dist_info}/RECORD")
    parts = [escaped, _wheel_part(spelled), *([build] if build else []), tag]
    return BuiltFile(
        project=canonicalize_name(name),
        version=spelled,
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
    Make an sdist that installers take; it builds offline, with nothing installed.

    Args:
        name: The project's name in any spelling; the file name holds it escaped (PEP 625).
        version: Brought into normal form (PEP 440) if it is valid, else left as it is.
        extension: One of `.tar.gz`, `.tgz`, `.zip`, `.tar.bz2`, `.tar.xz`, `.tar`.
        requires: Requirements (PEP 508), one `Requires-Dist` each.
        requires_python: A specifier set, such as `>=3.9`.
        extra_metadata: More header lines of PKG-INFO, such as `Dynamic: Requires-Dist`.
        files: What the wheel that is built from it installs, as for `make_wheel`.
        metadata: The whole PKG-INFO, overriding the other arguments.
        filename: A name for the file that differs from the right one.

    Returns:
        The sdist; its bytes depend on nothing but the arguments.

    Raises:
        ValueError: The extension is not one of those.
    """
    if extension not in SDIST_WRITERS:
        raise ValueError(f"An sdist's extension is one of {', '.join(SDIST_WRITERS)}; not {extension!r}.")
    escaped, spelled = _escaped(name), _normal(version)
    if metadata is None:
        metadata = _core_metadata(name, spelled, requires, requires_python, extra_metadata)
    wheel = make_wheel(name, version, files=files, metadata=metadata)
    top = f"{escaped}-{spelled}"
    members = {
        f"{top}/PKG-INFO": _as_bytes(metadata),
        f"{top}/pyproject.toml": _PYPROJECT.encode(),
        f"{top}/_build/ready_made.py": _BACKEND.encode(),
        f"{top}/_build/{wheel.filename}": wheel.content,
    }
    return BuiltFile(
        project=canonicalize_name(name),
        version=spelled,
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
    """Keep a version that is not valid from looking like two parts of a wheel's name (PEP 427)."""
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
