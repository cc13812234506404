"""
The lines of indexes in a bucket, and the settings of each: the object `.index.toml`, as in a folder.

That it is there, and which it is, shows the listing that the pages of the index need anyway. It is read when
its ETag changes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred

from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.bucket_view import BucketView
from twisted_index.backends.object_store.held_listings import hold_of
from twisted_index.backends.object_store.learned import object_id
from twisted_index.backends.object_store.settled_writes import Occupied, SettledWrites
from twisted_index.concurrency.parallel import all_of, at_once
from twisted_index.errors import ConfigurationError, Conflict, SimpleIndexError, Unavailable
from twisted_index.indexes.index_file import LARGEST_FILE, NAME, IndexSettings, parse_index_settings
from twisted_index.indexes.index_line import IndexLines, IndexMember
from twisted_index.indexes.past_indexes import AS_OF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.backends.object_store.bucket import StoredObject
    from twisted_index.backends.object_store.held_listings import Hold
    from twisted_index.backends.object_store.learned import ObjectId
    from twisted_index.backends.object_store.object_root import ObjectRoot
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.indexes.bucket_catalog import BucketCatalog

#: Looks at an object that is replaced while it is read.
_ATTEMPTS = 3
#: Objects of settings that a survey reads at a time: half of the threads, as pages wait for these as well.
_READS = 8


class IndexObject:
    """
    The settings of one index; see `IndexFile`.

    Args:
        name: The name of the index.
        root: Its part of the bucket.
        worker: Threads that wait for it.

    Attributes:
        root: As given.
        problem: What is wrong with the object, in a sentence; empty if it can be used.
    """

    def __init__(self, name: str, root: ObjectRoot, worker: IThreadRunner) -> None:
        self.root = root
        self.problem = ""
        self._name = name
        self._worker = worker
        self._last: IndexSettings | None = None
        self._read: ObjectId | None = None
        self._is_frozen = False

    def settings(self) -> IndexSettings:
        """
        Return the settings as they were read last: the last good ones, if they are broken.

        Raises:
            Unavailable: They are unknown.
        """
        if self._is_frozen:
            raise Unavailable(
                f"The index {self._name} is frozen by {os.fsdecode(AS_OF)}, which only folders can be: remove"
                " that object, or serve a folder."
            )
        if self._last is None:
            problem = self.problem or "It has not been read yet."
            raise Unavailable(f"The settings of the index {self._name} cannot be used. {NAME}: {problem}")
        return self._last

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of its bases, as far as they are known."""
        return () if self._last is None else self._last.bases

    async def look(self) -> Hold:
        """
        Read the settings if they have changed.

        Returns:
            The time for which that holds.

        Raises:
            Unavailable: The bucket does not answer.
        """
        for _attempt in range(_ATTEMPTS):
            listing = await self.root.listings.root()
            self._is_frozen = os.fsdecode(AS_OF) in listing.unassigned
            stored = listing.unassigned.get(NAME)
            if stored is None:
                self._last, self._read, self.problem = IndexSettings(), None, ""
                return listing.hold
            if self._read == object_id(stored):
                return listing.hold
            try:
                content = await self._worker.run(self._content, stored)
            except ObjectChanged:
                self.root.listings.clear()
                continue
            self._parse(content, stored)
            return listing.hold
        raise Unavailable(f"The settings of the index {self._name} are being changed.", retry_after=2)

    def _content(self, stored: StoredObject) -> bytes | None:
        """Return the bytes of the object; None if these are too many. Called in a thread."""
        if stored.size > LARGEST_FILE:
            return None
        found = self.root.bucket.read(stored.key, limit=LARGEST_FILE, etag=stored.etag)
        if found is None:
            raise ObjectChanged(stored.key)
        return found.content

    def _parse(self, content: bytes | None, stored: StoredObject) -> None:
        self._read = object_id(stored)
        try:
            if content is None:
                raise ConfigurationError(f"It is larger than {LARGEST_FILE} bytes.")
            self._last, self.problem = parse_index_settings(content), ""
        except ConfigurationError as error:
            self.problem = error.message


class BucketLines(IndexLines):
    """
    The lines of the indexes in a bucket.

    Args:
        catalog: Which indexes there are.
        root_of: Returns what is known of the part of an index.
        worker: Threads that wait for the bucket.
    """

    def __init__(
        self, catalog: BucketCatalog, root_of: Callable[[bytes], ObjectRoot], worker: IThreadRunner
    ) -> None:
        super().__init__(catalog)
        self._catalog = catalog
        self._root_of = root_of
        self._worker = worker
        #: For how long what was looked at for an index holds.
        self._holds: dict[str, Callable[[], bool]] = {}

    def look(self, name: str) -> Deferred[None] | None:
        """See `IndexLines`."""
        if self.is_current(name):
            return None
        return Deferred.fromCoroutine(self._look(name))

    def is_current(self, name: str) -> bool:
        """See `IndexLines`."""
        hold = self._holds.get(name)
        return hold is not None and hold()

    async def _look(self, name: str) -> None:
        holds = [await self._catalog.hold()]
        names = self._catalog.names()
        seen, found = set[str](), {name}
        while new := found.intersection(names) - seen:
            seen |= new
            objects = [self._object(one) for one in sorted(new)]
            holds += await all_of(Deferred.fromCoroutine(one.look()) for one in objects)
            for one in objects:
                found.update(one.bases)
        for gone in self._holds.keys() - set(names):
            del self._holds[gone]
        if name in names:
            self._holds[name] = hold_of(holds)

    async def listed(self) -> Hold:
        """See `IndexLines`."""
        return await self._catalog.hold()

    async def make(self, worker: IThreadRunner, name: str, settings: bytes) -> bool:
        """See `IndexLines`; an index is there as soon as it has an object, that of its settings."""
        try:
            is_new = await worker.run(self._make, name, settings)
        finally:
            self._catalog.forget()
            self._holds.pop(name, None)
        # Else its first upload would come before it was looked at.
        await self._look(name)
        return is_new

    def _make(self, name: str, settings: bytes) -> bool:
        if name in self._catalog.read_now():
            return False
        view = BucketView(self._catalog.bucket, name)
        try:
            return SettledWrites(view).create(NAME, settings, metadata={}) is not None
        except Occupied:
            raise Conflict(f"The index {name} was just made, with other bases.") from None

    async def remove(self, worker: IThreadRunner, name: str) -> None:
        """
        Refuse: a bucket cannot remove an index in one step, and pages of a part of it would be wrong.

        Raises:
            Conflict: Always.
        """
        raise Conflict(
            f"An index in a bucket is removed at the store, such as by `rclone purge` of {name}/ below"
            f" {self._catalog.bucket.url}."
        )

    async def survey(
        self, worker: IThreadRunner, *, anew: bool = False
    ) -> Sequence[tuple[str, IndexMember | None]]:
        """See `IndexLines`; reads one object of each index, in the threads of the bucket."""
        if anew:
            self._catalog.forget()
        # Its names are those of the catalog, so that each is found in there.
        await self._catalog.hold()
        return await at_once(_READS, self._surveyed, self._catalog.names())

    async def _surveyed(self, name: str) -> tuple[str, IndexMember | None]:
        return name, await self._worker.run(self._read_member, name)

    def _read_member(self, name: str) -> IndexMember | None:
        """Read what an index says of itself; None if that cannot be used. Called in a thread."""
        try:
            found = BucketView(self._catalog.bucket, name).read(NAME, limit=LARGEST_FILE)
            settings = IndexSettings() if found is None else parse_index_settings(found.content)
        except (ObjectChanged, SimpleIndexError):
            return None
        return IndexMember(name, self._catalog.folder + b"/" + name.encode(), settings)

    def _object(self, name: str) -> IndexObject:
        return cast("IndexObject", self._file(name, self._catalog.path(name)))

    def _make_file(self, name: str, path: bytes) -> IndexObject:
        return IndexObject(name, self._root_of(path), self._worker)
