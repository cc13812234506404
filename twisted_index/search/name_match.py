"""Names that match a query: how well, and what else may have been meant. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.search.query import Query


#: Letters of a query that may have typos, and the names that it is compared with: each takes 2 µs.
_SHORTEST, _LONGEST, _MOST_COMPARED = 3, 40, 10_000
#: What two edits, one at either end, take off the beginning and end of the longer text and of the shorter
#: one, by how many letters it is longer: they replace, or insert and delete.
_TWO_EDITS = {
    0: ((1, 1, 1, 1), (1, 0, 0, 1), (0, 1, 1, 0)),
    1: ((1, 1, 0, 1), (1, 1, 1, 0)),
    2: ((1, 1, 0, 0),),
}


class Match(IntEnum):
    """How a project matches, best first."""

    NAME = 0
    SAME_LETTERS = 1
    IMPORT = 2
    PREFIX = 3
    IMPORT_PREFIX = 4
    WORD = 5
    SUBSTRING = 6


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

        Of queries with three or four letters, by one; shorter ones are like too many names, and longer ones
        than 40 letters are compared with none. Two neighbours that are swapped are one letter.
        """
        wanted = query.name
        if not _SHORTEST <= len(wanted) <= _LONGEST:
            return []
        limit = 2 if len(wanted) > 4 else 1
        near, most = Counter(self._near(wanted, limit)), _MOST_COMPARED
        # Those that have most pieces of it are the likeliest, should there be too many.
        names = near if len(near) <= most else [name for name, _count in near.most_common(most)]
        found = {name: distance(wanted, name) for name in names}
        found |= dict.fromkeys(self.present.intersection(_swapped(wanted)), 1)
        return sorted(Typo(apart, name) for name, apart in found.items() if 0 < apart <= limit)

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


def _swapped(text: str) -> set[str]:
    """Return what a text may be with two neighbours swapped."""
    ends = range(2, len(text) + 1)
    return {f"{text[: end - 2]}{text[end - 1]}{text[end - 2]}{text[end:]}" for end in ends} - {text}


def _pieces(text: str, count: int) -> list[tuple[int, str]]:
    """Cut a text into pieces; return each with its start."""
    cuts = [len(text) * number // count for number in range(count + 1)]
    return [(start, text[start:stop]) for start, stop in pairwise(cuts)]


def distance(one: str, other: str) -> int:
    """
    Count the letters to insert, delete or replace to make one text the other (Levenshtein), as far as two.

    Returns:
        At most 3, for more than two.
    """
    longer, shorter = sorted(_differing(one, other), key=len, reverse=True)
    if len(longer) <= 1:
        return len(longer)
    # The first letters differ, and so do the last ones: of two edits, one is at either end, and what is
    # between them is the same. That takes a tenth of the time of filling a table.
    for first, last, other_first, other_last in _TWO_EDITS.get(len(longer) - len(shorter), ()):
        if longer[first : len(longer) - last] == shorter[other_first : len(shorter) - other_last]:
            return 2
    return 3


def _differing(one: str, other: str) -> tuple[str, str]:
    """Take off what two texts have in common at their beginnings, and then at their ends."""
    start, shorter = 0, min(len(one), len(other))
    while start < shorter and one[start] == other[start]:
        start += 1
    end, shorter = 0, shorter - start
    while end < shorter and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]
