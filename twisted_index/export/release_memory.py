"""
What an export remembers of the releases of a repository, so that nothing is requested twice. Blocking.

One JSON file below the state, disposable; it depends on no time and no machine, so it may be kept in a cache
between runs on others.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from twisted_index.export.memory_file import read_memory, write_memory
from twisted_index.export.release_pages import Content
from twisted_index.simple.core_metadata import CoreMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.github.model import Asset

#: Incremented when the file means something else.
_FORMAT = 1
_is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch


class ReleaseMemory:
    """
    What is remembered.

    Args:
        path: The file; None remembers nothing.
        repository: The word for the repository.

    Attributes:
        headers: Headers of core metadata, by the digest of the wheel or `.metadata` that has them.
        listed: What each file was that an export has listed, by name.
        listing: See `ReleaseListing.record`.
        is_private: Whether the repository is.
    """

    def __init__(self, path: str | None, repository: str) -> None:
        self._path = path
        self._repository = repository
        self._digests: dict[str, str] = {}
        self.headers: dict[str, CoreMetadata] = {}
        self.listed: dict[str, Content] = {}
        self.listing: Any = None
        self.is_private = False

    def load(self) -> None:
        """Read the file; one that is damaged, or of another repository, counts for nothing."""
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            document = json.loads(read_memory(self._path))
            if (document["format"], document["repository"]) != (_FORMAT, self._repository):
                return
            digests = {key: digest for key, digest in document["digests"].items() if _is_sha256(digest)}
            headers = {sha256: _headers(*fields) for sha256, fields in document["headers"].items()}
            listed = {name: _listed(*fields) for name, fields in document["listed"].items()}
            self._digests, self.headers, self.listed = digests, headers, listed
            self.listing, self.is_private = document["listing"], document["is_private"] is True

    def digest(self, asset: Asset) -> str | None:
        """Return the digest of an asset, if it is known: the API states it, or it was once computed."""
        return asset.sha256 or self._digests.get(_key(asset))

    def headers_of(self, asset: Asset) -> CoreMetadata | None:
        """Return the headers that an asset has, if they are known."""
        return self.headers.get(self.digest(asset) or "")

    def learn_digest(self, asset: Asset, sha256: str) -> None:
        """Remember the digest of an asset."""
        if asset.sha256 is None:
            self._digests[_key(asset)] = sha256

    def learn(self, asset: Asset, headers: CoreMetadata) -> CoreMetadata:
        """Remember the headers of an asset whose digest is known; return them."""
        self.headers[self.digest(asset) or ""] = headers
        return headers

    def keep_only(self, assets: Iterable[Asset | None]) -> None:
        """Forget all other assets."""
        kept = [asset for asset in assets if asset is not None]
        self._digests = {key: self._digests[key] for key in map(_key, kept) if key in self._digests}
        digests = {self.digest(asset) for asset in kept}
        self.headers = {digest: headers for digest, headers in self.headers.items() if digest in digests}

    def save(self) -> None:
        """Write the file."""
        if self._path is None:
            return
        headers = {
            sha256: [one.name, one.version, one.requires_python] for sha256, one in self.headers.items()
        }
        document = {
            "format": _FORMAT,
            "repository": self._repository,
            "digests": self._digests,
            "headers": headers,
            "listed": self.listed,
            "listing": self.listing,
            "is_private": self.is_private,
        }
        write_memory(self._path, json.dumps(document, sort_keys=True).encode())


def _key(asset: Asset) -> str:
    """Return what changes when the bytes of an asset may have."""
    return f"{asset.id} {asset.size} {asset.updated_at}"


def _headers(name: Any, version: Any, requires_python: Any) -> CoreMetadata:
    fields = (name, version, requires_python)
    if not all(field is None or isinstance(field, str) for field in fields):
        raise ValueError("a damaged entry")
    return CoreMetadata(name=name, version=version, requires_python=requires_python)


def _listed(sha256: Any, size: Any) -> Content:
    if not _is_sha256(sha256) or not (size is None or isinstance(size, int)):
        raise ValueError("a damaged entry")
    return Content(sha256, size)
