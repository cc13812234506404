"""A bounded mapping that evicts what was least recently used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, ValuesView

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """
    Values by key, bounded by their weight. The newest value is kept even if it alone is too heavy.

    Args:
        limit: The most that all values together may weigh.
        weigh: Returns the weight of a value when it is put; without it each weighs 1.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _value: 1) -> None:
        self._limit = limit
        self._weigh = weigh
        self._values: OrderedDict[K, V] = OrderedDict()
        self._weights: dict[K, int] = {}
        self._total = 0
        #: Returns the value of a key, or None; not counted as a use.
        self.peek = self._values.get
        #: Counts a use of a key; KeyError if it has no value.
        self.touch: Callable[[K], None] = self._values.move_to_end

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """Return the value of a key, as its latest use, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value as the newest, also one that is there already and weighs something else now."""
        self.pop(key)
        self._values[key] = value
        self._weights[key] = weight = self._weigh(value)
        self._total += weight
        while self._total > self._limit and len(self._values) > 1:
            self.pop(next(iter(self._values)))

    def pop(self, key: K) -> V | None:
        """Forget a key, and return its value or None."""
        value = self._values.pop(key, None)
        self._total -= self._weights.pop(key, 0)
        return value

    def items(self) -> ItemsView[K, V]:
        """Return keys and values, the least recently used first."""
        return self._values.items()

    def values(self) -> ValuesView[V]:
        """Return the values, the least recently used first."""
        return self._values.values()
