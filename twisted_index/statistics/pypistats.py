"""
Downloads of a project as pypistats.org tells them, for scripts written for that. Pure.

Its API is documented at https://pypistats.org/api/. Mirrors are left out there, unless they are asked for.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from twisted_index.statistics.rows import MIRROR, OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from twisted_index.statistics.rows import Client
    from twisted_index.statistics.totals import ByClient

#: The tables of a project, by the last part of their URLs, each with the argument that chooses of it.
TABLES: Mapping[str, str] = {
    "recent": "period",
    "overall": "mirrors",
    "python_major": "version",
    "python_minor": "version",
    "system": "os",
}
#: Days up to today, by the argument for them.
_PERIODS = {"day": 1, "week": 7, "month": 30}
_WITH, _WITHOUT = "with_mirrors", "without_mirrors"
_MIRRORS = {"true": _WITH, "false": _WITHOUT}
#: A Python that is not known.
_UNKNOWN = "null"


def pypistats_document(
    table: str, project: str, clients: ByClient, *, today: date, chosen: str = ""
) -> dict[str, object]:
    """
    Return the document of a table.

    Args:
        table: One of `TABLES`.
        project: Normalized.
        clients: Its downloads.
        today: The day, in UTC.
        chosen: The argument of the table; empty for all of it.
    """
    data = _recent(clients, today, chosen) if table == "recent" else _rows(table, clients, chosen)
    return {"data": data, "package": project, "type": f"{table}_downloads"}


def _recent(clients: ByClient, today: date, chosen: str) -> dict[str, int]:
    periods = {chosen: _PERIODS[chosen]} if chosen in _PERIODS else _PERIODS
    return {f"last_{name}": _downloads_since(clients, today, days) for name, days in periods.items()}


def _downloads_since(clients: ByClient, today: date, days: int) -> int:
    first = (today - timedelta(days=days - 1)).isoformat()
    counted = (numbers for client, numbers in clients.items() if client.installer != MIRROR)
    return sum(number for numbers in counted for day, number in numbers.items() if day >= first)


def _rows(table: str, clients: ByClient, chosen: str) -> list[dict[str, object]]:
    """Return a row for each category and day. A month that is one row has the date of its first day."""
    numbers: Counter[tuple[str, str]] = Counter()
    for client, periods in clients.items():
        for category in _categories(table, client):
            for period, number in periods.items():
                numbers[category, period if len(period) > len("YYYY-MM") else f"{period}-01"] += number
    wanted = (_MIRRORS.get(chosen, "") if table == "overall" else chosen).lower()
    return [
        {"category": category, "date": day, "downloads": number}
        for (category, day), number in sorted(numbers.items())
        if wanted in ("", category.lower())
    ]


def _categories(table: str, client: Client) -> tuple[str, ...]:
    if table == "overall":
        return (_WITH,) if client.installer == MIRROR else (_WITH, _WITHOUT)
    if client.installer == MIRROR:
        return ()
    if table == "system":
        return (client.system,)
    if client.python == OTHER:
        return (_UNKNOWN,)
    return (client.python if table == "python_minor" else client.python.partition(".")[0],)
