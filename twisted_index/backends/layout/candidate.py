"""A received file that is to be published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.errors import BadRequest
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from twisted_index.backends.layout.spool import Spool
    from twisted_index.files.anonymous_file import AnonymousFile
    from twisted_index.interfaces import Upload
    from twisted_index.simple.names import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    A file to publish.

    Attributes:
        file: The received file, fully written.
        distribution: Its parsed name.
        sha256: Lower-case hex digest of the file.
        size: Size of the file in bytes.
        signature: Its signature document; None without one.
        may_create: Whether the upload may create a project.
    """

    file: AnonymousFile
    distribution: Distribution
    sha256: str
    size: int
    signature: bytes | None = None
    may_create: bool = True


def candidate_of(upload: Upload, spool: Spool, sha256: str) -> Candidate:
    """
    Make the candidate of an upload.

    Args:
        upload: The upload.
        spool: What has received its file.
        sha256: Lower-case hex digest of the file.

    Raises:
        BadRequest: The file's name is none of a distribution.
    """
    try:
        distribution = parse_filename(upload.filename)
    except InvalidFilename as error:
        raise BadRequest(f"{error.reason} {error.advice}") from error
    return Candidate(
        file=spool.file,
        distribution=distribution,
        sha256=sha256,
        size=spool.size,
        signature=upload.signature,
        may_create=upload.may_create,
    )
