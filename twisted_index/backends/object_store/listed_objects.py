"""Files that a page lists, and the documents inside and beside them: found in its buckets, and opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.content import (
    document_body,
    metadata_body,
    mismatch_error,
    open_object,
    read_metadata,
)
from twisted_index.backends.object_store.learned import object_id
from twisted_index.backends.object_store.object_inspection import read_object
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.bucket_project import BucketProject
    from twisted_index.backends.object_store.object_root import ObjectRoot
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.interfaces import FileBody


class ListedObjects:
    """
    Opens what pages list.

    Args:
        roots: The buckets of the pages, in order.
        worker: Threads that wait for the bytes.
        forget_page: Called with a project whose page lists an object with other bytes.
        redirect: Whether clients are sent to the store for large files.
    """

    def __init__(
        self,
        roots: Sequence[ObjectRoot],
        worker: IThreadRunner,
        forget_page: Callable[[str], object],
        *,
        redirect: bool,
    ) -> None:
        self._roots = roots
        self._worker = worker
        self._forget_page = forget_page
        self._redirect = redirect

    async def open(
        self, state: BucketProject, listed: ListedFile, sidecar: Sidecar | None = None
    ) -> FileBody | None:
        """
        Open a listed file, or a document inside or beside it; None without that document.

        Raises:
            ObjectChanged: It is another object by now, or gone.
            Unavailable: The bucket does not answer, or has other bytes than the page promises.
        """
        entry, is_current = listed.entry, state.snapshot.is_current
        project, filename = entry.distribution.project, entry.distribution.filename
        root, stored = state.find(self._roots, entry.path)
        if sidecar is None:
            return open_object(
                root.bucket,
                self._worker,
                stored,
                listed,
                is_current,
                on_change=partial(root.listings.forget, project),
                on_mismatch=partial(self._distrust, root, project, stored),
                redirect=self._redirect,
            )
        if sidecar is Sidecar.METADATA:
            if listed.facts.metadata_sha256 is None:
                return None
            document = await self._read_document(root, stored, read_metadata)
            body = metadata_body(document, listed, is_current)
            if body is None:
                self._distrust(root, project, stored)
                raise mismatch_error()
            return body
        path = state.scan.documents.get(filename, {}).get(sidecar)
        if path is None:
            return None
        root, stored = state.find(self._roots, path)
        if stored.size > MAX_DOCUMENT:
            return None
        return document_body(await self._read_document(root, stored, read_object), stored, is_current)

    async def _read_document(
        self, root: ObjectRoot, stored: StoredObject, read: Callable[[Bucket, StoredObject], bytes]
    ) -> bytes:
        """Read what is inside or beside a file, once for each state of it while memory lasts."""
        document = root.documents.get(object_id(stored))
        if document is None:
            document = await self._worker.run(read, root.bucket, stored)
            root.documents.put(object_id(stored), document)
        return document

    def _distrust(self, root: ObjectRoot, project: str, stored: StoredObject) -> None:
        """Forget what was learned of an object whose bytes have another digest, and the page that has it."""
        root.distrust(project, stored)
        root.listings.forget(project)
        self._forget_page(project)
