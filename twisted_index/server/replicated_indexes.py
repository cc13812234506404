"""Which indexes of a replica are kept equal to those of its primary: without a name, and with one."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_index.events.serials import Serials
    from twisted_index.indexes.catalog import IndexCatalog


class ReplicatedIndex(NamedTuple):
    """
    An index that may be followed.

    Attributes:
        name: Empty for that without one.
        path: Its own folder, absolute.
        serials: Its serials.
        adopted: Called with a project that has another serial.
    """

    name: str
    path: bytes
    serials: Serials
    adopted: Callable[[str], object]


class ReplicatedIndexes:
    """
    Those with a name.

    Args:
        catalog: Which there are.
        serials_of: Returns the serials of one.
        adopted: Called with the name of one, and a project of it that has another serial.
    """

    def __init__(
        self,
        catalog: IndexCatalog,
        serials_of: Callable[[str], Serials],
        adopted: Callable[[str, str], object],
    ) -> None:
        self._catalog = catalog
        self._serials_of = serials_of
        self._adopted = adopted

    def make(self, names: Iterable[str]) -> tuple[str, ...]:
        """
        Make folders for indexes that are not there yet; blocking.

        Args:
            names: Of those that the primary has.

        Returns:
            The names of all that there are.

        Raises:
            Unavailable: The folder of indexes cannot be read.
            OSError: A folder cannot be made.
        """
        for name in filter(is_index_name, frozenset(names) - frozenset(self._catalog.names())):
            os.makedirs(os.path.join(self._catalog.folder, os.fsencode(name)), exist_ok=True)
        return self._catalog.names()

    def index(self, name: str) -> ReplicatedIndex:
        """
        Return one; blocking.

        Raises:
            NotFound, Unavailable: It is not there, or that is not known.
        """
        path = self._catalog.path(name)
        return ReplicatedIndex(name, path, self._serials_of(name), partial(self._adopted, name))
