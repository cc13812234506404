"""The state folder: made at the start, and checked before there is anything to keep. Blocking."""

from __future__ import annotations

import contextlib
import os

from twisted_index.files.private_files import make_private_folder
from twisted_index.simple.formatting import printable

_ADVICE = "name another folder with --state, or keep nothing with --state none."


def inspection_cache_path(state: str | None) -> str | None:
    """Return the path of the inspection cache; None without a state folder."""
    return None if state is None else os.path.join(state, "cache", "ledger.sqlite")


def search_folder(state: str | None) -> str | None:
    """Return the folder of what the search knows of projects; None without a state folder."""
    return None if state is None else os.path.join(state, "cache", "search")


def make_state_folder(state: str) -> str | None:
    """
    Make the state folder unless it is there: console commands write only where a server keeps its state.

    Returns:
        As `state_fault`.
    """
    with contextlib.suppress(OSError):
        make_private_folder(state)
    return state_fault(state)


def state_fault(state: str) -> str | None:
    """
    Say why nothing can be kept in a state folder, and what to do. Makes nothing.

    Args:
        state: Absolute; made later if it does not exist.

    Returns:
        A sentence; None if the folder can be written, or made.
    """
    for folder in (state, os.path.join(state, "cache"), os.path.join(state, "keep")):
        path = _nearest_existing(folder)
        if not os.path.isdir(path):
            return f"The state cannot be kept: {printable(path)} is not a folder: {_ADVICE}"
        if not _is_writable(path):
            return (
                f"The state cannot be kept: {printable(path)} cannot be written by this process{_user()}."
                f" Make it writable, {_ADVICE}"
            )
    return None


def _nearest_existing(path: str) -> str:
    """Return a path, or the first of those above it that exists."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _is_writable(folder: str) -> bool:
    # twistd --uid changes the effective user; access(2) checks the real one.
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)


def _user() -> str:
    return f" (user {os.geteuid()})" if hasattr(os, "geteuid") else ""
