"""
Epochs: which server is the primary, and which one was before. Pure.

Each take-over begins a new epoch. Two servers that are cut off from each other may both begin one of the same
number; then the instance decides, so that of any two epochs all servers agree which is the higher one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Take-overs that a server may have missed. People never begin an epoch further ahead; accepting a forged one
#: would end all true epochs for good.
_MOST_MISSED = 100_000
_TEXT = re.compile(r"([1-9][0-9]{0,8}) ([0-9a-f]{32})")


class Epoch(NamedTuple):
    """
    The period in which one server is the primary. Epochs are ordered; the highest is in force.

    Attributes:
        number: From 1; one more than that of the epoch before.
        instance: The count of serials that began with it (`events.serials`).
    """

    number: int
    instance: str

    def ends(self, other: Epoch) -> bool:
        """
        Return whether this epoch ends another one, whose primary has to retire.

        The first epoch ends none: it began without a take-over, perhaps because a server lost its state. An
        epoch that is implausibly high ends none either.
        """
        return self.number > 1 and self > other and not self.is_beyond(other)

    def is_beyond(self, other: Epoch | None) -> bool:
        """Return whether this epoch is implausibly far ahead of another; None is before all."""
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
