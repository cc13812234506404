"""Lets tests that measure run alone, though several workers run the others side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def turn(folder: str | None, *, alone: bool) -> Iterator[None]:
    """
    Hold a turn. Tests share it, except one that runs alone.

    `flock` by itself would let a test that waits to be alone starve, so all pass a gate first, and it
    keeps that shut meanwhile.

    Args:
        folder: Where all workers of a run find the locks; None if there is one process only.
        alone: Whether nothing else may run.
    """
    if folder is None:
        yield
        return
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with contextlib.ExitStack() as room:
        with contextlib.ExitStack() as gate:
            gate.enter_context(_locked(os.path.join(folder, "gate"), how))
            room.enter_context(_locked(os.path.join(folder, "room"), how))
            if alone:
                room.push(gate.pop_all())
        yield


@contextlib.contextmanager
def _locked(path: str, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
