"""
The drafts of an index: folders in `.drafts/` that only their tokens name. Blocking.

`.drafts/DIGEST/` is laid out like any folder of packages, and its `.draft` has the name and the end. The
token itself is kept nowhere. What has ended is gone at the next look; its folder goes with the next change
of drafts, unless its publication was cut off.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.backends.folder.promotion_plan import IndexFolders
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.errors import Conflict, NotFound, SimpleIndexError
from twisted_index.files.anonymous_file import make_folder, sync_folder, write_atomically
from twisted_index.files.locks import project_lock
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.files.safe_open import open_regular_file
from twisted_index.interfaces import NO_DRAFT, Draft
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from twisted_index.backends.layout.promotion_record import PromotionRecord

DRAFTS = b".drafts"
_RECORD = b".draft"
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Bytes of a record, which has some 200.
_MAX_RECORD = 1 << 14
#: Of folders that are about to go.
_GONE = b".gone-"
#: Before the digest, in what a publication writes down. No index has such a name.
_SOURCE = ".drafts/"


class DraftFolder:
    """
    The drafts of an index.

    Args:
        root: The folder of the index, absolute.
        now: Returns the current time, aware.
    """

    def __init__(self, root: bytes, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._folder = os.path.join(root, DRAFTS)
        self._now = now

    def create(self, draft: Draft) -> None:
        """
        Make a draft; those that have ended are removed.

        Raises:
            LockHeld: Another change of the index is running.
            Conflict: There is a draft of this name.
            InsufficientStorage, Unavailable: It cannot be made.
        """
        path = self.path_of(draft.digest)
        with translate_os_errors(), project_lock(self._root):
            self._remove_ended()
            if any(other.name == draft.name for other in self._current()):
                raise Conflict(f"There is a draft {draft.name} already; cancel it, or use another name.")
            make_folder(self._root, self._folder)
            make_folder(self._root, path)
            # Without its record a folder is no draft.
            write_atomically(self._root, os.path.join(path, _RECORD), _record_of(draft))
            sync_folder(self._folder)

    def find(self, digest: str) -> Draft:
        """
        Find a draft by the digest of its token.

        Raises:
            NotFound: There is none, or it has ended.
        """
        draft = self._read(digest) if _DIGEST.fullmatch(digest) else None
        if draft is None or draft.expires <= self._now():
            raise NotFound(NO_DRAFT)
        return draft

    def drafts(self) -> list[Draft]:
        """
        Return the drafts that have not ended, by name.

        Raises:
            Unavailable: They cannot be read.
        """
        with translate_os_errors():
            return sorted(self._current(), key=lambda draft: draft.name)

    def named(self, name: str) -> Draft:
        """
        Find a draft by its name.

        Raises:
            NotFound: There is none, or it has ended.
            Unavailable: They cannot be read.
        """
        for draft in self.drafts():
            if draft.name == name:
                return draft
        raise NotFound(f"There is no draft {name}.")

    def name_of(self, digest: str) -> str:
        """Return the name of a draft, though it has ended; empty if there is none."""
        draft = self._read(digest)
        return "" if draft is None else draft.name

    def remove(self, draft: Draft, *, taken: Collection[str] | None = None) -> list[str]:
        """
        Remove a draft with all that is in it, as others see it in one step; see `IDrafts.remove_draft`.

        Raises:
            LockHeld: Another change of the index or of the draft is running.
            Conflict: Its publication was cut off.
            Unavailable: It cannot be removed.
        """
        path = self.path_of(draft.digest)
        with translate_os_errors(), project_lock(self._root):
            if self.publication(draft) is not None:
                raise Conflict(
                    "Its publication was cut off, or is running; complete it by"
                    f" `twisted-index draft publish {draft.name}`."
                )
            # Uploads hold the lock of the draft.
            with project_lock(path) if os.path.isdir(path) else contextlib.nullcontext():
                left = [] if taken is None else sorted(_others(path, taken))
                if not left:
                    self._move_away(path)
            self._remove_ended()
        return left

    # -- Publications

    def publication(self, draft: Draft) -> PromotionRecord | None:
        """
        Return what the publication of a draft has written down, if it was cut off, or is running.

        Raises:
            Unavailable: That cannot be read.
        """
        with translate_os_errors():
            return self._publications().get(_source_of(draft.digest))

    def folders(self, draft: Draft) -> IndexFolders:
        """Return the folders of a draft, as the source of a promotion."""
        return draft_folders(draft, (self.path_of(draft.digest),))

    def _publications(self) -> dict[str, PromotionRecord]:
        promotions, found = Promotions(self._root), {}
        for promotion in promotions.ids():
            # What is wrong with another one is no matter here.
            with contextlib.suppress(SimpleIndexError):
                record = promotions.record(promotion)
                if record is not None and record.move:
                    found[record.source] = record
        return found

    # -- The folder

    def path_of(self, digest: str) -> bytes:
        """Return the absolute path of the folder of a draft."""
        return os.path.join(self._folder, digest.encode("ascii"))

    def _all(self) -> Iterator[Draft]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in map(os.fsdecode, names):
            draft = self._read(name) if _DIGEST.fullmatch(name) else None
            if draft is not None:
                yield draft

    def _current(self) -> list[Draft]:
        now, begun = self._now(), self._publications()
        marked = (replace(each, is_cut_off=_source_of(each.digest) in begun) for each in self._all())
        # What is half published is to be completed, however long that takes.
        return [draft for draft in marked if draft.is_cut_off or draft.expires > now]

    def _read(self, digest: str) -> Draft | None:
        path = self.path_of(digest)
        try:
            file = open_regular_file(os.path.join(path, _RECORD), follow_links=False)
        except OSError:
            return None
        if file is None:
            return None
        with file:
            return _parse_record(file.read(_MAX_RECORD), digest)

    def _remove_ended(self) -> None:
        """Remove what has ended, and what an earlier removal has left."""
        current = {draft.digest for draft in self._current()}
        for draft in list(self._all()):
            if draft.digest not in current:
                self._move_away(self.path_of(draft.digest))
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name.startswith(_GONE):
                    shutil.rmtree(os.path.join(self._folder, name), ignore_errors=True)

    def _move_away(self, path: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, os.path.join(self._folder, _GONE + secrets.token_hex(8).encode()))
            sync_folder(self._folder)


def draft_folders(
    draft: Draft, roots: tuple[bytes, ...], owners: tuple[str | None, ...] = ()
) -> IndexFolders:
    """Return the folders of a draft: what a promotion writes down has its digest, sentences have its name."""
    return IndexFolders(name=_source_of(draft.digest), roots=roots, owners=owners, title=draft.shown)


def digest_of_source(source: str) -> str:
    """Return the digest of the draft that a promotion has written down; empty if it is of no draft."""
    digest = source.removeprefix(_SOURCE)
    return digest if digest != source and _DIGEST.fullmatch(digest) else ""


def _source_of(digest: str) -> str:
    return _SOURCE + digest


def _others(path: bytes, taken: Collection[str]) -> Iterator[str]:
    """Yield the names of files in a draft that are none of these, nor beside one of them."""
    for _folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(b".")]
        for name in map(os.fsdecode, names):
            if not name.startswith(".") and not any(
                name == one or name.startswith(f"{one}.") for one in taken
            ):
                yield name


def _record_of(draft: Draft) -> bytes:
    cells = {"name": draft.name, "by": draft.by, "expires": format_upload_time(draft.expires)}
    return json.dumps(cells).encode() + b"\n"


def _parse_record(data: bytes, digest: str) -> Draft | None:
    try:
        cells = json.loads(data)
        name, by, expires = cells["name"], cells["by"], parse_timestamp(cells["expires"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if expires is None or not isinstance(name, str) or not isinstance(by, str):
        return None
    return Draft(name=name, digest=digest, by=by, expires=expires)
