"""A project's page, made of the files of releases. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import File, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.github.model import Asset
    from twisted_index.github.release_files import ReleaseFile


def release_page(project: str, files: Iterable[ReleaseFile], left_out: Mapping[str, int]) -> RemotePage:
    """
    Make the page of a project.

    Args:
        project: A normalized name.
        files: Its files.
        left_out: Number of files that are not listed, by reason (a clause).

    Returns:
        The page; its ETag is derived from all of this.
    """
    by_name: dict[str, ReleaseFile] = {}
    for file in files:
        by_name.setdefault(file.filename, file)
    said = repr((list(by_name.values()), sorted(left_out.items())))
    return RemotePage(
        project=project,
        files=tuple(map(_remote_file, by_name.values())),
        left_out=dict(left_out),
        etag=f'"{hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()}"',
    )


def _remote_file(entry: ReleaseFile) -> RemoteFile:
    asset, is_wheel = entry.asset, entry.filename.endswith(".whl")
    sidecars = ((Sidecar.SIGNATURE, entry.signature), (Sidecar.PROVENANCE, entry.provenance))
    file = File(
        filename=entry.filename,
        version=entry.version,
        hashes=_hashes(asset),
        size=asset.size,
        upload_time=asset.created_at,
        core_metadata=_hashes(entry.metadata) if is_wheel else None,
        sidecars=frozenset(sidecar for sidecar, beside in sidecars if beside is not None),
    )
    return RemoteFile(file=file, url=asset.url, offers_metadata=is_wheel and entry.metadata is not None)


def _hashes(asset: Asset | None) -> dict[str, str]:
    return {} if asset is None or asset.sha256 is None else {"sha256": asset.sha256}


def sidecar_of(entry: ReleaseFile, suffix: str) -> Asset | None:
    """Return the asset that belongs to a file and is served at the file's URL plus this suffix."""
    sidecars = {
        Sidecar.METADATA: entry.metadata,
        Sidecar.SIGNATURE: entry.signature,
        Sidecar.PROVENANCE: entry.provenance,
    }
    return sidecars[Sidecar(suffix)]
