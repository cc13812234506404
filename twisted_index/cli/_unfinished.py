"""Promotions that were cut off: in which index they are, and how far they came."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.cli._progress import number
from twisted_index.errors import Conflict, NotFound, SimpleIndexError, Unavailable
from twisted_index.files.os_errors import translate_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.indexes.index_line import IndexLines


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """
    A promotion that is not finished, or is running.

    Attributes:
        index: The index that its files go to.
        root: The folder of that index.
        id: Its name in `.staged/`.
        record: What it has written down; None if that is nothing.
        hidden: The names in its list.
        is_listed: Whether it has a list.
        is_running: Whether something works on it now.
        fault: Why what it has written down is unknown, in a sentence; empty if it is known.
    """

    index: str
    root: bytes
    id: str
    record: PromotionRecord | None
    hidden: frozenset[str]
    is_listed: bool
    is_running: bool
    fault: str = ""

    @property
    def says(self) -> str:
        """How far it came."""
        if self.fault:
            return self.fault
        if self.is_running:
            return "is running"
        if self.record is None:
            return (
                f"a list by hand, which hides {number(len(self.hidden), 'name')}"
                if self.is_listed
                else "was cut off early"
            )
        what = f"{', '.join(self.record.releases)} from {self.record.source}"
        return (
            f"{what}: {'its files are placed and hidden' if self.is_listed else 'its files are not placed'}"
        )

    def require_record(self) -> PromotionRecord:
        """Return what it has written down."""
        if self.record is None:
            raise Conflict(self.says)
        return self.record

    def show(self) -> None:
        """Show what a list by hand hides."""
        if not self.is_listed:
            raise Conflict(f"The promotion {self.id} was cut off before it wrote anything down; cancel it.")
        with translate_os_errors():
            Promotions(self.root).remove_list(self.id)

    def remove(self) -> None:
        """Remove what is left of one that has written nothing down."""
        if self.is_listed:
            raise Conflict(
                f"{self.id}.list was made by hand: remove its files and then the list; --resume shows them."
            )
        with translate_os_errors():
            Promotions(self.root).remove_folder(self.id)


def unfinished_in(index: str, root: bytes) -> Iterator[Unfinished]:
    """
    Yield the promotions on their way into an index.

    Raises:
        Unavailable: They cannot be read.
    """
    promotions = Promotions(root)
    with translate_os_errors():
        ids, named = promotions.ids(), promotions.named()
    for each in ids:
        record, fault = None, ""
        try:
            record = promotions.record(each)
        except NotFound:
            continue
        except SimpleIndexError as error:
            fault = error.message
        yield Unfinished(
            index=index,
            root=root,
            id=each,
            record=record,
            hidden=named.get(each, frozenset()),
            is_listed=os.path.lexists(promotions.list_path(each)),
            is_running=promotions.is_running(each),
            fault=fault,
        )


def find_unfinished(lines: IndexLines, promotion: str) -> Unfinished:
    """
    Find a promotion among those into all indexes.

    Raises:
        NotFound: There is none of that name.
        Unavailable: It is running, or cannot be read.
    """
    for name in lines.catalog.names():
        for found in unfinished_in(name, lines.catalog.path(name)):
            if found.id == promotion:
                if found.is_running or found.fault:
                    raise Unavailable(found.fault or f"The promotion {promotion} is running.")
                return found
    raise NotFound(f"There is no unfinished promotion {promotion!a}; --list has those that there are.")
