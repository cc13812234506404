"""A store in memory, which publishes into a source in memory."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import BadRequest, Conflict, Forbidden, NotFound
from twisted_index.events.audit_log import AuditLog
from twisted_index.events.origin import stamp_origin
from twisted_index.interfaces import AuditEvent, IAuditLog, ISpool, IStore
from twisted_index.simple.archives.limits import MAX_UNPACKED
from twisted_index.simple.core_metadata import (
    ZipArchive,
    check_encoding,
    check_identity,
    check_wheel_members,
    parse_headers,
    read_sdist_metadata,
    read_wheel_metadata,
)
from twisted_index.simple.model import Status
from twisted_index.simple.names import DistributionType, InvalidFilename, parse_filename, version_sort_key
from twisted_index.testing.distributions import BuiltFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from twisted_index.interfaces import Upload
    from twisted_index.simple.model import File, ProjectStatus
    from twisted_index.simple.names import Distribution
    from twisted_index.testing.memory_source import MemorySource

_CLOSED = (Status.ARCHIVED, Status.QUARANTINED)


@implementer(ISpool)
class MemorySpool:
    """
    A spool in memory, without a limit.

    Attributes:
        data: The bytes written so far.
    """

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return len(self.data)

    def expect_digests(self, names: Collection[str]) -> None:
        """Do nothing: `digests` computes them from all bytes."""

    def digests(self, names: Collection[str] = ()) -> dict[str, str]:
        """Return every digest that an upload form can contain."""
        return {
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "blake2b_256": hashlib.blake2b(self.data, digest_size=32).hexdigest(),
            "md5": hashlib.md5(self.data, usedforsecurity=False).hexdigest(),
        }

    def write(self, data: bytes) -> Deferred[None]:
        """Append."""
        self.data += data
        return succeed(None)

    def close(self) -> None:
        """Do nothing."""


@implementer(IStore)
class MemoryStore:
    """
    Publishes into a `MemorySource`, by the rules of a server.

        source = MemorySource()
        store = MemoryStore(source)
        index = IndexInMemory(source, store=store, access=AnonymousAccess(anonymous_upload=True))

    The store also finds files that were added to the source directly.

    Args:
        source: Receives the files.
        audit_log: Records each change; a new one in memory by default.
        now: Returns the time, aware, in UTC.

    Attributes:
        audit_log: Records each change.
    """

    def __init__(
        self,
        source: MemorySource,
        *,
        audit_log: IAuditLog | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.audit_log: IAuditLog = AuditLog(None, SynchronousRunner()) if audit_log is None else audit_log
        self._source = source
        self._now = now
        self._deleted: dict[str, dict[Hashable, str]] = {}

    def spool(self) -> MemorySpool:
        """See `IStore`."""
        return MemorySpool()

    async def publish(self, upload: Upload) -> bool:
        """See `IStore`."""
        spool = upload.spool
        if not isinstance(spool, MemorySpool):
            raise TypeError("Only uploads from a spool of this store can be published.")
        if upload.index:
            raise NotFound(f"There is no index {upload.index} here.")
        try:
            distribution = parse_filename(upload.filename)
        except InvalidFilename as error:
            raise BadRequest(f"{error.reason} {error.advice}") from error
        content = bytes(spool.data)
        sha256 = hashlib.sha256(content).hexdigest()
        if self._is_there(distribution, sha256, may_create=upload.may_create):
            return False
        self._deleted.get(distribution.project, {}).pop(distribution.identity, None)
        built = BuiltFile(
            project=distribution.project,
            version=distribution.version,
            filename=distribution.filename,
            content=content,
            metadata=_metadata(content, distribution),
        )
        self._source.add(built, upload_time=self._now(), signature=upload.signature)
        await self._note("upload", built.project, [built.filename], f"sha256={sha256}", upload.by)
        return True

    def _is_there(self, distribution: Distribution, sha256: str, *, may_create: bool) -> bool:
        project = distribution.project
        status = self._source.status_of(project).status
        if status in _CLOSED:
            raise Forbidden(f"The project {project} is {status.value} and accepts no new files.")
        if not may_create and not self._exists(project):
            raise Forbidden(f"There is no project {project}, and you may not create projects.")
        if self._deleted.get(project, {}).get(distribution.identity, sha256) != sha256:
            raise Conflict(
                f"File already exists: {distribution.filename} was deleted, and its name stays taken."
            )
        existing = _same(self._source.files_of(project), distribution)
        if existing and existing[0].hashes["sha256"] != sha256:
            raise Conflict(f"File already exists: {distribution.filename} exists with different content.")
        return bool(existing)

    def _exists(self, project: str) -> bool:
        return project in self._deleted or self._source.has(project)

    async def delete(self, project: str, filename: str, *, by: str) -> None:
        """See `IStore`."""
        (file,) = self._find(project, None, filename)
        identity = parse_filename(file.filename, project).identity
        self._deleted.setdefault(project, {})[identity] = file.hashes["sha256"]
        self._source.discard(project, file.filename)
        await self._note("delete", project, [file.filename], "", by)

    async def yank(
        self,
        project: str,
        *,
        version: str | None = None,
        filename: str | None = None,
        reason: str = "",
        by: str,
    ) -> tuple[str, ...]:
        """See `IStore`."""
        names = tuple(file.filename for file in self._find(project, version, filename))
        for name in names:
            self._source.yank(project, name, reason)
        await self._note("yank", project, names, reason, by)
        return names

    async def unyank(
        self, project: str, *, version: str | None = None, filename: str | None = None, by: str
    ) -> tuple[str, ...]:
        """See `IStore`."""
        files_found = self._find(project, version, filename)
        names = tuple(file.filename for file in files_found if file.yanked is not None)
        for name in names:
            self._source.yank(project, name, None)
        await self._note("unyank", project, names, "", by)
        return names

    async def set_status(self, project: str, status: ProjectStatus, *, by: str) -> None:
        """See `IStore`."""
        if not self._exists(project):
            raise NotFound(f"There is no project {project}.")
        self._source.set_status(project, status.status, status.reason)
        detail = f"{status.status.value}: {status.reason}" if status.reason else status.status.value
        await self._note("status", project, [""], detail, by)

    def _find(self, project: str, version: str | None, filename: str | None) -> list[File]:
        """Find the files of a version or file name, or raise NotFound."""
        files = self._source.files_of(project)
        if filename is not None:
            try:
                files_found = _same(files, parse_filename(filename, project))
            except InvalidFilename:
                files_found = []
        elif version is not None:
            files_found = [
                file for file in files if version_sort_key(file.version) == version_sort_key(version)
            ]
        else:
            raise BadRequest("Give a file or a version.")
        if not files_found:
            raise NotFound(f"There is no {filename or version!a} here.")
        return files_found

    async def _note(self, action: str, project: str, names: Iterable[str], detail: str, by: str) -> None:
        for name in names:
            event = AuditEvent(
                time=self._now(), by=by, action=action, project=project, filename=name, detail=detail
            )
            await maybeDeferred(self.audit_log.record, stamp_origin(event))


def _same(files: Iterable[File], distribution: Distribution) -> list[File]:
    """Return the files that installers treat as the same as a distribution."""
    return [
        file
        for file in files
        if parse_filename(file.filename, distribution.project).identity == distribution.identity
    ]


def _metadata(content: bytes, distribution: Distribution) -> bytes:
    """Read an archive to its end; BadRequest if it is invalid or contradicts its name."""
    with io.BytesIO(content) as file:
        if distribution.kind is DistributionType.WHEEL:
            metadata = read_wheel_metadata(ZipArchive(file))
            check_encoding(metadata)
            check_wheel_members(ZipArchive(file), MAX_UNPACKED)
        else:
            metadata = read_sdist_metadata(file, distribution.extension, MAX_UNPACKED)
    check_identity(parse_headers(metadata), project=distribution.project, version=distribution.version)
    return metadata
