"""Names that match a query: how well, and what else may have been meant. Pure."""

from __future__ import annotations

from collections import defaultdict
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.search.query import Query


class Match(IntEnum):
    """How a project matches, best first."""

    NAME = 0
    SAME_LETTERS = 1
    IMPORT = 2
    PREFIX = 3
    WORD = 4
    SUBSTRING = 5


class Typo(NamedTuple):
    """A name that may have been meant, and by how many letters it differs."""

    distance: int
    name: str


class Names:
    """
    The names of all projects, for any number of queries.

    Args:
        names: Normalized, ascending.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.present = frozenset(names)

    @cached_property
    def _squeezed(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in self.names:
            found[name.replace("-", "")].append(name)
        return dict(found)

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        found = defaultdict(list)
        for name in self.names:
            found[len(name)].append(name)
        return dict(found)

    def matching(self, query: Query) -> dict[str, Match]:
        """Return how the names match that do."""
        wanted = query.name
        if not wanted:
            return {}
        having = self.names
        for word in wanted.split("-"):
            having = [name for name in having if word in name]
        found = {name: _how(name, wanted) for name in having}
        for name in self._squeezed.get(wanted.replace("-", ""), ()):
            found[name] = min(found.get(name, Match.SAME_LETTERS), Match.SAME_LETTERS)
        return found

    def typos(self, query: Query) -> list[Typo]:
        """
        Return the names that differ from the query by at most two letters, the nearest first.

        Of queries with three or four letters, by one; shorter ones are like too many names.
        """
        wanted = query.name
        limit = 2 if len(wanted) > 4 else 1
        if len(wanted) < 3:
            return []
        distances = ((distance(wanted, name, limit), name) for name in set(self._near(wanted, limit)))
        return sorted(Typo(apart, name) for apart, name in distances if 0 < apart <= limit)

    def _near(self, wanted: str, limit: int) -> Iterator[str]:
        """
        Yield all names that can be so near, and some more.

        Of a query that is cut into more pieces than there are differences, one piece is in the name as it is,
        and at most so many places away.
        """
        pieces = _pieces(wanted, limit + 1)
        for length in range(len(wanted) - limit, len(wanted) + limit + 1):
            group = self._by_length.get(length, ())
            for start, piece in pieces:
                for name in group:
                    if (
                        piece in name
                        and name.find(piece, max(0, start - limit), start + len(piece) + limit) >= 0
                    ):
                        yield name


def _how(name: str, wanted: str) -> Match:
    if name == wanted:
        return Match.NAME
    if name.startswith(wanted):
        return Match.PREFIX
    return Match.WORD if f"-{wanted}-" in f"-{name}-" else Match.SUBSTRING


def _pieces(text: str, count: int) -> list[tuple[int, str]]:
    """Cut a text into pieces; return each with its start."""
    cuts = [len(text) * number // count for number in range(count + 1)]
    return [(start, text[start:stop]) for start, stop in pairwise(cuts)]


def distance(one: str, other: str, limit: int) -> int:
    """
    Count the letters to insert, delete or replace to make one text the other (Levenshtein).

    Returns:
        More than the limit, but perhaps not how many, if there are more.
    """
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, against in enumerate(other, 1):
            line.append(min(line[-1] + 1, last[column] + 1, last[column - 1] + (letter != against)))
        if min(line) > limit:
            return limit + 1
        last = line
    return last[-1]
