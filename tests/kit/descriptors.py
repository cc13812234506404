"""Which files a process has open."""

from __future__ import annotations

import os
from contextlib import suppress


def open_files() -> set[tuple[str, str]]:
    """
    Give the number and the target of each open descriptor.

    Compare by `<=`, not by a count: the garbage collector may close those of an earlier test at
    any moment.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of that listing is closed by now.
        with suppress(FileNotFoundError):
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    # Twisted reserves one for the day when there are no more, and keeps it for the whole process.
    return {(number, target) for number, target in found if target != os.devnull}
