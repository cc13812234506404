"""
Files of a replica that wait to be seen together, hidden by its own list in `.staged`. Blocking.

Out of scope: what a list hides while it is there (see `backends.folder.staged`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted_index.backends.folder.staged import LIST, STAGED
from twisted_index.files.anonymous_file import make_folder, remove, sync_folder, write_atomically
from twisted_index.files.safe_open import open_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.files.steps import Steps

#: Of the name of a list, before that of its project.
_PREFIX = b"replica."


class WaitingFiles:
    """
    The lists of a root, one for a project.

    Args:
        root: The path of the root.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._folder = os.path.join(root, STAGED)

    def projects(self) -> list[str]:
        """Return the projects that have a list."""
        names: list[bytes] = []
        with suppress(FileNotFoundError):
            names = os.listdir(self._folder)
        return [
            os.fsdecode(name[len(_PREFIX) : -len(LIST)])
            for name in names
            if name.startswith(_PREFIX) and name.endswith(LIST)
        ]

    def names(self, project: str) -> frozenset[str]:
        """Return the names of the files of a project that wait."""
        try:
            file = open_regular_file(self._path(project), follow_links=False)
        except FileNotFoundError:
            return frozenset()
        if file is None:
            return frozenset()
        with file:
            return frozenset(map(os.fsdecode, file.read().split(b"\n"))) - {""}

    def hide(self, project: str, names: Iterable[str]) -> None:
        """Let files wait, in place of those that do."""
        content = os.fsencode("".join(f"{name}\n" for name in names))
        while True:
            make_folder(self._root, self._folder)
            # The removal of the last list removes the folder.
            with suppress(FileNotFoundError):
                write_atomically(self._root, self._path(project), content)
                return

    def show(self, project: str, step: Steps) -> None:
        """Show the files of a project, if any wait; in steps."""
        path = self._path(project)
        if os.path.lexists(path):
            step(remove, path)
            step(sync_folder, self._folder)
            with suppress(OSError):
                step(os.rmdir, self._folder)

    def _path(self, project: str) -> bytes:
        return os.path.join(self._folder, b"%b%b%b" % (_PREFIX, project.encode(), LIST))
