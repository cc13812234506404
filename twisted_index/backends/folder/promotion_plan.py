"""The indexes between whose folders releases are promoted. Blocking."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.inspection import inspect
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.folder.root_set import owners_by_root
from twisted_index.backends.layout.promotion_rules import PromotionRules
from twisted_index.files.safe_open import sha256_of

if TYPE_CHECKING:
    from twisted_index.backends.layout.facts import InspectionResult
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.simple.names import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFolders:
    """
    The folders of an index.

    Attributes:
        name: For sentences and the audit log; empty for the index without a name.
        title: What to call it in sentences, if not by its name.
        roots: Absolute paths, in order; files come into the first.
        owners: For each root the index that it is inherited from, or None; by default None for all.
    """

    name: str
    roots: tuple[bytes, ...]
    owners: tuple[str | None, ...] = ()
    title: str = ""

    @property
    def root(self) -> bytes:
        """The folder that files come into."""
        return self.roots[0]

    @property
    def own_roots(self) -> tuple[bytes, ...]:
        """The folders that are not inherited."""
        owners = self.owners or (None,) * len(self.roots)
        return tuple(root for root, owner in zip(self.roots, owners, strict=True) if owner is None)

    def reader(self) -> InventoryReader:
        """Return a reader of all folders."""
        owners = self.owners or (None,) * len(self.roots)
        return InventoryReader(self.roots, owners=owners_by_root(self.roots, owners))

    @property
    def shown(self) -> str:
        """Its name in a sentence."""
        return self.title or self.name or "the index without a name"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """
    What is wanted.

    Attributes:
        source: Where the releases are; only what lies in its own folder is promoted.
        target: Where they shall be.
        releases: As `PROJECT==VERSION`, the project normalized.
        by: For the audit log.
        yanked: Whether yanked files come along, with their yanks.
        move: Whether the files leave the source.
    """

    source: IndexFolders
    target: IndexFolders
    releases: tuple[str, ...]
    by: str
    yanked: bool = False
    move: bool = False


class FolderPlace:
    """
    The folders of an index as the place of a promotion; see `PromotionPlace`.

    Args:
        folders: The folders.
    """

    def __init__(self, folders: IndexFolders) -> None:
        self._folders = folders
        self._own = InventoryReader(folders.own_roots)
        self._line = folders.reader()
        self.begin()

    def begin(self) -> None:
        """See `PromotionPlace`."""
        self._promotions = Promotions(self._folders.root)

    @property
    def shown(self) -> str:
        """See `PromotionPlace`."""
        return self._folders.shown

    @property
    def way_on(self) -> str:
        """See `PromotionPlace`."""
        return "resume or cancel that one first"

    def is_part_of(self, source: FolderPlace) -> bool:
        """See `PromotionPlace`."""
        own = map(os.path.realpath, source._folders.own_roots)
        return os.path.realpath(self._folders.root) in own

    def read_own(self, project: str) -> Inventory:
        """See `PromotionPlace`."""
        return self._own.read(project)

    def read_line(self, project: str) -> Inventory:
        """See `PromotionPlace`."""
        return self._line.read(project)

    def folder_for(self, inventory: Inventory) -> bytes:
        """See `PromotionPlace`."""
        return inventory.target

    def naming(self, distribution: Distribution) -> str:
        """See `PromotionPlace`."""
        return self._promotions.naming(distribution)

    def require_unfinished(self, promotion: str) -> None:
        """Raise LockHeld if a promotion is just placing its files."""
        self._promotions.require_unfinished(promotion)

    def inspect(self, entry: ScannedFile) -> InspectionResult:
        """See `PromotionPlace`."""
        return inspect(entry.path, entry.distribution, entry.key, verify_members=False, sha256="")

    def sha256_of(self, path: bytes) -> str | None:
        """See `PromotionPlace`."""
        return sha256_of(path)

    def is_taken(self, path: bytes) -> bool:
        """See `PromotionPlace`."""
        return os.path.lexists(path)


class Examination(PromotionRules):
    """
    Holds the releases of a request against the rules; see `PromotionRules`.

    Args:
        request: What is wanted.
    """

    def __init__(self, request: PromotionRequest, **options: Any) -> None:
        super().__init__(
            FolderPlace(request.source),
            FolderPlace(request.target),
            request.releases,
            yanked=request.yanked,
            **options,
        )
