"""A promotion in a server: its steps in threads, with what the two sources know."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.folder.promotion import Promotion, log_unfinished
from twisted_index.backends.folder.promotion_plan import Examination
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import NotReady, SimpleIndexError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted_index.backends.folder.promotion_plan import PromotionRequest
    from twisted_index.backends.folder.source import FolderSource
    from twisted_index.backends.layout.facts import FileFacts
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.backends.layout.promotion_record import PromotionResult
    from twisted_index.errors import RefusedPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoter:
    """
    Promotes from one folder source into another.

    Attributes:
        origin: Serves the index that files come from.
        target: Serves the index that they go to.
        run: Runs a step in a thread, again while others hold a lock.
        routed_away: See `Examination`.
        min_free: See `Promotion`.
    """

    origin: FolderSource
    target: FolderSource
    run: Callable[[Callable[[], object]], Awaitable[object]]
    routed_away: Callable[[str], bool]
    min_free: int

    async def promote(
        self,
        request: PromotionRequest,
        may_create: Callable[[str], bool],
        refusals: Sequence[RefusedPart],
        note: Callable[[PromotionResult], Awaitable[None]],
    ) -> PromotionResult:
        """
        Carry out a promotion.

        Args:
            request: What is wanted.
            may_create: See `Examination`.
            refusals: See `Examination`.
            note: Records it, once it shows.

        Raises:
            PromotionRefused, InsufficientStorage, Unavailable: Nothing was promoted.
        """
        projects = sorted({release.partition("==")[0] for release in request.releases})
        examination = Examination(
            request,
            facts_of=await self._facts_reader(projects),
            routed_away=self.routed_away,
            may_create=may_create,
            refusals=refusals,
        )
        promotion = Promotion(request, examination=examination, min_free=self.min_free)
        try:
            await self.run(promotion.examine)
            if promotion.new:
                await self._copy(promotion)
                await self._show(promotion, note, projects)
        except SimpleIndexError:
            await self._give_up(promotion)
            raise
        finally:
            promotion.close()
        return promotion.result

    async def _facts_reader(self, projects: list[str]) -> Callable[[ScannedFile], FileFacts | None]:
        """Let both sources read the projects, and return what they know then."""
        readers = []
        for source in (self.origin, self.target):
            for project in projects:
                # What is not read by then is read by the promotion.
                with suppress(NotReady):
                    await result_of(source.project_page, project)
                readers.append(source.facts_reader(project))

        def facts_of(entry: ScannedFile) -> FileFacts | None:
            return next((facts for reader in readers if (facts := reader(entry)) is not None), None)

        return facts_of

    async def _copy(self, promotion: Promotion) -> None:
        await self.run(promotion.begin)
        for step in promotion.copies():
            # One at a time: other requests need threads too.
            await self.run(step)

    async def _show(
        self,
        promotion: Promotion,
        note: Callable[[PromotionResult], Awaitable[None]],
        projects: list[str],
    ) -> None:
        await self.run(promotion.place)
        for path, key, facts in promotion.placement.placed:
            await self.target.seed(path, key, facts)
        await self.run(promotion.show)
        await note(promotion.result)
        await self.run(promotion.finish)
        for project in projects:
            # Observers learn of the new files when a page is listed.
            with suppress(SimpleIndexError):
                await result_of(self.target.project_page, project)

    async def _give_up(self, promotion: Promotion) -> None:
        try:
            await self.run(promotion.abandon)
        except SimpleIndexError as error:
            log_unfinished(promotion.id, error)
