"""
The files of a release: wheels and sdists that an upload would accept, with what belongs to them.

Blocking.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.layout.facts import Rejection, StatKey
from twisted_index.errors import BadRequest, ConfigurationError
from twisted_index.files.os_errors import error_text
from twisted_index.github.release_plan import OutgoingFile
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.core_metadata import ZipArchive, read_wheel_metadata
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import Distribution, DistributionType, InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


#: What may lie beside a file, and goes with it.
_SIDECARS = (Sidecar.SIGNATURE.value, Sidecar.PROVENANCE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """
    A wheel or an sdist to release.

    Attributes:
        path: Its path.
        distribution: What its name says.
        sidecars: Paths of its signature and provenance.
    """

    path: str
    distribution: Distribution
    sidecars: tuple[str, ...]


def given_files(paths: Sequence[str]) -> list[GivenFile]:
    """
    Parse the names of files.

    Returns:
        The distributions, in order, each with the signature and the provenance that are given with it.

    Raises:
        ConfigurationError: A name is none, or two are the same file to an installer, or a signature or a
            provenance is given without its file.
    """
    beside = {path: os.path.basename(path).removesuffix(_suffix(path)) for path in paths if _suffix(path)}
    files = [
        GivenFile(
            path=path,
            distribution=_distribution(path),
            sidecars=tuple(one for one, name in beside.items() if name == os.path.basename(path)),
        )
        for path in dict.fromkeys(paths)
        if path not in beside
    ]
    seen: dict[object, str] = {}
    for file in files:
        if (other := seen.setdefault(file.distribution.identity, file.path)) != file.path:
            raise ConfigurationError(
                f"{file.path} and {other} are the same file to an installer; give one of them."
            )
    owners = {os.path.basename(file.path) for file in files}
    for path, name in beside.items():
        if name not in owners:
            raise ConfigurationError(f"{path} belongs to {name}; give that file, too.")
    if len(set(map(os.path.basename, beside))) < len(beside):
        raise ConfigurationError("Two signatures, or two provenances, are given for one file; give one.")
    return files


def _suffix(path: str) -> str:
    return next((suffix for suffix in _SIDECARS if path.endswith(suffix)), "")


def _distribution(path: str) -> Distribution:
    try:
        return parse_filename(os.path.basename(path))
    except InvalidFilename as error:
        if not os.path.lexists(path):  # a shell passes a pattern on that matches nothing
            raise ConfigurationError(f"{path}: There is no such file.") from None
        raise ConfigurationError(f"{path}: {error.reason} {error.advice}") from None


def read_files(
    given: Sequence[GivenFile], *, with_metadata: bool, failed: Callable[[str, str], None]
) -> list[OutgoingFile]:
    """
    Read files from end to end.

    Args:
        given: The files.
        with_metadata: Whether each wheel is followed by its core metadata.
        failed: Called with each file that cannot be released, and why.

    Raises:
        BadRequest: There was one.
    """
    outgoing: list[OutgoingFile] = []
    failures = 0
    for file in given:
        try:
            outgoing.extend(_read(file, with_metadata=with_metadata))
        except BadRequest as error:
            failures += 1
            failed(file.distribution.filename, error.message)
    if failures:
        raise BadRequest(f"{failures} of {len(given)} files cannot be released; nothing was sent.")
    return outgoing


def _read(given: GivenFile, *, with_metadata: bool) -> Iterator[OutgoingFile]:
    path, distribution = given.path, given.distribution
    try:
        key = StatKey.from_stat(os.stat(path))
    except OSError as error:
        raise BadRequest(f"It cannot be read: {error_text(error)}.") from None
    facts = inspect(os.fsencode(path), distribution, key, verify_members=True, strict=True)
    if isinstance(facts, Rejection):
        raise BadRequest(f"{facts.reason} {facts.advice}")
    name = distribution.filename
    yield OutgoingFile(name=name, size=key.size, sha256=facts.sha256, open=partial(_open, path))
    if with_metadata and distribution.kind is DistributionType.WHEEL:
        yield _document(f"{name}{Sidecar.METADATA.value}", _metadata(path))
    for sidecar in given.sidecars:
        yield _document(f"{name}{_suffix(sidecar)}", _content(sidecar))


def _document(name: str, content: bytes) -> OutgoingFile:
    digest, opened = hashlib.sha256(content).hexdigest(), partial(io.BytesIO, content)
    return OutgoingFile(name=name, size=len(content), sha256=digest, open=opened)


def _content(path: str) -> bytes:
    with _open(path) as file:
        content = file.read(MAX_DOCUMENT + 1)
    if not 0 < len(content) <= MAX_DOCUMENT:
        raise BadRequest(f"{path} is empty, or has more than {MAX_DOCUMENT:,} bytes.")
    return content


def _metadata(path: str) -> bytes:
    with _open(path) as file:
        return read_wheel_metadata(ZipArchive(file))


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error_text(error)}.") from None
