"""What the console's promotions share with the server: what is known of files, and the history."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection_cache import CachedInspection, InspectionCache
from twisted_index.backends.folder.promotion import carry_out, resume
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.backends.layout.promotion_record import promotion_events
from twisted_index.events.audit_log import AuditFile
from twisted_index.server.state_folder import inspection_cache_path

if TYPE_CHECKING:
    from twisted_index.backends.folder.promotion import Promotion, Seeds
    from twisted_index.backends.folder.promotion_plan import PromotionRequest
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.promotion_record import PromotionResult


class ConsolePromotions:
    """
    Carries out promotions with what the server's inspection cache knows, and records them.

    Args:
        state: The folder of the server's state; None for none.

    Attributes:
        cache: What the server knows of files.
    """

    def __init__(self, state: str | None) -> None:
        self._audit_file = AuditFile(state)
        self.cache = InspectionCache(inspection_cache_path(state))

    def close(self) -> None:
        """Close the cache."""
        self.cache.close()

    def facts_of(self, entry: ScannedFile) -> FileFacts | None:
        """Return what is known of a file; see `Examination`."""
        known = self.cache.get(entry.folder, {entry.name: entry.key}).get(entry.name)
        if known is None or not known.settled or not isinstance(known.result, FileFacts):
            return None
        return known.result

    def carry_out(self, promotion: Promotion) -> PromotionResult:
        """Carry out a promotion from its beginning; see `promotion.carry_out`."""
        return carry_out(promotion, self._remember, partial(self._note, promotion.request))

    def resume(self, promotion: Promotion) -> PromotionResult:
        """Go on with a promotion that was cut off; see `promotion.resume`."""
        return resume(promotion, self._remember, partial(self._note, promotion.request))

    def _remember(self, seeds: Seeds) -> None:
        for path, key, facts in seeds:
            folder, name = os.path.split(path)
            self.cache.put(folder, [(name, key, CachedInspection(facts))])

    def _note(self, request: PromotionRequest, result: PromotionResult) -> None:
        for event in promotion_events(
            result,
            by=request.by,
            source=request.source.shown,
            index=request.target.name,
            now=datetime.now(UTC),
        ):
            self._audit_file.append(event)
