"""Problems in the `.staged` folder of a root: what in it hides nothing, though it seems to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.project_scan import printable_path
from twisted_index.backends.folder.staged import STAGED
from twisted_index.interfaces import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.backends.folder.root_scan import RootScan
    from twisted_index.backends.folder.staged import StagedList


def problems_of_staged(reading: RootScan) -> Iterator[Problem]:
    """
    Report what hides nothing in the `.staged` folder of a root.

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


def _unknown_lines(name: bytes, one: StagedList) -> Problem:
    return Problem(
        path=_path_of(name),
        reason=f"{one.unknown} of its lines hide nothing, as they are no names of distribution files; the"
        f" first is line {one.first}.",
        advice="Write the name of a file in each line, without its folder, and nothing else.",
    )


def _path_of(name: bytes) -> str:
    return printable_path(os.path.join(STAGED, name))
