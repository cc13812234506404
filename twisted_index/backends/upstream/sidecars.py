"""
Core metadata and other sidecars of upstream files.

Core metadata comes from the wheel: out of the cache, or as the upstream offers it (if it matches the
promise), or by range requests, or after a download. Metadata that no digest proves is verified again
when the wheel arrives.
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

#: Bytes of a document as it is kept: with a digest in front.
_MAX_SEALED = MAX_METADATA + 65


class _FoundSidecar(NamedTuple):
    """A document, how a cache came by it (see `FileBody`), and whether nothing better can come."""

    document: bytes
    status: str
    final: bool


class UpstreamSidecars:
    """
    Gives the documents that belong to files.

    Args:
        cache: Where core metadata is kept; None keeps none.
        files: Gives wheels.
        worker: Threads.
        reactor: Tells when a wait is over.
        monotonic: Seconds that only go up.
        deadline: Seconds for which a client waits: perhaps for a whole wheel.
        counters: Counts.
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
        self._patience = deadline
        self._counters = counters
        self._offline = offline
        self._finding = SingleFlight[str, "_FoundSidecar | None"](monotonic)

    async def open(self, wanted: FileRequest, sidecar: Sidecar) -> FileBody | None:
        """
        Give a document.

        Returns:
            None if the file has none of this kind.

        Raises:
            Unavailable: It cannot be had now.
        """
        one = wanted.remote_file
        if sidecar is Sidecar.METADATA:
            if one.file.core_metadata is None:
                return None
            # What is joined has to be what this page promises, of this upstream.
            key = f"{wanted.remote.url} {one.url} {wanted.sha256} {one.file.core_metadata}"
            finding = self._finding.run(key, lambda: self._find_metadata(wanted))
        else:
            url = _url_of(one, sidecar)
            if url is None:
                return None
            finding = self._finding.run(f"{wanted.remote.url} {url}", lambda: self._pass_on(wanted, url))
        found = await wait_at_most(
            self._reactor, self._patience, finding, lambda: "The document is being fetched."
        )
        return None if found is None else _body(wanted, found)

    async def _pass_on(self, wanted: FileRequest, url: str) -> _FoundSidecar | None:
        if self._offline:
            raise Unavailable("This is not in the cache, and nothing is fetched in offline mode.", 60)
        self._counters.file_misses += 1
        document = await wanted.remote.document(url, MAX_DOCUMENT)
        if document is not None and begins_like_html(document):
            raise BadGateway("The upstream sent a page instead of this document.")
        return None if document is None else _FoundSidecar(document, "fwd=miss", final=True)

    # -- Core metadata

    async def _find_metadata(self, wanted: FileRequest) -> _FoundSidecar | None:
        """
        Look for core metadata in all places, the surest first.

        Each place but the wheel itself is a shortcut, whose failure only leads on to the next.
        """
        document = await self._worker.run(self._read_kept, wanted, None)
        if document is not None:
            return self._hit(document, final=True)
        document = await self._read_cached_wheel(wanted)
        if document is not None:
            return await self._miss(wanted, document, None)
        document = await self._worker.run(self._read_kept, wanted, wanted.remote.url)
        if document is not None:
            return self._hit(document, final=is_proven(wanted.remote_file))
        document = await self._ask_for_it(wanted)
        is_refuted = document is not None and not self._is_credible(wanted, document)
        if document is not None and not is_refuted:
            return await self._miss(wanted, document, wanted.remote.url)
        return await self._read_far_wheel(wanted, is_refuted)

    async def _read_far_wheel(self, wanted: FileRequest, is_refuted: bool) -> _FoundSidecar | None:
        if not wanted.remote_file.file.filename.endswith(".whl"):
            return None
        document = await self._worker.run(self._read_kept, wanted, wanted.remote.url, True)
        if document is not None:
            return self._hit(document, final=is_proven(wanted.remote_file))
        if self._offline:
            return None
        self._counters.file_misses += 1
        document = await self._read_by_ranges(wanted)
        if document is not None:
            return await self._miss(wanted, document, wanted.remote.url, provisional=True)
        try:
            document = await self._files.read_whole(wanted, metadata_in)
        except BadGateway:
            if is_refuted:
                raise _contradiction(wanted) from None
            raise
        if document is None or not is_promised(wanted.remote_file, document):
            raise _contradiction(wanted)
        return await self._miss(wanted, document, None)

    def _hit(self, document: bytes, *, final: bool) -> _FoundSidecar:
        self._counters.file_hits += 1
        return _FoundSidecar(document, "hit", final)

    async def _miss(
        self, wanted: FileRequest, document: bytes, said_by: str | None, *, provisional: bool = False
    ) -> _FoundSidecar:
        await self._worker.run(self._keep, wanted, document, said_by, provisional)
        status = "fwd=miss" if self._cache is None or provisional else "fwd=miss; stored"
        return _FoundSidecar(document, status, said_by is None or is_proven(wanted.remote_file))

    async def _ask_for_it(self, wanted: FileRequest) -> bytes | None:
        """Ask the upstream, if it offers it; None if it does not have it now, for whatever reason."""
        if not wanted.remote_file.offers_metadata or self._offline:
            return None
        self._counters.file_misses += 1
        url = _beside(wanted.remote_file.url, Sidecar.METADATA.value)
        return await _unless_it_fails(wanted.remote.document(url, MAX_METADATA), wanted)

    async def _read_by_ranges(self, wanted: FileRequest) -> bytes | None:
        document = await _unless_it_fails(wanted.remote.metadata(wanted.remote_file, MAX_METADATA), wanted)
        return document if document is not None and is_promised(wanted.remote_file, document) else None

    async def _read_cached_wheel(self, wanted: FileRequest) -> bytes | None:
        if not wanted.remote_file.file.filename.endswith(".whl"):
            return None
        reading = self._files.read_cached(wanted, metadata_in)
        document = None if reading is None else await reading
        return document if document is not None and is_promised(wanted.remote_file, document) else None

    def _is_credible(self, wanted: FileRequest, document: bytes) -> bool:
        """Say whether what an upstream gives as core metadata can be that; tell the log if it cannot."""
        if is_believable(wanted.remote_file, document):
            return True
        self._counters.files_refused += 1
        _log.error(
            "What {upstream} gives as core metadata of {filename} is something else; the wheel is read.",
            filename=wanted.remote_file.file.filename,
            upstream=wanted.remote.url,
        )
        return False

    # -- On disk; in a thread

    def _read_kept(self, wanted: FileRequest, said_by: str | None, provisional: bool = False) -> bytes | None:
        if self._cache is None or wanted.sha256 is None:
            return None
        path = self._cache.metadata_path(wanted.sha256, said_by=said_by, provisional=provisional)
        written = self._cache.read(path, _MAX_SEALED)
        document = None if written is None else _unsealed(written)
        is_heard = said_by is not None and not provisional
        is_good = is_believable if is_heard else is_promised
        return document if document is not None and is_good(wanted.remote_file, document) else None

    def _keep(
        self, wanted: FileRequest, document: bytes, said_by: str | None, provisional: bool = False
    ) -> None:
        if self._cache is not None and wanted.sha256 is not None and not self._offline:
            path = self._cache.metadata_path(wanted.sha256, said_by=said_by, provisional=provisional)
            self._cache.replace(path, _sealed(document))

    def verify_provisional(self, wanted: FileRequest, sha256: str) -> None:
        """Look at a wheel that has come: is what was said of it so? From now on it alone counts. Blocks."""
        if self._cache is None:
            return
        path_of = partial(self._cache.metadata_path, sha256, said_by=wanted.remote.url)
        said = {path: self._cache.read(path, _MAX_SEALED) for path in (path_of(provisional=True), path_of())}
        heard = {path: _unsealed(written) for path, written in said.items() if written is not None}
        document = self._metadata_of(sha256) if heard else None
        if document is None or not is_promised(wanted.remote_file, document):
            return
        if any(one != document for one in heard.values()):
            _log.error(
                "The core metadata of {filename} was another than its wheel has, and is corrected.",
                filename=wanted.remote_file.file.filename,
            )
        self._cache.replace(self._cache.metadata_path(sha256), _sealed(document))
        for path in heard:
            self._cache.remove(path)

    def _metadata_of(self, sha256: str) -> bytes | None:
        assert self._cache is not None
        file = self._cache.open_file(sha256)
        if file is None:
            return None
        with file, open(file.fileno(), "rb", closefd=False) as whole:
            return metadata_in(whole)


async def _unless_it_fails(asking: Deferred[bytes | None], wanted: FileRequest) -> bytes | None:
    """Take the answer to a question that saves time; None if it fails."""
    try:
        return await asking
    except Unavailable as error:
        _log.debug(
            "The core metadata of {filename} has to be had in another way: {error}",
            filename=wanted.remote_file.file.filename,
            error=error.message,
        )
        return None


def _contradiction(wanted: FileRequest) -> ContradictingMetadata:
    return ContradictingMetadata(
        f"The upstream's core metadata of {wanted.remote_file.file.filename} is not what it promises,"
        " neither beside the wheel nor in it; ask for another version, or tell the operator of the upstream."
    )


def _sealed(document: bytes) -> tuple[bytes, bytes]:
    """Write a document so that damage shows, as it is kept without waiting for the disk."""
    return hashlib.sha256(document).hexdigest().encode("ascii") + b"\n", document


def _unsealed(written: bytes) -> bytes | None:
    digest, _, document = written.partition(b"\n")
    return document if digest == hashlib.sha256(document).hexdigest().encode("ascii") else None


def _url_of(one: RemoteFile, sidecar: Sidecar) -> str | None:
    if sidecar not in one.file.sidecars:
        return None
    if sidecar is Sidecar.PROVENANCE and one.file.provenance_url is not None:
        return one.file.provenance_url
    return _beside(one.url, sidecar.value)


def _beside(url: str, suffix: str) -> str:
    """Append to the path of a URL, before its query."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path + suffix).geturl()


def _body(wanted: FileRequest, found: _FoundSidecar) -> FileBody:
    def make(status: str) -> FileBody:
        return FileBody(
            content=found.document,
            size=len(found.document),
            sha256=hashlib.sha256(found.document).hexdigest(),
            modified=wanted.modified,
            reopen=reopen if found.final else None,
            cache_status=status,
        )

    def reopen() -> FileBody | None:
        return again if wanted.is_listed() else None

    again = make("hit")
    return make(found.status)
