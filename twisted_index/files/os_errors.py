"""Operating system errors as errors for clients, without any path of the server."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.errors import InsufficientStorage, OutOfResources, Unavailable, UnreadableFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.errors import SimpleIndexError

_log = Logger()

_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
#: Errors of the server, not of the file: leaving the file out would be wrong.
RESOURCE_ERRNOS = _TOO_MANY_FILES | {errno.ENOMEM}
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_MISSING = frozenset({errno.ENOENT, errno.ELOOP})
#: The disk, or the share of it that the user may have, is full.
FULL_ERRNOS = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def error_text(error: OSError) -> str:
    """Return the text of the system, such as "Permission denied"."""
    return os.strerror(error.errno) if error.errno is not None else "unknown error"


def out_of_resources_error() -> OutOfResources:
    """Make the error of a server that has no more open files or memory."""
    return OutOfResources("The server has run out of file descriptors or memory.")


def public_read_error(
    error: OSError, shown: str, what: str | None = None, advice: str | None = None
) -> UnreadableFolder | OutOfResources:
    """
    Translate the error of an unreadable folder.

    Args:
        error: From the system.
        shown: The folder, printable.
        what: Subject of the public message; by default the folder.
        advice: What to do; by default what the error suggests.

    Returns:
        `OutOfResources` if the folder is not to blame.
    """
    if error.errno in RESOURCE_ERRNOS:
        return out_of_resources_error()
    return UnreadableFolder(
        what or f"The folder {shown}",
        display_path=shown,
        reason=error_text(error),
        advice=advice or _advice(error),
    )


def _advice(error: OSError) -> str:
    if error.errno in _DENIED:
        return "Grant the server permission to read and enter it."
    if error.errno in _MISSING:
        return "Restore its target, or remove the link."
    return "Check the disk or mount. Every request retries it."


def public_write_error(error: OSError) -> SimpleIndexError:
    """Translate the error of a failed change."""
    if error.errno in FULL_ERRNOS:
        return InsufficientStorage("The server has no space left for this.")
    if error.errno == errno.EFBIG:
        return InsufficientStorage("The file is larger than the server's file system or its limits allow.")
    if error.errno == errno.EROFS:
        return Unavailable("The server's package folder is read-only.")
    if error.errno in _DENIED:
        return Unavailable("The server has no permission to change its package folder.")
    if error.errno == errno.ENOENT:
        return Unavailable("The server's package folder does not exist.")
    if error.errno in _TOO_MANY_FILES:
        return Unavailable("The server has too many open files.")
    return Unavailable("The server's package folder cannot be changed right now; see its log for the reason.")


@contextmanager
def translate_os_errors() -> Iterator[None]:
    """Translate an OSError of a change, and log the system's own message."""
    try:
        yield
    except OSError as error:
        _log.error("The package folder cannot be changed: {error}", error=str(error))
        raise public_write_error(error) from error
