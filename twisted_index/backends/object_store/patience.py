"""How many calls wait for a store that does not answer. For threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Calls that wait for a store that has been silent; the first that gets an answer ends that.
_PROBES = 2


class Silent(Unavailable):
    """The store does not answer in time."""


class Patience:
    """
    Lets all calls wait for a store, but once one of them has waited in vain, only a few.

    Else every thread would wait, and what is queued behind them would keep the store's return from showing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_silent = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """
        Count a call while it waits.

        Raises:
            Silent: Others wait already, in vain so far.
        """
        with self._lock:
            if self._is_silent and self._waiting >= _PROBES:
                raise Silent("The object store does not answer. Retry in a moment.")
            self._waiting += 1
        is_silent = False
        try:
            yield
        except Silent:
            is_silent = True
            raise
        finally:
            with self._lock:
                self._waiting -= 1
                self._is_silent = is_silent
