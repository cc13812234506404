"""Core metadata of upstream wheels: what is promised, and whether a document can be it. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.download_buffer import ALGORITHMS
from twisted_index.simple.core_metadata import (
    BadArchive,
    check_encoding,
    check_identity,
    parse_headers,
    read_wheel_metadata,
)

if TYPE_CHECKING:
    import io

    from twisted_index.backends.upstream.remote import RemoteFile


def metadata_in(wheel: io.BufferedReader) -> bytes | None:
    """Read the METADATA of a whole wheel, whatever it says; None if it is none. Blocks."""
    try:
        return read_wheel_metadata(wheel)
    except BadArchive:
        return None


def is_proven(one: RemoteFile) -> bool:
    """Tell whether there is a digest that proves a document."""
    return bool(_digests(one))


def is_promised(one: RemoteFile, document: bytes) -> bool:
    """Tell whether a document has every digest that is promised of it."""
    return all(
        hashlib.new(name, document, usedforsecurity=False).hexdigest() == digest
        for name, digest in _digests(one).items()
    )


def is_believable(one: RemoteFile, document: bytes) -> bool:
    """
    Tell whether a document that an upstream has beside a wheel can be the wheel's METADATA.

    Without a digest it has at least to be text that speaks of this file: front ends answer with pages
    of their own, and storages with the wheel itself.
    """
    if is_proven(one):
        return is_promised(one, document)
    try:
        check_encoding(document)
        project = one.file.filename.partition("-")[0]
        check_identity(parse_headers(document), project=project, version=one.file.version)
    except BadArchive:
        return False
    return True


def _digests(one: RemoteFile) -> dict[str, str]:
    promised = one.file.core_metadata or {}
    return {name: digest for name, digest in promised.items() if name in ALGORITHMS}
