"""Ends a process that is not one: from a chosen call of the system on, nothing is done any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

#: All calls by which the store changes anything that lasts.
CALLS = (
    "write",
    "pwrite",
    "link",
    "rename",
    "replace",
    "symlink",
    "unlink",
    "mkdir",
    "rmdir",
    "chmod",
    "fchmod",
    "fsync",
    "ftruncate",
    "copy_file_range",
    "utime",
)


class Killed(BaseException):
    """What no code can have expected; cleaning up is not done either."""


@contextlib.contextmanager
def cut_after(calls: int) -> Iterator[Callable[[], int]]:
    """
    Let so many changing calls be made, and kill whoever makes the next one.

    What was opened is closed, as the system does for a process that has ended.

    Yields:
        Tells how many calls have been made.
    """
    made = 0
    before = _descriptors()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            if made >= calls:
                raise Killed
            made += 1
            return call(*args, **kwargs)

        return wrapper

    with contextlib.ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(mock.patch.object(os, name, counted(getattr(os, name))))
        with contextlib.suppress(Killed):
            yield lambda: made
    for descriptor in _descriptors() - before:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _descriptors() -> set[int]:
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return {descriptor for descriptor in listed if _is_open(descriptor)}


def _is_open(descriptor: int) -> bool:
    """Leave out the one that the listing itself was made by."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
