"""
Makes the drafts of indexes: each an index of its own that inherits the one it belongs to.

Two sources answer in a draft: its own folder alone, and that in front of the index. Which one is for the web
part to choose, by what the client may read: the token of a draft grants its own files, and nothing inherited.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.drafts import DraftFolder
from twisted_index.backends.folder.store import FolderStore
from twisted_index.concurrency.lru import LRU
from twisted_index.errors import NotFound
from twisted_index.events.serials import Serials
from twisted_index.files.filesystems import has_coarse_folders
from twisted_index.files.os_errors import translate_os_errors
from twisted_index.files.stamps import StatValidator
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.scope import Scope
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.indexes.upstream_line import LineUpstream, UpstreamLine
from twisted_index.interfaces import NO_DRAFT
from twisted_index.simple.names import claimed_project, is_valid_name, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.files.stamps import StampedStat
    from twisted_index.indexes.registry import LiveIndex
    from twisted_index.interfaces import Draft, IAuditLog

#: Drafts whose sources are kept.
_MOST_LIVE = 64


class _OwnNames:
    """
    The projects that a draft may have something of: listed again when the stamp of its folder changes.

    Args:
        path: Its folder, absolute.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._validator = StatValidator(trusts_times=not has_coarse_folders(path))
        self._stamp: StampedStat | None = None
        self._names: frozenset[str] = frozenset()

    def current(self) -> frozenset[str]:
        """Return them; raises Unavailable if they cannot be read."""
        with translate_os_errors():
            if self._stamp is None or not self._validator.is_current(self._path, self._stamp):
                self._stamp = self._validator.stamp(self._path, self._stamp)
                self._names = frozenset(_projects(map(os.fsdecode, os.listdir(self._path))))
        return self._names


@dataclass(frozen=True, slots=True)
class _LiveDraft:
    base: ServedIndex
    draft: Draft
    served: ServedIndex
    folders: tuple[FolderSource, ...]
    names: _OwnNames


class DraftIndexes:
    """
    Makes drafts for an `IndexRegistry`.

    Args:
        make_folder: As for `NamedIndexes`.
        reactor: Twisted's reactor.
        writer: Threads that change files; None if nothing can be changed.
        audit_log: Records the changes.

    Attributes:
        watch: Starts folders, and stops them once what they serve is not used any more: that of the registry.
    """

    def __init__(
        self,
        make_folder: Callable[[Sequence[bytes], Sequence[str | None], Serials], FolderSource],
        *,
        reactor: Any,
        writer: IThreadRunner | None = None,
        audit_log: IAuditLog | None = None,
    ) -> None:
        self._make_folder = make_folder
        self._reactor = reactor
        self._writer = writer
        self._audit_log = audit_log
        self._kept: LRU[str, _LiveDraft] = LRU(_MOST_LIVE)
        self.watch: Callable[[ServedIndex, FolderSource], None] = lambda _served, _folder: None

    def at(self, live: LiveIndex, digest: str) -> ServedIndex:
        """
        Return what a draft serves.

        Args:
            live: The index that it belongs to.
            digest: That of its token.

        Raises:
            NotFound: There is no such draft, or it has ended.
            Unavailable: It cannot be read.
        """
        if live.folder is None:
            raise NotFound(NO_DRAFT)
        folder = DraftFolder(live.folder.paths[0])
        draft = folder.find(digest)
        kept = self._kept.get(digest)
        if kept is None or kept.base is not live.served or kept.draft != draft:
            kept = self._make(live.served, live.folder, folder.path_of(digest), draft)
        elif kept.served.own != (own := kept.names.current()):
            kept = self._watched(replace(kept, served=replace(kept.served, own=own)))
        else:
            return kept.served
        self._kept.put(digest, kept)
        return kept.served

    def _make(self, base: ServedIndex, folder: FolderSource, path: bytes, draft: Draft) -> _LiveDraft:
        names = _OwnNames(path)
        index = base.scope.index
        owners = (None, *(index if owner is None else owner for owner in folder.owners))
        pile = self._make_folder((path, *folder.paths), owners, Serials())
        alone = self._make_folder((path,), (None,), Serials())
        served = ServedIndex(
            scope=Scope(index=index, draft=draft.digest),
            line=base.line,
            # A name that neither has is the upstreams' of the index, as there.
            source=NameOwnershipSource(pile, UpstreamLine([LineUpstream(base.source, index)])),
            store=self._store(pile, draft, base),
            uploads=replace(base.uploads, overwrite=("*",), keep_prereleases=None),
            title=f"draft {draft.name}",
            own=names.current(),
            alone=alone,
        )
        return self._watched(_LiveDraft(base, draft, served, (pile, alone), names))

    def _watched(self, live: _LiveDraft) -> _LiveDraft:
        for folder in live.folders:
            self.watch(live.served, folder)
        return live

    def _store(self, pile: FolderSource, draft: Draft, base: ServedIndex) -> FolderStore | None:
        if self._writer is None or self._audit_log is None:
            return None
        blocking_store = BlockingStore(
            pile.paths,
            owners=pile.owners,
            # Nothing in a draft is published yet.
            overwrite=("*",),
            min_free=base.uploads.min_free,
            index=base.scope.index,
            draft=draft,
        )
        return FolderStore(
            pile,
            worker=self._writer,
            audit_log=self._audit_log,
            blocking_store=blocking_store,
            reactor=self._reactor,
        )


def _projects(names: Iterable[str]) -> Iterable[str]:
    """Return the projects that entries of a folder are named for."""
    for name in names:
        if is_valid_name(name):
            yield normalize(name)
        if (claimed := claimed_project(name)) is not None:
            yield claimed
