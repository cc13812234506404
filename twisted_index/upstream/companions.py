"""
Core metadata and other documents that belong to the files of upstreams.

Core metadata is what the upstream offers, if it is what it promised; else what is in the wheel: read
in the cache, or by ranges from far away, or after fetching it. What was read by ranges was never
compared with the digest of the wheel, so it is provisional, and looked at again when the wheel comes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.logger import Logger

from twisted_index.errors import BadGateway, Unavailable
from twisted_index.interfaces import FileBody
from twisted_index.simple.archives.limits import MAX_METADATA
from twisted_index.simple.metadata import BadArchive, read_wheel_metadata
from twisted_index.simple.model import Companion
from twisted_index.sources.listing import MAX_DOCUMENT
from twisted_index.sources.patience import wait_at_most
from twisted_index.upstream.together import Together

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from twisted_index.upstream.cachefolder import CacheFolder
    from twisted_index.upstream.files import Files, Wanted
    from twisted_index.upstream.measures import Measures
    from twisted_index.upstream.remote import RemoteFile
    from twisted_index.worker import Works

_log = Logger()


class Companions:
    """
    Gives the documents that belong to files.

    Args:
        cache: Where core metadata is kept; None keeps none.
        files: Gives wheels.
        worker: Threads.
        reactor: Tells when a wait is over.
        monotonic: Seconds that only go up.
        answer_timeout: Seconds for which a client waits.
        measures: Counts.
        offline: Whether nothing is asked.
    """

    def __init__(
        self,
        *,
        cache: CacheFolder | None,
        files: Files,
        worker: Works,
        reactor: Any,
        monotonic: Callable[[], float],
        answer_timeout: float,
        measures: Measures,
        offline: bool,
    ) -> None:
        self._cache = cache
        self._files = files
        self._worker = worker
        self._reactor = reactor
        self._answer_timeout = answer_timeout
        self._measures = measures
        self._offline = offline
        self._finding = Together[str, "tuple[bytes, str] | None"](monotonic)

    async def open(self, wanted: Wanted, companion: Companion) -> FileBody | None:
        """
        Give a document.

        Returns:
            None if the file has none of this kind.

        Raises:
            Unavailable: It cannot be had now.
        """
        one = wanted.one
        if companion is Companion.METADATA:
            if one.file.core_metadata is None:
                return None
            # What is joined has to be what this page promises, of this upstream.
            key = f"{wanted.remote.url} {one.url} {wanted.sha256} {one.file.core_metadata}"
            finding = self._finding.ask(key, lambda: self._find_metadata(wanted))
        else:
            url = _url_of(one, companion)
            if url is None:
                return None
            finding = self._finding.ask(f"{wanted.remote.url} {url}", lambda: self._pass_on(wanted, url))
        found = await wait_at_most(
            self._reactor, self._answer_timeout, finding, lambda: "The document is being fetched."
        )
        return None if found is None else _body(wanted, *found)

    async def _pass_on(self, wanted: Wanted, url: str) -> tuple[bytes, str] | None:
        if self._offline:
            raise Unavailable("This is not in the cache, and nothing is fetched in offline mode.", 60)
        self._measures.file_misses += 1
        document = await wanted.remote.document(url, MAX_DOCUMENT)
        return None if document is None else (document, "fwd=miss")

    # -- Core metadata

    async def _find_metadata(self, wanted: Wanted) -> tuple[bytes, str] | None:
        """Look for core metadata in all places, the surest first."""
        kept = await self._worker.run(self._read_surest, wanted)
        if kept is not None:
            self._measures.file_hits += 1
            return kept, "hit"
        for look, said_by in ((self._ask_for_it, wanted.remote.url), (self._read_cached_wheel, None)):
            document = await look(wanted)
            if document is not None:
                await self._worker.run(self._keep, wanted, document, said_by)
                return document, "fwd=miss; stored" if self._cache is not None else "fwd=miss"
        if not wanted.one.file.filename.endswith(".whl"):
            return None
        kept = await self._worker.run(self._read_kept, wanted, wanted.remote.url, True)
        if kept is not None:
            self._measures.file_hits += 1
            return kept, "hit"
        if self._offline:
            return None
        self._measures.file_misses += 1
        document = await wanted.remote.metadata(wanted.one, MAX_METADATA)
        provisional = document is not None
        if document is None:
            document = await self._files.read_whole(wanted, _read_metadata)
        if document is None or not _is_promised(wanted.one, document):
            raise self._refusal(wanted)
        said_by = wanted.remote.url if provisional else None
        await self._worker.run(self._keep, wanted, document, said_by, provisional)
        return document, "fwd=miss"

    async def _ask_for_it(self, wanted: Wanted) -> bytes | None:
        """Ask the upstream, if it offers it; not having it is no harm as long as the wheel is there."""
        if not wanted.one.offers_metadata or self._offline:
            return None
        self._measures.file_misses += 1
        try:
            document = await wanted.remote.document(_beside(wanted.one.url, ".metadata"), MAX_METADATA)
        except Unavailable:
            document = await self._read_cached_wheel(wanted)
            if document is None:
                raise
        if document is not None and not _is_promised(wanted.one, document):
            raise self._refusal(wanted)
        return document

    async def _read_cached_wheel(self, wanted: Wanted) -> bytes | None:
        if not wanted.one.file.filename.endswith(".whl"):
            return None
        reading = self._files.read_cached(wanted, _read_metadata)
        document = None if reading is None else await reading
        return document if document is not None and _is_promised(wanted.one, document) else None

    def _refusal(self, wanted: Wanted) -> BadGateway:
        self._measures.files_refused += 1
        _log.error(
            "The core metadata of {filename} of {upstream} is not what was promised: nobody is given it.",
            filename=wanted.one.file.filename,
            upstream=wanted.remote.url,
        )
        return BadGateway("The upstream sent something else than the core metadata that it promised.")

    # -- On disk; in a thread

    def _read_surest(self, wanted: Wanted) -> bytes | None:
        return self._read_kept(wanted, None) or self._read_kept(wanted, wanted.remote.url)

    def _read_kept(self, wanted: Wanted, said_by: str | None, provisional: bool = False) -> bytes | None:
        if self._cache is None or wanted.sha256 is None:
            return None
        path = self._cache.metadata_path(wanted.sha256, said_by=said_by, provisional=provisional)
        written = self._cache.read(path, MAX_METADATA + 65)
        document = None if written is None else _unsealed(written)
        return document if document is not None and _is_promised(wanted.one, document) else None

    def _keep(self, wanted: Wanted, document: bytes, said_by: str | None, provisional: bool = False) -> None:
        if self._cache is not None and wanted.sha256 is not None and not self._offline:
            path = self._cache.metadata_path(wanted.sha256, said_by=said_by, provisional=provisional)
            self._cache.replace(path, _sealed(document))

    def compare(self, wanted: Wanted, sha256: str) -> None:
        """Look at a wheel that has come: is what was said of it by ranges right? Blocks."""
        if self._cache is None:
            return
        path = self._cache.metadata_path(sha256, said_by=wanted.remote.url, provisional=True)
        written = self._cache.read(path, MAX_METADATA + 65)
        file = None if written is None else self._cache.open_file(sha256)
        if written is None or file is None:
            return
        with file, open(file.fileno(), "rb", closefd=False) as whole:
            document = _read_metadata(whole)
        self._cache.remove(path)
        if document is None:
            return
        if _unsealed(written) != document:
            _log.error(
                "The core metadata of {filename} was read wrong from afar, and is corrected.",
                filename=wanted.one.file.filename,
            )
        self._cache.replace(self._cache.metadata_path(sha256), _sealed(document))


def _read_metadata(file: io.BufferedReader) -> bytes | None:
    try:
        return read_wheel_metadata(file)
    except BadArchive:
        return None


def _is_promised(one: RemoteFile, document: bytes) -> bool:
    """Tell whether a document has every digest that is promised of it."""
    promised = one.file.core_metadata or {}
    known = {name: digest for name, digest in promised.items() if name in hashlib.algorithms_guaranteed}
    return all(
        hashlib.new(name, document, usedforsecurity=False).hexdigest() == digest
        for name, digest in known.items()
    )


def _sealed(document: bytes) -> tuple[bytes, bytes]:
    """Write a document so that damage shows, as it is kept without waiting for the disk."""
    return hashlib.sha256(document).hexdigest().encode("ascii") + b"\n", document


def _unsealed(written: bytes) -> bytes | None:
    digest, _, document = written.partition(b"\n")
    return document if digest == hashlib.sha256(document).hexdigest().encode("ascii") else None


def _url_of(one: RemoteFile, companion: Companion) -> str | None:
    if companion not in one.file.companions:
        return None
    if companion is Companion.PROVENANCE and one.file.provenance_url is not None:
        return one.file.provenance_url
    return _beside(one.url, companion.value)


def _beside(url: str, suffix: str) -> str:
    """Append to the path of a URL, before its query."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path + suffix).geturl()


def _body(wanted: Wanted, document: bytes, cache_status: str) -> FileBody:
    def make(status: str) -> FileBody:
        return FileBody(
            content=document,
            size=len(document),
            sha256=hashlib.sha256(document).hexdigest(),
            modified=wanted.modified,
            reopen=lambda: again if wanted.still_listed() else None,
            cache_status=status,
        )

    again = make("hit")
    return make(cache_status)
