"""
Makes and removes the folders of indexes. Blocking.

An index that is removed vanishes by one rename. What a crash leaves of it has a name that no index has, and
goes with the next one that is removed. One that is made with settings appears with them, by one rename.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil

from twisted_index.errors import Conflict, NotFound
from twisted_index.files.anonymous_file import sync_folder, write_atomically
from twisted_index.files.os_errors import translate_os_errors

#: What the names of an index that is removed, and of one that is made, begin with.
_REMOVED, _UNMADE = b".removed-", b".unmade-"
_SETTINGS = b".index.toml"


def make_index(folder: bytes, name: str, settings: bytes = b"") -> bool:
    """
    Make the folder of an index.

    Args:
        folder: That of all indexes.
        name: A name that an index may have.
        settings: What it says of itself; without, it has no file for that.

    Returns:
        False if it is there already; then it is left as it is.

    Raises:
        Conflict: There is a file of that name.
        InsufficientStorage, Unavailable: It cannot be made.
    """
    path = os.path.join(folder, os.fsencode(name))
    with translate_os_errors():
        try:
            if settings:
                _make_with(settings, folder, path)
            else:
                os.mkdir(path)
        except FileExistsError:
            if os.path.isdir(path):
                return False
            raise Conflict(f"In the folder of indexes there is a file of the name {name}.") from None
        sync_folder(folder)
    return True


def _make_with(settings: bytes, folder: bytes, path: bytes) -> None:
    """Make an index that never is there without its settings: it would lack its bases."""
    if os.path.lexists(path):
        raise FileExistsError
    unmade = os.path.join(folder, _UNMADE + secrets.token_hex(8).encode("ascii"))
    os.mkdir(unmade)
    try:
        write_atomically(unmade, os.path.join(unmade, _SETTINGS), settings)
        os.rename(unmade, path)
    except BaseException:
        shutil.rmtree(unmade, ignore_errors=True)
        raise


def remove_index(folder: bytes, name: str) -> None:
    """
    Remove the folder of an index, with all that is in it. A link is removed, and not what it leads to.

    Args:
        folder: That of all indexes.
        name: The name of an index.

    Raises:
        NotFound: There is none of that name.
        Unavailable: It cannot be removed. If it has vanished by then, the rest goes with the next one.
    """
    path = os.path.join(folder, os.fsencode(name))
    with translate_os_errors():
        try:
            os.rename(path, os.path.join(folder, _REMOVED + secrets.token_hex(8).encode("ascii")))
        except FileNotFoundError:
            raise NotFound("There is no index of that name on this server; /+ lists its indexes.") from None
        sync_folder(folder)
        with os.scandir(folder) as entries:
            gone = [entry for entry in entries if entry.name.startswith(_REMOVED)]
        for entry in gone:
            # Another server may remove it at the same time.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_symlink():
                    os.unlink(entry.path)
                else:
                    shutil.rmtree(entry.path)
