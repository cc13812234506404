"""
The line of an index: itself and all that it inherits, in the order that Python gives to classes (C3). Pure.

See https://docs.python.org/3/howto/mro.html: each index stands before its bases, and bases stand in the order
in which any index names them; where that contradicts itself there is no line.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Indexes in a line, and bases one above the other. Far fewer make sense.
MAX_LINE = 100


def linearize(name: str, bases_of: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """
    Return the line of an index, its own name first.

    Args:
        name: The index.
        bases_of: Returns the bases of an index, in order; its errors are passed on.

    Raises:
        Unavailable: There is no line, for a reason that names two indexes.
    """
    return _Linearization(bases_of).line(name, ())


class _Linearization:
    def __init__(self, bases_of: Callable[[str], Sequence[str]]) -> None:
        self._bases_of = bases_of
        self._lines: dict[str, tuple[str, ...]] = {}

    def line(self, name: str, heirs: tuple[str, ...]) -> tuple[str, ...]:
        """Return the line of an index that others inherit, the nearest of them last."""
        if name not in self._lines:
            self._lines[name] = self._merged(name, heirs)
        return self._lines[name]

    def _merged(self, name: str, heirs: tuple[str, ...]) -> tuple[str, ...]:
        if name in heirs:
            raise Unavailable(_cycle(name, heirs))
        if len(heirs) == MAX_LINE:
            raise Unavailable(f"{heirs[0]} inherits {name} by way of more than {MAX_LINE} indexes.")
        bases = tuple(self._bases_of(name))
        twice = next((base for base in bases if bases.count(base) > 1), None)
        if twice is not None:
            raise Unavailable(f"{name} names {twice} twice among its bases.")
        lines = [self.line(base, (*heirs, name)) for base in bases]
        merged, rest = _merge([*lines, bases])
        if rest:
            raise Unavailable(self._contradiction(name, bases, rest))
        merged = (name, *merged)
        if len(merged) > MAX_LINE:
            raise Unavailable(f"{name} inherits {merged[-1]} and others, more than {MAX_LINE} indexes.")
        return merged

    def _contradiction(self, name: str, bases: tuple[str, ...], rest: Sequence[tuple[str, ...]]) -> str:
        """Name two indexes that are wanted in either order; without such two, the first that are stuck."""
        # The bases themselves are last, and what the reader can change.
        for one, other in permutations(rest[::-1], 2):
            for first, second in combinations(one, 2):
                if second in other and first in other[other.index(second) :]:
                    if {first, second} <= set(bases) and first in self._lines[second]:
                        return f"{name} names {first} before {second}, but {second} inherits {first}."
                    return (
                        f"{name} cannot inherit {first} and {second}: among its bases and theirs, {first} is"
                        f" before {second} and {second} before {first}."
                    )
        first, second = rest[0][0], rest[1][0]
        return (
            f"{name} cannot inherit {first} and {second}: its bases contradict each other about their order."
        )


def _merge(sequences: list[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """
    Merge the lines of the bases, and the bases themselves: the first that none has later is next.

    Returns:
        What was merged, and what is left where each would have to come before another.
    """
    merged: list[str] = []
    rest = [sequence for sequence in sequences if sequence]
    while rest:
        later = {one for sequence in rest for one in sequence[1:]}
        chosen = next((sequence[0] for sequence in rest if sequence[0] not in later), None)
        if chosen is None:
            break
        merged.append(chosen)
        rest = [one for one in (_without(sequence, chosen) for sequence in rest) if one]
    return tuple(merged), rest


def _without(sequence: tuple[str, ...], first: str) -> tuple[str, ...]:
    return sequence[1:] if sequence[0] == first else sequence


def _cycle(name: str, heirs: tuple[str, ...]) -> str:
    if heirs[-1] == name:
        return f"{name} names itself among its bases."
    return f"{heirs[-1]} names {name} among its bases, but {name} inherits {heirs[-1]}."
