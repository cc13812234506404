"""
Core metadata and other sidecars of upstream files.

Core metadata is read from the cached wheel, or the upstream's `.metadata` file (if it has the promised
digest), or the remote wheel by range requests, or a download of it. Metadata without a digest is
verified when the wheel arrives.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from twisted.logger import Logger

from twisted_index.backends.upstream.core_metadata import is_believable, is_promised, is_proven, metadata_in
from twisted_index.backends.upstream.expected_file import begins_like_html
from twisted_index.concurrency.deadline import wait_at_most
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway, ContradictingMetadata, Unavailable
from twisted_index.interfaces import FileBody
from twisted_index.simple.archives.limits import MAX_DOCUMENT, MAX_METADATA
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from twisted_index.backends.upstream.counters import UpstreamCounters
    from twisted_index.backends.upstream.disk_cache import DiskCache
    from twisted_index.backends.upstream.file_cache import FileCache, FileRequest
    from twisted_index.backends.upstream.remote import RemoteFile
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

#: Largest stored document in bytes: its digest and a newline come first.
_MAX_SEALED = MAX_METADATA + 65


class _FoundSidecar(NamedTuple):
    """A document, its cache status (see `FileBody`), and whether it is final: proven, or from the wheel."""

    document: bytes
    status: str
    final: bool


class UpstreamSidecars:
    """
    Opens the sidecars of files.

    Args:
        cache: The cache for core metadata; None stores none.
        files: Opens wheels.
        worker: Threads.
        reactor: Schedules timeouts.
        monotonic: Returns monotonic seconds.
        deadline: Seconds for which a client waits, perhaps for a whole wheel.
        counters: Counters to update.
        offline: Whether no request goes upstream.
    """

    def __init__(
        self,
        *,
        cache: DiskCache | None,
        files: FileCache,
        worker: IThreadRunner,
        reactor: Any,
        monotonic: Callable[[], float],
        deadline: float,
        counters: UpstreamCounters,
        offline: bool,
    ) -> None:
        self._cache = cache
        self._files = files
        self._worker = worker
        self._reactor = reactor
        self._deadline = deadline
        self._counters = counters
        self._offline = offline
        self._searches = SingleFlight[str, "_FoundSidecar | None"](monotonic)

    async def open(self, request: FileRequest, sidecar: Sidecar) -> FileBody | None:
        """
        Open a sidecar.

        Returns:
            None if the file has no sidecar of this kind.

        Raises:
            Unavailable: It cannot be fetched now.
        """
        remote_file = request.remote_file
        if sidecar is Sidecar.METADATA:
            if remote_file.file.core_metadata is None:
                return None
            # Join only a search for the same promise, at the same upstream.
            key = f"{request.remote.url} {remote_file.url} {request.sha256} {remote_file.file.core_metadata}"
            search = self._searches.run(key, lambda: self._find_metadata(request))
        else:
            url = _url_of(remote_file, sidecar)
            if url is None:
                return None
            search = self._searches.run(
                f"{request.remote.url} {url}", lambda: self._fetch_document(request, url)
            )
        found = await wait_at_most(
            self._reactor, self._deadline, search, lambda: "The document is being fetched."
        )
        return None if found is None else _body(request, found)

    async def _fetch_document(self, request: FileRequest, url: str) -> _FoundSidecar | None:
        if self._offline:
            raise Unavailable("This is not in the cache, and nothing is fetched in offline mode.", 60)
        self._counters.file_misses += 1
        document = await request.remote.document(url, MAX_DOCUMENT)
        if document is not None and begins_like_html(document):
            raise BadGateway("The upstream sent a page instead of this document.")
        return None if document is None else _FoundSidecar(document, "fwd=miss", final=True)

    # -- Core metadata

    async def _find_metadata(self, request: FileRequest) -> _FoundSidecar | None:
        """
        Find core metadata, trying the most reliable places first.

        Each place but the wheel itself is optional: on failure, the next is tried.
        """
        document = await self._worker.run(self._read_stored, request, None)
        if document is not None:
            return self._hit(document, final=True)
        document = await self._read_cached_wheel(request)
        if document is not None:
            return await self._miss(request, document, None)
        document = await self._worker.run(self._read_stored, request, request.remote.url)
        if document is not None:
            return self._hit(document, final=is_proven(request.remote_file))
        document = await self._fetch_metadata(request)
        is_refuted = document is not None and not self._is_credible(request, document)
        if document is not None and not is_refuted:
            return await self._miss(request, document, request.remote.url)
        return await self._read_remote_wheel(request, is_refuted)

    async def _read_remote_wheel(self, request: FileRequest, is_refuted: bool) -> _FoundSidecar | None:
        if not request.remote_file.file.filename.endswith(".whl"):
            return None
        document = await self._worker.run(self._read_stored, request, request.remote.url, True)
        if document is not None:
            return self._hit(document, final=is_proven(request.remote_file))
        if self._offline:
            return None
        self._counters.file_misses += 1
        document = await self._read_by_ranges(request)
        if document is not None:
            return await self._miss(request, document, request.remote.url, provisional=True)
        try:
            document = await self._files.read_whole(request, metadata_in)
        except BadGateway:
            if is_refuted:
                raise _contradiction(request) from None
            raise
        if document is None or not is_promised(request.remote_file, document):
            raise _contradiction(request)
        return await self._miss(request, document, None)

    def _hit(self, document: bytes, *, final: bool) -> _FoundSidecar:
        self._counters.file_hits += 1
        return _FoundSidecar(document, "hit", final)

    async def _miss(
        self, request: FileRequest, document: bytes, upstream: str | None, *, provisional: bool = False
    ) -> _FoundSidecar:
        await self._worker.run(self._store, request, document, upstream, provisional)
        status = "fwd=miss" if self._cache is None or provisional else "fwd=miss; stored"
        return _FoundSidecar(document, status, upstream is None or is_proven(request.remote_file))

    async def _fetch_metadata(self, request: FileRequest) -> bytes | None:
        """Request the `.metadata` file if the upstream offers one; None if that fails for any reason."""
        if not request.remote_file.offers_metadata or self._offline:
            return None
        self._counters.file_misses += 1
        url = _append_to_path(request.remote_file.url, Sidecar.METADATA.value)
        return await _none_on_failure(request.remote.document(url, MAX_METADATA), request)

    async def _read_by_ranges(self, request: FileRequest) -> bytes | None:
        document = await _none_on_failure(request.remote.metadata(request.remote_file, MAX_METADATA), request)
        return document if document is not None and is_promised(request.remote_file, document) else None

    async def _read_cached_wheel(self, request: FileRequest) -> bytes | None:
        if not request.remote_file.file.filename.endswith(".whl"):
            return None
        reading = self._files.read_cached(request, metadata_in)
        document = None if reading is None else await reading
        return document if document is not None and is_promised(request.remote_file, document) else None

    def _is_credible(self, request: FileRequest, document: bytes) -> bool:
        """Return whether a document can be the file's core metadata; log it if not."""
        if is_believable(request.remote_file, document):
            return True
        self._counters.files_refused += 1
        _log.error(
            "{upstream} sent something other than core metadata for {filename}; the wheel is read instead.",
            filename=request.remote_file.file.filename,
            upstream=request.remote.url,
        )
        return False

    # -- On disk; in a thread

    def _read_stored(
        self, request: FileRequest, upstream: str | None, provisional: bool = False
    ) -> bytes | None:
        if self._cache is None or request.sha256 is None:
            return None
        path = self._cache.metadata_path(request.sha256, said_by=upstream, provisional=provisional)
        stored = self._cache.read(path, _MAX_SEALED)
        document = None if stored is None else _unsealed(stored)
        is_from_upstream = upstream is not None and not provisional
        is_valid = is_believable if is_from_upstream else is_promised
        return document if document is not None and is_valid(request.remote_file, document) else None

    def _store(
        self, request: FileRequest, document: bytes, upstream: str | None, provisional: bool = False
    ) -> None:
        if self._cache is not None and request.sha256 is not None and not self._offline:
            path = self._cache.metadata_path(request.sha256, said_by=upstream, provisional=provisional)
            self._cache.replace(path, _sealed(document))

    def verify_provisional(self, request: FileRequest, sha256: str) -> None:
        """Replace the upstream's metadata by that of the arrived wheel; log a difference. Blocks."""
        if self._cache is None:
            return
        path_of = partial(self._cache.metadata_path, sha256, said_by=request.remote.url)
        contents = {
            path: self._cache.read(path, _MAX_SEALED) for path in (path_of(provisional=True), path_of())
        }
        unverified = {path: _unsealed(stored) for path, stored in contents.items() if stored is not None}
        document = self._metadata_of(sha256) if unverified else None
        if document is None or not is_promised(request.remote_file, document):
            return
        if any(other != document for other in unverified.values()):
            _log.error(
                "The cached core metadata of {filename} differed from its wheel's, and is corrected.",
                filename=request.remote_file.file.filename,
            )
        self._cache.replace(self._cache.metadata_path(sha256), _sealed(document))
        for path in unverified:
            self._cache.remove(path)

    def _metadata_of(self, sha256: str) -> bytes | None:
        assert self._cache is not None
        file = self._cache.open_file(sha256)
        if file is None:
            return None
        with file, open(file.fileno(), "rb", closefd=False) as whole:
            return metadata_in(whole)


async def _none_on_failure(deferred: Deferred[bytes | None], request: FileRequest) -> bytes | None:
    """Await an optional request; None if it fails."""
    try:
        return await deferred
    except Unavailable as error:
        _log.debug(
            "The core metadata of {filename} is fetched in another way: {error}",
            filename=request.remote_file.file.filename,
            error=error.message,
        )
        return None


def _contradiction(request: FileRequest) -> ContradictingMetadata:
    return ContradictingMetadata(
        f"The upstream's core metadata of {request.remote_file.file.filename} is not what it promised,"
        " neither beside the wheel nor in it; use another version, or notify the operator of the upstream."
    )


def _sealed(document: bytes) -> tuple[bytes, bytes]:
    """Prefix a document with its digest to detect damage: it is written without fsync."""
    return hashlib.sha256(document).hexdigest().encode("ascii") + b"\n", document


def _unsealed(stored: bytes) -> bytes | None:
    digest, _, document = stored.partition(b"\n")
    return document if digest == hashlib.sha256(document).hexdigest().encode("ascii") else None


def _url_of(remote_file: RemoteFile, sidecar: Sidecar) -> str | None:
    if sidecar not in remote_file.file.sidecars:
        return None
    if sidecar is Sidecar.PROVENANCE and remote_file.file.provenance_url is not None:
        return remote_file.file.provenance_url
    return _append_to_path(remote_file.url, sidecar.value)


def _append_to_path(url: str, suffix: str) -> str:
    """Append a suffix to the path of a URL, before its query."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path + suffix).geturl()


def _body(request: FileRequest, found: _FoundSidecar) -> FileBody:
    def make(status: str) -> FileBody:
        return FileBody(
            content=found.document,
            size=len(found.document),
            sha256=hashlib.sha256(found.document).hexdigest(),
            modified=request.modified,
            reopen=reopen if found.final else None,
            cache_status=status,
        )

    def reopen() -> FileBody | None:
        return hit if request.is_listed() else None

    hit = make("hit")
    return make(found.status)
