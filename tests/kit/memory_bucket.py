"""
A bucket in memory, which counts operations and does what bad stores do.

It is for rules; what real stores do, tests with real stores show.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import BinaryIO, Literal, TypeVar

from twisted_index.backends.object_store.bucket import (
    Listing,
    ObjectChanged,
    ObjectContent,
    ObjectExists,
    StoredObject,
)
from twisted_index.errors import Unavailable

_Result = TypeVar("_Result")

_PIECE = 1 << 20
_SECOND_NS = 10**9

#: What a write does that seems to have failed: nothing; all; all, at `MemoryBucket.land`.
Effect = Literal["none", "done", "later"]

#: The kinds that operations are counted by. A list counts once for each request that it takes.
_KINDS = {
    "list_all": "list",
    "list_after": "list",
    "list_level": "list",
    "read": "read",
    "read_metadata": "read",
    "read_range": "read",
    "stream": "read",
    "create": "write",
    "put": "write",
    "replace": "write",
    "put_file": "write",
    "delete": "delete",
    "copy": "copy",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """A call, as the hook and `MemoryBucket.calls` show it; `piece` is one of a stream."""

    method: str
    key: str


@dataclass(slots=True)
class _Fault:
    """Calls that fail: of a kind or method, of keys that fit a pattern, after some that do not."""

    what: str
    keys: str
    times: int
    skip: int
    effect: Effect
    error: Exception

    def strikes(self, method: str, key: str) -> bool:
        """Decide whether this call fails, and count it."""
        if self.what not in ("", method, _KINDS.get(method)) or not fnmatchcase(key, self.keys):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0


class MemoryBucket:
    """
    A `Bucket` in memory, for any number of threads.

    Args:
        url: What it says of itself.
        page_size: Keys that one request of a list returns.

    Attributes:
        operations: Requests by kind: list, read, write, delete, copy.
        calls: All calls in order.
        before: Called before each call and each piece of a stream, outside the lock, so that it may do what
            other nodes do; not for the calls that it makes itself.
        now_ns: The time of the next writes.
        keeps_conditions: False: a create replaces, and a replace asks for no ETag.
        unusable: Keys that lists report as unusable.
        piece_size: Bytes of a piece of a stream.
        can_seek: What it says of `list_after`.
    """

    def __init__(self, url: str = "s3://bucket/packages", *, page_size: int = 1000) -> None:
        self.url = url
        self.operations: Counter[str] = Counter()
        self.calls: list[Operation] = []
        self.before: Callable[[Operation], None] | None = None
        self.now_ns = 1_700_000_000 * _SECOND_NS
        self.keeps_conditions = True
        self.unusable: list[str] = []
        self.piece_size = _PIECE
        self.can_seek = True
        self._page_size = page_size
        self._objects: dict[str, ObjectContent] = {}
        self._faults: list[_Fault] = []
        self._pending: list[Callable[[], object]] = []
        self._writes = 0
        self._lock = threading.RLock()
        self._in_hook = threading.local()

    # What tests do by hand: not counted, never failing.

    def fail(
        self,
        what: str = "",
        keys: str = "*",
        *,
        times: int = 1,
        skip: int = 0,
        effect: Effect = "none",
        error: Exception | None = None,
    ) -> None:
        """
        Let calls fail.

        Args:
            what: A kind of operation, a method, or `piece`; empty for all but pieces and URLs.
            keys: A pattern for the key; that of a list is its prefix.
            times: How many calls; `sys.maxsize` until `mend`.
            skip: How many calls, list requests or pieces succeed before.
            effect: What a write does all the same.
            error: Instead of `Unavailable`.
        """
        error = error or Unavailable("The object store does not answer.")
        with self._lock:
            self._faults.append(_Fault(what, keys, times, skip, effect, error))

    def mend(self) -> None:
        """End all failures."""
        with self._lock:
            self._faults.clear()

    def land(self) -> None:
        """Do the writes that seemed to have failed and came later, conditions and all."""
        with self._lock:
            pending, self._pending = self._pending, []
            for write in pending:
                with suppress(ObjectExists, ObjectChanged):
                    write()

    def place(
        self, key: str, content: bytes = b"", metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Write an object as another program does."""
        with self._lock:
            return self._write(key, content, metadata or {})

    def remove(self, key: str) -> None:
        """Remove an object as another program does."""
        with self._lock:
            del self._objects[key]

    def content(self, key: str) -> bytes:
        """Give the bytes of an object. KeyError if there is none."""
        return self._objects[key].content

    def metadata(self, key: str) -> Mapping[str, str]:
        """Give what was written with an object. KeyError if there is none."""
        return self._objects[key].metadata

    def keys(self) -> list[str]:
        """Give all keys, sorted."""
        with self._lock:
            return sorted(self._objects)

    def forget_operations(self) -> None:
        """Count anew."""
        with self._lock:
            self.operations.clear()
            self.calls.clear()

    # The protocol.

    def list_all(self, prefix: str = "", *, limit: int | None = None) -> Listing:
        self._begin("list_all", prefix)
        with self._lock:
            below = [key for key in sorted(self._objects) if _is_below(key, prefix)]
            end = len(below)
            if limit is not None:
                end = min(end, -(-max(limit, 1) // self._page_size) * self._page_size)
            return Listing(
                objects={key: self._objects[key].object for key in below[:end]},
                is_complete=end == len(below),
                requests=self._more_requests("list_all", prefix, end),
                unusable=tuple(key for key in self.unusable if _is_below(key, prefix)),
            )

    def list_after(self, key: str) -> Listing:
        self._begin("list_after", key)
        with self._lock:
            following = sorted(each for each in self._objects if each > key)
            objects = {each: self._objects[each].object for each in following[: self._page_size]}
            return Listing(objects=objects, is_complete=len(objects) == len(following))

    def list_level(self, prefix: str = "") -> Listing:
        self._begin("list_level", prefix)
        start = len(prefix) + 1 if prefix else 0
        with self._lock:
            below = [key for key in sorted(self._objects) if _is_below(key, prefix)]
            folders = frozenset(key[start:].split("/")[0] for key in below if "/" in key[start:])
            objects = {key: self._objects[key].object for key in below if "/" not in key[start:]}
            return Listing(
                objects=objects,
                folders=folders,
                requests=self._more_requests("list_level", prefix, len(folders) + len(objects)),
                unusable=tuple(key for key in self.unusable if _is_below(key, prefix)),
            )

    def read(self, key: str, *, limit: int, etag: str = "") -> ObjectContent | None:
        self._begin("read", key)
        with self._lock:
            if key not in self._objects:
                return None
            found = self._found(key, etag)
            if found.object.size > limit:
                raise ObjectChanged(key)
            return found

    def read_metadata(self, key: str, *, etag: str) -> Mapping[str, str]:
        self._begin("read_metadata", key)
        with self._lock:
            return self._found(key, etag).metadata

    def read_range(self, key: str, start: int, stop: int, *, etag: str) -> bytes:
        self._begin("read_range", key)
        with self._lock:
            return self._found(key, etag).content[start:stop]

    def stream(self, key: str, start: int, stop: int, *, etag: str) -> Iterator[bytes]:
        self._begin("stream", key)
        while start < stop:
            self._begin("piece", key)
            with self._lock:
                piece = self._found(key, etag).content[start : min(stop, start + self.piece_size)]
            yield piece
            start += len(piece)

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        def write() -> StoredObject:
            if self.keeps_conditions and key in self._objects:
                raise ObjectExists(key)
            return self._write(key, content, metadata)

        return self._change("create", key, write)

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        return self._change("put", key, lambda: self._write(key, content, metadata))

    def replace(self, key: str, content: bytes, *, etag: str, metadata: Mapping[str, str]) -> StoredObject:
        def write() -> StoredObject:
            if self.keeps_conditions:
                self._found(key, etag)
            return self._write(key, content, metadata)

        return self._change("replace", key, write)

    def put_file(self, key: str, file: BinaryIO, size: int, *, metadata: Mapping[str, str]) -> None:
        content = file.read(size)
        assert len(content) == size
        self._change("put_file", key, lambda: self._write(key, content, metadata))

    def delete(self, key: str) -> None:
        self._change("delete", key, lambda: self._objects.pop(key, None))

    def copy(self, key: str, target: str) -> None:
        def write() -> None:
            source = self._found(key, "")
            self._write(target, source.content, source.metadata)

        self._change("copy", key, write)

    def presigned_url(self, key: str, *, seconds: int) -> str:
        return f"https://store.invalid/{key}?X-Amz-Expires={seconds}&X-Amz-Signature=5ec2e7"

    # Its parts.

    def _begin(self, method: str, key: str) -> None:
        """Count a call, let the hook come before it, and fail if it is to fail without an effect."""
        fault = self._count(method, key)
        if fault is not None:
            raise fault.error

    def _count(self, method: str, key: str) -> _Fault | None:
        """Count a call, let the hook come before it, and find its failure."""
        operation = Operation(method, key)
        if method != "piece":
            with self._lock:
                self.calls.append(operation)
                self.operations[_KINDS[method]] += 1
        if self.before is not None and not getattr(self._in_hook, "is_set", False):
            self._in_hook.is_set = True
            try:
                self.before(operation)
            finally:
                self._in_hook.is_set = False
        return self._fault(method, key)

    def _fault(self, method: str, key: str) -> _Fault | None:
        """Find the failure of a call."""
        with self._lock:
            return next(
                (
                    each
                    for each in self._faults
                    if (method != "piece" or each.what == "piece") and each.strikes(method, key)
                ),
                None,
            )

    def _more_requests(self, method: str, prefix: str, keys: int) -> int:
        """Count the requests of a list after its first, each of which may fail; give the number of all."""
        requests = max(1, -(-keys // self._page_size))
        for _ in range(requests - 1):
            self.operations["list"] += 1
            fault = self._fault(method, prefix)
            if fault is not None:
                raise fault.error
        return requests

    def _change(self, method: str, key: str, write: Callable[[], _Result]) -> _Result:
        """Write, or fail with the effect that was asked for."""
        fault = self._count(method, key)
        with self._lock:
            if fault is None:
                return write()
            if fault.effect == "later":
                self._pending.append(write)
            elif fault.effect == "done":
                with suppress(ObjectExists, ObjectChanged):
                    write()
            raise fault.error

    def _write(self, key: str, content: bytes, metadata: Mapping[str, str]) -> StoredObject:
        """Write an object. The ETag is another one each time, as no store promises that it is a digest."""
        self._writes += 1
        written = StoredObject(
            key=key, size=len(content), etag=f"{self._writes:032x}", modified_ns=self.now_ns
        )
        self._objects[key] = ObjectContent(object=written, content=bytes(content), metadata=dict(metadata))
        return written

    def _found(self, key: str, etag: str) -> ObjectContent:
        """Give an object that has to be there; an ETag that is empty fits all."""
        found = self._objects.get(key)
        if found is None or etag not in ("", found.object.etag):
            raise ObjectChanged(key)
        return found


def _is_below(key: str, prefix: str) -> bool:
    """Decide whether a key lies below a prefix of whole parts."""
    return not prefix or key.startswith(f"{prefix}/")
