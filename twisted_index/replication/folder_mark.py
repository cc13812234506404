"""
The mark in the folder of a server that is not the primary: `.replica`, which names its state. Blocking.

Commands that change a folder know by it that the change is for another server, also if they are told of the
folder alone. What the server is, the state says; so a mark that was left behind, or copied to another
machine, forbids nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress

from twisted_index.files.anonymous_file import remove, write_atomically
from twisted_index.files.safe_open import open_regular_file

#: In a root.
MARK = b".replica"
_MAX_SIZE = 1 << 16


def mark_folder(root: bytes, state: str, *, is_primary: bool) -> None:
    """
    Let a folder say whose it is, or nothing.

    Args:
        root: Its absolute path.
        state: The state folder of its server.
        is_primary: Whether that takes changes itself.

    Raises:
        OSError: It cannot be written.
    """
    path = os.path.join(root, MARK)
    if is_primary:
        # Nothing is removed where nothing may be changed, in a folder that has none.
        if os.path.lexists(path):
            remove(path)
    elif os.path.isdir(root) and marked_state(root) != state:
        write_atomically(root, path, os.fsencode(state) + b"\n")


def marked_state(root: bytes) -> str | None:
    """Return the state folder that a mark names; None without one that can be read."""
    with suppress(OSError):
        file = open_regular_file(os.path.join(root, MARK), follow_links=False)
        if file is not None:
            with file:
                return os.fsdecode(file.read(_MAX_SIZE).removesuffix(b"\n")) or None
    return None
