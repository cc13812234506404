"""
Rows of the statistics: how often which file went to which kind of client, as text and as values. Pure.

A row says nothing of a client but its installer, Python and system: no address, no user. These are words of
short lists, and a day has so many rows at most: what clients invent cannot fill memory or disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Rows up to which everything is told apart, then no clients any more, then no files; beyond the last number
#: no projects. Indexes always are: they are few, and each has readers of its own.
MOST_ROWS, _MOST_FILES, _MOST_PROJECTS = 10_000, 15_000, 20_000
#: Stands for a client, and for a part of it, that is not in the lists; and for files and projects that are
#: not told apart. The latter is no valid name.
OTHER, UNNAMED = "other", "-"

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


def add_row(rows: Rows, row: Row, downloads: int, *, others: int = 0) -> None:
    """
    Add downloads, to a coarser row if there are too many.

    Args:
        rows: Of one day; changed.
        row: What was downloaded.
        downloads: How often.
        others: The number of rows of other days in the same memory.
    """
    if row not in rows:
        row = bounded(row, len(rows) + others)
    rows[row] = rows.get(row, 0) + downloads


def bounded(row: Row, number: int) -> Row:
    """Return a row, or a coarser one in its place if there are so many already."""
    index, project, file, _client = row
    if number < MOST_ROWS:
        return row
    if number < _MOST_FILES:
        return index, project, file, ANY_CLIENT
    if number < _MOST_PROJECTS:
        return index, project, UNNAMED, ANY_CLIENT
    return index, UNNAMED, UNNAMED, ANY_CLIENT


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
