"""Promotions into a bucket that were cut off, or are running: how far they came, and what to do. Blocking."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.object_store.staged_objects import (
    UnreadableRecord,
    promotions_in,
    read_list,
    read_record,
)
from twisted_index.errors import Conflict
from twisted_index.interfaces import Problem
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.backends.object_store.bucket import Bucket

#: Nanoseconds after which no server is expected to work on a promotion: nothing in a bucket says whether one
#: does, and one that is undone while it comes to its end would show a part of its files.
_HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedPromotion:
    """
    A promotion that is not finished.

    Attributes:
        id: Its name in `.staged/`.
        record: What it has written down; None if that cannot be read.
        hidden: The names in its list; None if it has none, so that all its files are there to be seen.
        fault: Why what it has written down is unknown, in a sentence; empty if it is known.
    """

    id: str
    record: PromotionRecord | None
    hidden: frozenset[str] | None
    fault: str = ""

    @property
    def may_run(self) -> bool:
        """Whether a server may be at work on it."""
        return self.record is not None and time.time_ns() - (self.record.moment or 0) < _HOUR_NS

    @property
    def says(self) -> str:
        """How far it came."""
        if self.record is None:
            return self.fault
        came = "all its files are shown" if self.hidden is None else "its files are hidden"
        return f"{', '.join(self.record.releases)} from {self.record.source}: {came}"

    def require_record(self) -> PromotionRecord:
        """Return what it has written down."""
        if self.record is None:
            raise Conflict(self.fault)
        return self.record

    @property
    def problem(self) -> Problem:
        """What is said of it to those who look after the index."""
        if self.record is None:
            reason = self.fault
            advice = f"Remove the files that .staged/{self.id}.list names, that list, and the record."
        else:
            reason = (
                f"The promotion of {', '.join(self.record.releases)} from {self.record.source} was cut off"
            )
            reason += "; all its files are shown." if self.hidden is None else "."
            advice = f"twisted-index promote --resume {self.id} completes it"
            advice += "." if self.hidden is None else f", --cancel {self.id} undoes it."
        return Problem(
            path=printable(f".staged/{self.id}"), reason=printable(reason), advice=printable(advice)
        )


def unfinished_promotions(bucket: Bucket) -> Iterator[UnfinishedPromotion]:
    """
    Find the promotions that are not finished; one that has written nothing down has done nothing.

    Raises:
        Unavailable: The bucket does not answer.
    """
    for promotion in promotions_in(bucket):
        hidden = read_list(bucket, promotion)
        try:
            record = read_record(bucket, promotion)
        except UnreadableRecord as error:
            yield UnfinishedPromotion(id=promotion, record=None, hidden=hidden, fault=error.message)
            continue
        if record is not None:
            yield UnfinishedPromotion(id=promotion, record=record, hidden=hidden)


def promotion_problems(bucket: Bucket) -> list[Problem]:
    """
    Report the promotions that were cut off.

    Raises:
        Unavailable: The bucket does not answer.
    """
    return [found.problem for found in unfinished_promotions(bucket) if not found.may_run]
