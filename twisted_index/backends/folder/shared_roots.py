"""Roots that several sources of a server have: each is read once for all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from twisted.logger import Logger

from twisted_index.backends.folder.emptied_root import DoubtedRoot
from twisted_index.backends.folder.root_scan import read_root
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.files.filesystems import has_coarse_folders, is_remote
from twisted_index.files.os_errors import RESOURCE_ERRNOS, out_of_resources_error
from twisted_index.files.stamps import StatValidator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred

    from twisted_index.backends.folder.emptied_root import RootWatch
    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()


class SharedRoot:
    """
    A root.

    Attributes:
        path: Absolute.
        validator: Takes its stamps.
        is_remote: Whether it is on another machine.
        reading: The last reading; None before the first.
        error: Why it cannot be read now; None if it can, as far as is known.
        watch: Tells whether it has lost all that it had; None if nothing does.
    """

    __slots__ = ("__weakref__", "error", "is_remote", "path", "reading", "validator", "watch")

    def __init__(self, path: bytes, validator: StatValidator, *, is_remote: bool) -> None:
        self.path = path
        self.validator = validator
        self.is_remote = is_remote
        self.reading: RootScan | None = None
        self.error: OSError | None = None
        self.watch: RootWatch | None = None

    def is_current(self) -> bool:
        """Return whether it is readable and unchanged: one `stat`, if nothing in it is staged."""
        return self.error is None and self.reading is not None and self.reading.is_current(self.validator)

    def is_listed(self) -> bool:
        """Return whether its own entries are unchanged, whatever is staged."""
        reading = self.reading
        return (
            self.error is None and reading is not None and self.validator.is_current(self.path, reading.stamp)
        )


class SharedRoots:
    """
    All roots of a server that a source has.

    Args:
        reader: Threads that read them.
        validator: Replaces the clock and `stat` in tests.

    Attributes:
        trusting: The validator for roots, unless their times are coarse.
        changes: Incremented after each reading of a root, and whenever one becomes unreadable.
    """

    def __init__(self, reader: IThreadRunner, validator: StatValidator | None = None) -> None:
        self._reader = reader
        self.trusting = validator or StatValidator()
        self._doubting = validator or StatValidator(trusts_times=False)
        self._roots: WeakValueDictionary[bytes, SharedRoot] = WeakValueDictionary()
        self._flight = FreshSingleFlight(self._read)
        self.changes = 0

    def root(self, path: bytes) -> SharedRoot:
        """Return the root at an absolute path."""
        root = self._roots.get(path)
        if root is None:
            validator = self._doubting if has_coarse_folders(path) else self.trusting
            root = self._roots[path] = SharedRoot(path, validator, is_remote=is_remote(path))
        return root

    def validator(self, roots: Iterable[SharedRoot]) -> StatValidator:
        """Return the validator for folders in some roots; it trusts no times if one has coarse ones."""
        are_coarse = any(root.validator is self._doubting for root in roots)
        return self._doubting if are_coarse else self.trusting

    def read(self, root: SharedRoot) -> Deferred[None]:
        """
        Read a root unless it is current; the reading begins no earlier than the call.

        Fails with `OutOfResources` if the server lacks memory or descriptors.
        """
        return self._flight.run(root)

    async def _read(self, root: SharedRoot) -> None:
        if root.is_current():
            # Read since this reading was requested, and unchanged now.
            return
        try:
            reading = await self._reader.run(_read_watched, root, root.is_listed())
        except OSError as error:
            self._fail(root, error)
            return
        root.reading, root.error = reading, None
        self.changes += 1

    def _fail(self, root: SharedRoot, error: OSError) -> None:
        if error.errno in RESOURCE_ERRNOS:
            raise out_of_resources_error() from None
        known = root.error
        if known is None or (known.filename, known.strerror) != (error.filename, error.strerror):
            # Kept, so without its traceback.
            root.error = error.with_traceback(None)
            self.changes += 1
            if not isinstance(error, DoubtedRoot):
                _log.error(
                    "The folder {path} cannot be read: {error}",
                    path=os.fsdecode(root.path),
                    error=error.strerror,
                )


def _read_watched(root: SharedRoot, is_unchanged: bool) -> RootScan:
    reading = read_root(root.path, root.validator, root.reading, is_unchanged=is_unchanged)
    if root.watch is not None:
        root.watch.check(reading)
    return reading
