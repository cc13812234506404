"""What the system refuses, in sentences that a client may read."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.errors import InsufficientStorage, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.errors import SimpleIndexError

_log = Logger()

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})


def fault(error: OSError) -> SimpleIndexError:
    """Give the error that a client is told, without any path of the server."""
    if error.errno in _FULL:
        return InsufficientStorage("The server has no room left for this.")
    if error.errno == errno.EFBIG:
        return InsufficientStorage("This is larger than a file may be on the server.")
    if error.errno == errno.EROFS:
        return Unavailable("The server's package folder is read-only.")
    if error.errno in _DENIED:
        return Unavailable("The server has no right to change its package folder.")
    if error.errno == errno.ENOENT:
        return Unavailable("The server's package folder is not there.")
    if error.errno in _TOO_MANY:
        return Unavailable("The server has too many files open right now.")
    return Unavailable("The server's package folder cannot be changed right now; its log says why.")


@contextmanager
def telling() -> Iterator[None]:
    """Turn an OSError into the error that a client is told, and log what the system said."""
    try:
        yield
    except OSError as error:
        _log.error("The package folder cannot be changed: {error}", error=str(error))
        raise fault(error) from error
