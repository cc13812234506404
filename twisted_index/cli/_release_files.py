"""
The files of a release: wheels and sdists that an upload would accept, and the metadata of the wheels.

Blocking.
"""

from __future__ import annotations

import hashlib
import io
import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.inspection_cache import Rejection, StatKey
from twisted_index.errors import BadRequest, ConfigurationError
from twisted_index.files.os_errors import error_text
from twisted_index.github.release_plan import OutgoingFile
from twisted_index.simple.core_metadata import ZipArchive, read_wheel_metadata
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import Distribution, DistributionType, InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def distributions(paths: Sequence[str]) -> dict[str, Distribution]:
    """
    Parse the names of files.

    Returns:
        The distributions by path, in order.

    Raises:
        ConfigurationError: A name is none, or two are the same file to an installer.
    """
    parsed: dict[str, Distribution] = {}
    seen: dict[object, str] = {}
    for path in paths:
        try:
            distribution = parse_filename(os.path.basename(path))
        except InvalidFilename as error:
            raise ConfigurationError(f"{path}: {error.reason} {error.advice}") from None
        if (other := seen.setdefault(distribution.identity, path)) is not path:
            raise ConfigurationError(
                f"{path} and {other} are the same file to an installer; give one of them."
            )
        parsed[path] = distribution
    return parsed


def read_files(
    parsed: dict[str, Distribution], *, with_metadata: bool, failed: Callable[[str, str], None]
) -> list[OutgoingFile]:
    """
    Read files from end to end.

    Args:
        parsed: The distributions by path.
        with_metadata: Whether each wheel is followed by its core metadata.
        failed: Called with each file that cannot be released, and why.

    Raises:
        BadRequest: There was one.
    """
    outgoing: list[OutgoingFile] = []
    failures = 0
    for path, distribution in parsed.items():
        try:
            outgoing.extend(_read(path, distribution, with_metadata=with_metadata))
        except BadRequest as error:
            failures += 1
            failed(distribution.filename, error.message)
    if failures:
        raise BadRequest(f"{failures} of {len(parsed)} files cannot be released; nothing was sent.")
    return outgoing


def _read(path: str, distribution: Distribution, *, with_metadata: bool) -> Iterator[OutgoingFile]:
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
        yield _metadata(path, name)


def _metadata(path: str, name: str) -> OutgoingFile:
    with _open(path) as file:
        document = read_wheel_metadata(ZipArchive(file))
    digest, opened = hashlib.sha256(document).hexdigest(), partial(io.BytesIO, document)
    name = f"{name}{Sidecar.METADATA.value}"
    return OutgoingFile(name=name, size=len(document), sha256=digest, open=opened)


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error_text(error)}.") from None
