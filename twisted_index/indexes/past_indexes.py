"""
Indexes of the past: at the moment that a URL names, or that an index is frozen at by an `.as-of` file.

Sources of many moments are cheap: they share what is known of the folders, and only the latest are kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.dated import AtTime, DatedFolder, FolderPast, InSnapshot
from twisted_index.backends.folder.history import FolderHistory
from twisted_index.backends.folder.local_tree import stat_key_no_follow
from twisted_index.backends.folder.snapshots import snapshot_path, taken_at
from twisted_index.concurrency.identity_memo import IdentityMemo
from twisted_index.concurrency.lru import LRU
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import BadRequest, NotFound, SimpleIndexError, Unavailable
from twisted_index.files.safe_open import open_regular_file
from twisted_index.indexes.dated import Dating
from twisted_index.indexes.moments import parse_moment
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.backends.layout.facts import StatKey
    from twisted_index.indexes.scope import Scope
    from twisted_index.indexes.served_index import ServedIndex
    from twisted_index.interfaces import ISource
    from twisted_index.simple.model import ProjectPage

#: The file in an index's folder that freezes it.
AS_OF = b".as-of"
_MAX_AS_OF = 1000
#: Moments and frozen indexes that are kept, and folders whose past is.
_MOST_MOMENTS, _MOST_FOLDERS = 64, 64


@dataclass(slots=True)
class _Kept:
    """
    An index at a moment.

    Attributes:
        origin: The index as it is now, which is kept with it.
        version: What its moment was read from.
        served: What answers.
        looked_at: Seconds, by the reactor's clock, at which all that was last looked at.
    """

    origin: ServedIndex
    version: tuple[str, StatKey | None]
    served: ServedIndex
    looked_at: float


class PastIndexes:
    """
    Makes indexes of the past.

    Args:
        reactor: Provides the clock of `recent`.
        rescan: Seconds for which a look holds.
        keep_deleted: Returns for how many seconds deleted files are kept.
        as_of: The moment at which the index without a name is frozen, unless it has an `.as-of`; or empty.
        now: Returns the current time, aware.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        rescan: float = 2.0,
        keep_deleted: Callable[[], float] = lambda: 0.0,
        as_of: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reactor = reactor
        self._rescan = rescan
        self._keep_deleted = keep_deleted
        self._as_of = as_of
        self._now = now
        self._kept = LRU["Scope", _Kept](_MOST_MOMENTS)
        self._pasts = LRU["FolderSource", FolderPast](_MOST_FOLDERS)
        self._last_good = LRU[bytes, str](_MOST_FOLDERS)
        self._pages: IdentityMemo[ProjectPage | None] = IdentityMemo()

    def at(self, served: ServedIndex, folder: FolderSource | None, as_of: str) -> ServedIndex:
        """
        Return an index at a moment.

        Args:
            served: The index as it is now.
            folder: Its folders.
            as_of: What a URL says.

        Raises:
            BadRequest, NotFound, Unavailable: See `IIndexes.find`.
        """
        return self._find(served, folder, replace(served.scope, as_of=as_of), as_of)

    def current(self, served: ServedIndex, folder: FolderSource | None) -> ServedIndex:
        """
        Return an index as its readers see it now: frozen, if it is.

        Raises:
            Unavailable: It is unknown at which moment it is frozen.
        """
        as_of = self._frozen_at(served, folder)
        if not as_of:
            self._kept.pop(served.scope)
            return served
        try:
            return self._find(served, folder, served.scope, as_of)
        except NotFound as error:
            raise Unavailable(f"This index is frozen, and cannot be served. {error.message}") from None

    def recent(self, scope: Scope, served: ServedIndex | None) -> ServedIndex | None:
        """
        Return what was returned last for a scope, if that was looked at within the rescan time.

        Args:
            scope: With the name of its index, also for the one that is the one without a name.
            served: The index as it is now; None if that is not known.
        """
        kept = self._kept.peek(scope)
        if kept is None:
            return None if scope.as_of else served
        if kept.origin is not served or self._reactor.seconds() - kept.looked_at >= self._rescan:
            return None
        self._kept.touch(scope)
        return kept.served

    def _find(
        self, served: ServedIndex, folder: FolderSource | None, scope: Scope, as_of: str
    ) -> ServedIndex:
        moment = parse_moment(as_of, self._now())
        stat = None
        if isinstance(moment, str):
            if folder is None:
                raise NotFound("There are no snapshots of this index.")
            stat = stat_key_no_follow(snapshot_path(folder.paths[0], moment))
        kept, version = self._kept.get(scope), (as_of, stat)
        if kept is None or kept.origin is not served or kept.version != version:
            kept = _Kept(served, version, self._make(served, folder, scope, moment), 0.0)
            self._kept.put(scope, kept)
        kept.looked_at = self._reactor.seconds()
        if folder is not None:
            self._past(folder).history.keep_deleted = self._keep_deleted()
        return kept.served

    def _make(
        self, served: ServedIndex, folder: FolderSource | None, scope: Scope, moment: datetime | str
    ) -> ServedIndex:
        owner = served.scope.index
        taken = moment
        if isinstance(moment, str):
            assert folder is not None
            taken = taken_at(folder.paths[0], moment)
        assert isinstance(taken, datetime)
        at_time = AtTime(taken, owner)

        def date(part: FolderSource) -> ISource:
            view: AtTime | InSnapshot = at_time
            if isinstance(moment, str) and part is folder:
                view = InSnapshot(part.paths[0], moment, owner, part.reader)
            # What it is made of stops once nothing refers to the index of now.
            return DatedFolder(self._past(part), view, origin=served)

        source = Dating(taken, owner, date, self._pages).of(served.source)
        if not scope.as_of:
            return replace(served, source=source)
        return replace(served, scope=scope, source=source, store=None, uploads=UploadSettings())

    def _past(self, folder: FolderSource) -> FolderPast:
        past = self._pasts.get(folder)
        if past is None:
            past = FolderPast(FolderHistory(folder, keep_deleted=self._keep_deleted()))
            self._pasts.put(folder, past)
        return past

    # -- Frozen indexes

    def _frozen_at(self, served: ServedIndex, folder: FolderSource | None) -> str:
        """Return the moment at which an index is frozen; empty if it is not."""
        default = "" if served.scope.index else self._as_of
        if folder is None:
            return default
        root = folder.paths[0]
        try:
            text = _read(os.path.join(root, AS_OF))
            if text is None:
                self._last_good.pop(root)
                return default
            parse_moment(text, self._now())
        except (OSError, BadRequest) as error:
            good = self._last_good.get(root)
            if good is not None:
                return good
            what = error.message if isinstance(error, SimpleIndexError) else f"{error.strerror}."
            raise Unavailable(f"This index is frozen by a file .as-of that cannot be used: {what}") from None
        self._last_good.put(root, text)
        return text


def as_of_fault(root: bytes, now: datetime) -> str | None:
    """Return why a folder's `.as-of` cannot be used; None if it can, or is not there. Blocking."""
    try:
        text = _read(os.path.join(root, AS_OF))
        moment = None if text is None else parse_moment(text, now)
        if isinstance(moment, str):
            taken_at(root, moment)
    except SimpleIndexError as error:
        return error.message
    except OSError as error:
        return f"It cannot be read: {error.strerror}."
    return None


def _read(path: bytes) -> str | None:
    """
    Read an `.as-of` file; None if there is none.

    Raises:
        OSError: There is something else of that name, or it cannot be read.
        BadRequest: It is empty, or says more than a moment.
    """
    try:
        file = open_regular_file(path, follow_links=False)
    except FileNotFoundError:
        return None
    if file is None:
        raise BadRequest("It is no regular file.")
    with file:
        data = file.read(_MAX_AS_OF)
    text = data.decode("utf-8-sig", "replace").strip()
    if not text:
        raise BadRequest("It is empty.")
    if len(text.split()) > 2:
        raise BadRequest(f"{printable(text[:100])} is no moment.")
    return text
