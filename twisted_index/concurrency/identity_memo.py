"""Memo of values derived from other objects: the same object while its parents are the same."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref

from twisted_index.concurrency.lru import LRU

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: How many are kept; a page of ten thousand files, of which hardly any index has one, takes 5 MB.
_MAX_ENTRIES = 256


class IdentityMemo(Generic[T]):
    """
    Remembers what was made last under a key, and of which objects.

    It keeps weak references to the parents only.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int = _MAX_ENTRIES) -> None:
        self._made = LRU[Hashable, "tuple[tuple[Callable[[], object], ...], object, T]"](limit)

    def get(self, key: Hashable, parents: tuple[Any, ...], make: Callable[[], T], also: object = None) -> T:
        """
        Return what is made of some objects.

        Args:
            key: Under which it is remembered.
            parents: What it is made of, compared by identity.
            make: Makes it.
            also: Whatever else it depends on, compared by value.
        """
        found = self._made.get(key)
        if found is not None:
            references, other, value = found
            same = len(references) == len(parents) and other == also
            if same and all(one() is parent for one, parent in zip(references, parents, strict=True)):
                return value
        value = make()
        self._made.put(key, (tuple(map(ref, parents)), also, value))
        return value
