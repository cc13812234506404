"""
Epochs: which server is the primary, and which one was before. Pure.

Each take-over begins a new epoch. Two servers that are cut off from each other may both begin one of the same
number; then the instance decides, so that of any two epochs all servers agree which is the higher one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Take-overs that a server may have missed. A higher epoch than that is none that people have begun: it
#: would end all others for good.
_MOST_MISSED = 100_000
_TEXT = re.compile(r"([1-9][0-9]{0,8}) ([0-9a-f]{32})")


class Epoch(NamedTuple):
    """
    The time in which one server is the primary. Epochs are ordered: the higher one counts.

    Attributes:
        number: From 1; that of the epoch before, and 1.
        instance: The count of serials that began with it (`events.serials`).
    """

    number: int
    instance: str

    def ends(self, other: Epoch) -> bool:
        """
        Return whether a server that is the primary in another epoch is none any more.

        The first epoch ends no other one: no take-over began it, but perhaps the loss of a state. Nor does
        one that is too high to be true.
        """
        return self.number > 1 and self > other and not self.is_beyond(other)

    def is_beyond(self, other: Epoch | None) -> bool:
        """Return whether more take-overs would be between the two than there ever are; None is before all."""
        return self.number - (0 if other is None else other.number) > _MOST_MISSED

    def __str__(self) -> str:
        """Return `number instance`."""
        return f"{self.number} {self.instance}"


#: Lower than every epoch.
NO_EPOCH = Epoch(0, "")


def parse_epoch(text: str) -> Epoch | None:
    """Parse what `str` returns of an epoch; None if it is something else."""
    match = _TEXT.fullmatch(text)
    return None if match is None else Epoch(int(match[1]), match[2])
