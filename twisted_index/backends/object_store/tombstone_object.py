"""Adds lines to `.deleted` and removes lines of `.deleted` and `.copies`, under conditions. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.settled_writes import Occupied
from twisted_index.errors import Unavailable
from twisted_index.simple.manifest import InvalidLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.backends.object_store.settled_writes import SettledWrites

#: Other nodes may write as often meanwhile.
_TRIES = 20


def add_manifest_line(bucket: Bucket, writes: SettledWrites, key: str, line: bytes) -> None:
    """
    Add a line, unless it is there already.

    Raises:
        Unavailable: It may not be there.
    """
    added = line.rstrip(b"\n") + b"\n"

    def change(content: bytes) -> bytes:
        if added in content:
            return content
        return content + (b"\n" if content and not content.endswith(b"\n") else b"") + added

    _change(bucket, writes, key, change)


def remove_manifest_lines(bucket: Bucket, writes: SettledWrites, key: str, names: Container[str]) -> None:
    """
    Remove the lines with these names.

    Raises:
        Unavailable: They may still be there.
    """
    _change(
        bucket,
        writes,
        key,
        lambda content: b"".join(
            line for line in content.splitlines(keepends=True) if _name_of(line) not in names
        ),
    )


def _change(bucket: Bucket, writes: SettledWrites, key: str, change: Callable[[bytes], bytes]) -> None:
    for _try in range(_TRIES):
        try:
            found = bucket.read(key, limit=MAX_TOMBSTONES)
        except ObjectChanged:
            raise Unavailable(f"{key} is too large to be changed.") from None
        before = b"" if found is None else found.content
        after = change(before)
        if after == before:
            return
        try:
            if found is None:
                writes.create(key, after, metadata={})
            else:
                writes.replace(key, after, etag=found.object.etag, metadata=found.metadata)
        except (Occupied, ObjectChanged):
            continue
        return
    raise Unavailable("Other changes of this project are in progress. Retry in a moment.")


def _name_of(line: bytes) -> str:
    try:
        return parse_line(line).name
    except InvalidLine:
        return ""
