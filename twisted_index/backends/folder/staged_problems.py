"""Problems in the `.staged` folder of a root: lists that hide nothing, and promotions that were cut off."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.promotion_record import Promotions
from twisted_index.backends.folder.staged import STAGED
from twisted_index.backends.layout.project_scan import printable_path
from twisted_index.errors import NotFound, Unavailable
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.staged import StagedList


def problems_of_staged(reading: RootScan) -> Iterator[Problem]:
    """
    Report what hides nothing in the `.staged` folder of a root, and promotions that were cut off. Blocking.

    Args:
        reading: The last one of the root.
    """
    staged = reading.staged
    if staged is None:
        if any(name == STAGED for name, _folder in reading.names):
            yield Problem(
                path=os.fsdecode(STAGED),
                reason="It is a link or no folder, so that nothing in it hides a file.",
                advice="Replace it with a folder.",
            )
        return
    for name in staged.ignored:
        yield Problem(
            path=_path_of(name),
            reason="It hides nothing: it is a link, a folder or a device.",
            advice="Replace it with a regular file.",
        )
    for name, one in staged.lists.items():
        if one.unknown:
            yield _unknown_lines(name, one)
    promotions = Promotions(reading.path)
    for folder in staged.folders:
        with contextlib.suppress(OSError, NotFound):
            # Else it has just come to its end.
            yield from _cut_off(promotions, os.fsdecode(folder))


def _cut_off(promotions: Promotions, promotion: str) -> Iterator[Problem]:
    """Yield a promotion that nothing works on."""
    if promotions.is_running(promotion):
        return
    reason = "A promotion was cut off before it wrote down what it promotes."
    advice = f"twisted-index promote --cancel {promotion} removes it."
    try:
        record = promotions.record(promotion)
        if record is not None:
            reason = f"The promotion of {', '.join(record.releases)} from {record.source} was cut off."
            advice = (
                f"twisted-index promote --resume {promotion} completes it, --cancel {promotion} undoes it."
            )
    except Unavailable as error:
        reason = error.message
    yield Problem(path=_path_of(os.fsencode(promotion)), reason=reason, advice=advice)


def _unknown_lines(name: bytes, one: StagedList) -> Problem:
    return Problem(
        path=_path_of(name),
        reason=f"{one.unknown} of its lines hide nothing, as they are no names of distribution files; the"
        f" first is line {one.first}.",
        advice="Write the name of a file in each line, without its folder, and nothing else.",
    )


def _path_of(name: bytes) -> str:
    return printable_path(os.path.join(STAGED, name))
