"""
What a distribution file says that it needs: other projects, and for an sdist those that build it.

Blocking. An sdist says it in its PKG-INFO; nothing of it is run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement

from twisted_index.files.os_errors import error_text
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.archives.limits import MAX_UNPACKED
from twisted_index.simple.core_metadata import (
    BadArchive,
    NoMetadata,
    UnreadableFile,
    ZipArchive,
    read_pyproject,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.names import DistributionType

if TYPE_CHECKING:
    import io

    from twisted_index.simple.names import Distribution

#: What builds an sdist that does not say it (PEP 517, PEP 518): as pip has it up to the one that comes with
#: Python 3.12, which asks for `wheel`, and later ones do not.
_DEFAULT_BUILD = ["setuptools>=40.8.0", "wheel"]


class UnknownNeeds(Exception):
    """
    It cannot be said what a file needs.

    Attributes:
        reason: A sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """
    What a file needs.

    Attributes:
        python: Its Requires-Python; empty without one.
        requires: Its Requires-Dist, with their markers.
        extras: Its Provides-Extra.
        build: What builds it; empty for a wheel.
    """

    python: str = ""
    requires: tuple[Requirement, ...] = ()
    extras: tuple[str, ...] = ()
    build: tuple[Requirement, ...] = ()


def read_needs(path: bytes, distribution: Distribution) -> Needs:
    """
    Read what a file needs.

    Args:
        path: The file.
        distribution: Its parsed name.

    Raises:
        UnknownNeeds: It cannot be read, or says something that is no requirement.
    """
    try:
        file = open_regular_file(path)
        if file is None:
            raise UnknownNeeds("It is not a regular file.")
        with file:
            metadata, build = _documents(file, distribution)
    except (OSError, UnreadableFile) as error:
        cause = error.__cause__ if isinstance(error, UnreadableFile) else error
        text = error_text(cause) if isinstance(cause, OSError) else "unknown error"
        raise UnknownNeeds(f"It cannot be read: {text}.") from None
    except BadArchive as error:
        raise UnknownNeeds(error.reason) from None
    raw, _ = parse_email(metadata)
    return Needs(
        python=raw.get("requires_python", ""),
        requires=_parsed(raw.get("requires_dist", [])),
        extras=tuple(raw.get("provides_extra", [])),
        build=_parsed(build),
    )


def _documents(file: io.FileIO, distribution: Distribution) -> tuple[bytes, list[str]]:
    """Return the core metadata of a file, and what builds it."""
    if distribution.kind is DistributionType.WHEEL:
        return read_wheel_metadata(ZipArchive(file)), []
    try:
        metadata = read_sdist_metadata(file, distribution.extension, MAX_UNPACKED)
    except NoMetadata:
        metadata = b""
    file.seek(0)
    return metadata, build_requirements(read_pyproject(file, distribution.extension, MAX_UNPACKED))


def build_requirements(pyproject: bytes | None) -> list[str]:
    """
    Return what builds an sdist (PEP 518).

    Args:
        pyproject: Its `pyproject.toml`; None without one.

    Raises:
        UnknownNeeds: The document cannot be understood.
    """
    try:
        system = tomllib.loads((pyproject or b"").decode()).get("build-system", {"requires": _DEFAULT_BUILD})
        requires = system["requires"]
    # Deeply nested arrays are too much for the parser.
    except (ValueError, TypeError, KeyError, RecursionError):
        requires = None
    if not isinstance(requires, list) or not all(isinstance(word, str) for word in requires):
        raise UnknownNeeds("Its pyproject.toml does not say what builds it.")
    return requires


def _parsed(words: list[str]) -> tuple[Requirement, ...]:
    try:
        return tuple(map(Requirement, words))
    except InvalidRequirement as error:
        first = str(error).partition("\n")[0]
        raise UnknownNeeds(f"One of its requirements cannot be understood: {first}.") from None
