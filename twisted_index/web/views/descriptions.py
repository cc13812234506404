"""
The descriptions of releases as HTML: each rendered once, in threads that do nothing else.

A page waits for its description only for a moment, so that slow ones delay neither pages nor uploads.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import TimeoutError as TookTooLong

from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.web.pages.description import is_rendered, rendered_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner

#: Descriptions that are rendered at the same time: the threads that wait for these processes.
RENDERINGS = 2
#: Descriptions that are rendered or wait for that; with 256 Ki characters each they take 50 MB.
_MOST_WAITING = 50
#: Seconds that a page waits for its description.
_PATIENCE = 3.0
#: Seconds after which one is tried again that the machine was too busy for; after the last it stays text.
_PAUSES = (60.0, 600.0)
#: Characters that are kept, as source and as HTML.
_KEPT = 8_000_000

#: A description: its source and its type.
_Source: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """
    What became of a description.

    Attributes:
        html: See `rendered_html`.
        weight: In characters, with those of the source.
        tries: How often it was not rendered in time.
        again: When it is tried again.
    """

    html: str | None
    weight: int
    tries: int = 0
    again: float = 0.0


class Descriptions:
    """
    Renders descriptions, and keeps what was used last.

    Args:
        threads: Wait for the processes that render.
        clock: Tells the time, and when a page has waited long enough; None for no such bound.
    """

    def __init__(self, threads: IThreadRunner, clock: IReactorTime | None) -> None:
        self._threads = threads
        self._clock = clock
        self._now: Callable[[], float] = monotonic if clock is None else clock.seconds
        self._running: SingleFlight[_Source, str | None] = SingleFlight(self._now)
        self._kept = LRU[_Source, _Outcome](_KEPT, attrgetter("weight"))

    async def html(self, text: str, content_type: str) -> str | None:
        """
        Return the HTML of a description.

        Args:
            text: As for `rendered_html`.
            content_type: The same.

        Returns:
            The same; None if it is not rendered yet.
        """
        source = (text, content_type)
        kept = self._kept.get(source)
        if kept is not None and (kept.html is not None or self._now() < kept.again):
            return kept.html
        if not is_rendered(text, content_type):
            return ""
        if len(self._running) >= _MOST_WAITING:
            return None
        rendering = self._running.run(source, lambda: self._render(source))
        if self._clock is not None:
            rendering.addTimeout(_PATIENCE, self._clock)
        try:
            return await rendering
        except TookTooLong:
            return None

    async def _render(self, source: _Source) -> str | None:
        html = await self._threads.run(rendered_html, *source)
        self._kept.put(source, self._outcome(source, html))
        return html

    def _outcome(self, source: _Source, html: str | None) -> _Outcome:
        before, weight = self._kept.peek(source), len(source[0]) + len(html or "") + 4096
        tries = 0 if before is None else before.tries
        if html is None and tries < len(_PAUSES):
            return _Outcome(None, weight, tries + 1, self._now() + _PAUSES[tries])
        return _Outcome(html or "", weight)
