"""What becomes of a record when a new page comes: pins, ages, and files that must not change. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.page_record import MAX_REMEMBERED, PageRecord, RememberedFile

if TYPE_CHECKING:
    from twisted_index.backends.upstream.page_record import FileDigest
    from twisted_index.backends.upstream.remote import RemoteFile, RemotePage


def merge_page(
    before: PageRecord | None,
    page: RemotePage,
    now: float,
    *,
    rebuilds: bool = False,
    immutable: bool = False,
) -> PageRecord:
    """
    Make the record of a new page, with what still holds of the previous record.

    A file with another digest is a new file, first seen now; where files are immutable, it is refused, and
    the previous entry stays. A file that returns to the page keeps its age and digest.

    Args:
        before: The previous record; None if there is none.
        page: The new page.
        now: Seconds since the epoch.
        rebuilds: Whether the upstream may replace a file for which it promises no digest, or an immutable
            one.
        immutable: Whether files are immutable, so that one with another digest was replaced by mistake or
            by an attacker. A URL then names one content.
    """
    remembered = {} if before is None else _remembered(before, with_entries=immutable)
    hashed = {} if before is None else dict(before.hashed)
    if rebuilds:
        _forget_pins(remembered, page)
    files: list[RemoteFile] = []
    known: dict[str, RememberedFile] = {}
    refused: set[str] = set()
    for entry in page.files:
        filename, listed = entry.file.filename, entry
        old = remembered.pop(filename, None)
        if old is not None and old.entry is not None:
            if not rebuilds and _is_replaced(old, entry):
                listed = old.entry
                refused.add(filename)
            old = replace(old, entry=None)
        files.append(listed)
        known[filename] = _with_hashed(listed, _known(listed, old, now), hashed)
    return PageRecord(
        page=replace(page, files=tuple(files)) if refused else page,
        fetched_at=now,
        known=known,
        removed=_bounded(remembered),
        hashed=hashed,
        refused=frozenset(refused),
    )


def _remembered(record: PageRecord, *, with_entries: bool) -> dict[str, RememberedFile]:
    """Return what is recorded of all files, listed or removed, with their digests."""
    remembered = dict(record.removed)
    for entry in record.page.files:
        filename, sha256 = entry.file.filename, entry.file.hashes.get("sha256")
        known = record.known[filename]
        known = known if sha256 in (None, known.sha256) else replace(known, sha256=sha256)
        remembered[filename] = replace(known, entry=entry) if with_entries else known
    return remembered


def _forget_pins(remembered: dict[str, RememberedFile], page: RemotePage) -> None:
    """Forget the digests of files that an upstream may have rebuilt since they were pinned."""
    entries = {entry.file.filename: entry for entry in page.files}
    for filename, old in remembered.items():
        if not _is_pin_valid(old, entries.get(filename)):
            remembered[filename] = RememberedFile(first_seen=old.first_seen, entry=old.entry)


def _is_pin_valid(old: RememberedFile, entry: RemoteFile | None) -> bool:
    if entry is not None and "sha256" in entry.file.hashes:
        return True
    return old.entry is not None and (entry is None or _identity(entry) == _identity(old.entry))


def _identity(entry: RemoteFile) -> tuple[str, int | None]:
    return entry.url, entry.file.size


def _is_replaced(old: RememberedFile, entry: RemoteFile) -> bool:
    """Return whether an entry promises other content than was listed; without a digest, the size tells."""
    assert old.entry is not None
    if old.sha256 is None:
        return False
    if (sha256 := entry.file.hashes.get("sha256")) is not None:
        return sha256 != old.sha256
    before = old.size if old.entry.file.size is None else old.entry.file.size
    return None not in (before, entry.file.size) and before != entry.file.size


def _known(remote_file: RemoteFile, old: RememberedFile | None, now: float) -> RememberedFile:
    sha256 = remote_file.file.hashes.get("sha256")
    if old is None:
        return RememberedFile(first_seen=now)
    if sha256 is None:
        # A promised digest still holds when the upstream promises none any more.
        return old
    return replace(old, sha256=None) if old.sha256 in (None, sha256) else RememberedFile(first_seen=now)


def _with_hashed(entry: RemoteFile, known: RememberedFile, hashed: dict[str, FileDigest]) -> RememberedFile:
    """Pin what was fetched for this, where no digest is promised or pinned."""
    if known.sha256 is not None or "sha256" in entry.file.hashes or entry.url not in hashed:
        return known
    sha256, size = hashed.pop(entry.url)
    return replace(known, sha256=sha256, size=size)


def _bounded(removed: dict[str, RememberedFile]) -> dict[str, RememberedFile]:
    """Forget the first removed files; those downloaded here last, because users have their bytes."""
    if len(removed) <= MAX_REMEMBERED:
        return removed
    by_worth = sorted(removed, key=lambda filename: removed[filename].size is not None)
    forgotten = set(by_worth[: len(removed) - MAX_REMEMBERED])
    return {filename: known for filename, known in removed.items() if filename not in forgotten}
