"""
Rows of the statistics: how often which file went to which kind of client, as text and as values. Pure.

A row says nothing of a client but its installer, Python and system: no address, no user. These are words of
short lists, and a day has so many rows at most, and so many for one file: what clients invent cannot fill
memory or disk, nor take the rows that others would need.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

#: Rows up to which everything is told apart, then no clients any more, then no files; beyond the last number
#: no projects. Indexes always are: they are few, and each has readers of its own.
MOST_ROWS, _MOST_FILES, _MOST_PROJECTS = 10_000, 15_000, 20_000
#: Rows up to which the clients of one file are told apart: some 1,600 kinds can be invented for it.
MOST_OF_FILE = 64
#: Stands for a client, and for a part of it, that is not in the lists; and for files and projects that are
#: not told apart. The latter is no valid name.
OTHER, UNNAMED = "other", "-"
#: The installer of what takes files for others.
MIRROR = "mirror"

HEAD = ("index", "project", "file", "installer", "python", "system", "ci", "downloads")
#: Digits of the longest number that is read.
_LONGEST_NUMBER = 15


class Client(NamedTuple):
    """
    A kind of client.

    Attributes:
        installer: Its name, such as `pip`.
        python: The version of Python that it installs for, such as `3.13`.
        system: `Linux`, `Darwin` or `Windows`.
        ci: `yes` if it says that it runs in continuous integration, else `no`.
    """

    installer: str = OTHER
    python: str = OTHER
    system: str = OTHER
    ci: str = "no"


ANY_CLIENT = Client()

#: The name of an index, a project, a file of it, and a client.
Row: TypeAlias = tuple[str, str, str, Client]
Rows: TypeAlias = dict[Row, int]
#: Places in a row.
FILE_COLUMN, CLIENT_COLUMN = 2, 3


class RowBound:
    """
    Says under which row a download is counted: a coarser one if there are too many already.

    Args:
        rows: Those of one day. What is not in them yet is to be added there before the next call.
        others: The number of rows of other days in the same memory.
    """

    def __init__(self, rows: Collection[Row], others: int = 0) -> None:
        self._rows = rows
        self._others = others
        self._of_file = Counter(row[:3] for row in rows)

    def place(self, row: Row) -> Row:
        """Return a row, or the coarser one in its place."""
        if row in self._rows:
            return row
        number = len(self._rows) + self._others
        index, project, file, _client = row
        if number < MOST_ROWS and self._of_file[row[:3]] < MOST_OF_FILE:
            self._of_file[row[:3]] += 1
            return row
        coarser = (
            (_MOST_FILES, (index, project, file, ANY_CLIENT)),
            (_MOST_PROJECTS, (index, project, UNNAMED, ANY_CLIENT)),
        )
        fitting = (each for most, each in coarser if number < most or each in self._rows)
        return next(fitting, (index, UNNAMED, UNNAMED, ANY_CLIENT))


def add_bounded(rows: Rows, added: Iterable[tuple[Row, int]]) -> None:
    """
    Add downloads to the rows of a day or month, and to coarser ones if there are too many.

    Args:
        rows: Changed.
        added: In the order in which they are kept apart.
    """
    bound = RowBound(rows)
    for each, downloads in added:
        row = bound.place(each)
        rows[row] = rows.get(row, 0) + downloads


def most_first(rows: Rows) -> list[tuple[Row, int]]:
    """Return rows in the order in which they are kept apart: those with the most downloads first."""
    return sorted(rows.items(), key=lambda item: (-item[1], item[0]))


def write_rows(rows: Rows) -> bytes:
    """Write tab-separated lines, after one with the names of the columns."""
    lines = ["\t".join(HEAD)]
    for (index, project, file, client), downloads in most_first(rows):
        lines.append("\t".join((index, project, file, *client, str(downloads))))
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


def read_rows(lines: Iterable[bytes]) -> Iterator[tuple[Row, int]]:
    """Read lines; what is no row is passed over, as the names of the columns are."""
    clients: dict[tuple[str, ...], Client] = {}
    for line in lines:
        fields = line.decode("utf-8", "replace").split("\t")
        number = fields[-1]
        if len(fields) != len(HEAD) or not _is_number(number):
            continue
        index, project, file, *about = fields[:-1]
        # Few kinds in many rows.
        client = clients.setdefault(tuple(about), Client(*about))
        yield (index, project, file, client), int(number)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
