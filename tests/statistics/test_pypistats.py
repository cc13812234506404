"""Downloads as pypistats.org tells them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from twisted_index.statistics.pypistats import TABLES, pypistats_document
from twisted_index.statistics.rows import MIRROR, OTHER, Client

if TYPE_CHECKING:
    from twisted_index.statistics.totals import ByClient

TODAY = date(2026, 11, 28)
CLIENTS: ByClient = {
    Client("pip", "3.13", "Linux", "yes"): {"2026-11-28": 2, "2026-11-22": 4},
    Client("pip", "3.13", "Linux", "no"): {"2026-11-28": 1, "2026-11-21": 8},
    Client("uv", "3.12", "Darwin"): {"2026-10-30": 16, "2026-10-29": 32, "2026-07": 64},
    Client("uv", "2.7", "Windows"): {"2026-07": 3},
    Client(OTHER): {"2026-07": 5},
    Client(MIRROR): {"2026-11-28": 1000},
}


def data_of(table: str, chosen: str = "") -> Any:
    document = pypistats_document(table, "demo", CLIENTS, today=TODAY, chosen=chosen)
    assert (document["package"], document["type"]) == ("demo", f"{table}_downloads")
    return document["data"]


def rows_of(table: str, chosen: str = "") -> list[tuple[str, str, int]]:
    return [(row["category"], row["date"], row["downloads"]) for row in data_of(table, chosen)]


def test_recent_downloads_are_those_of_today_and_of_7_and_30_days_with_it():
    assert data_of("recent") == {"last_day": 3, "last_week": 7, "last_month": 31}
    assert data_of("recent", "week") == {"last_week": 7}


def test_days_come_with_mirrors_and_without_and_a_month_has_the_date_of_its_first_day():
    without = [
        ("without_mirrors", "2026-07-01", 72),
        ("without_mirrors", "2026-10-29", 32),
        ("without_mirrors", "2026-10-30", 16),
        ("without_mirrors", "2026-11-21", 8),
        ("without_mirrors", "2026-11-22", 4),
        ("without_mirrors", "2026-11-28", 3),
    ]
    assert rows_of("overall", "false") == without
    with_mirrors = [("with_mirrors", day, number) for _category, day, number in without]
    with_mirrors[-1] = ("with_mirrors", "2026-11-28", 1003)
    assert rows_of("overall", "true") == with_mirrors
    assert rows_of("overall") == [*with_mirrors, *without]


def test_pythons_that_are_not_known_are_null():
    july = [row for row in rows_of("python_minor") if row[1] == "2026-07-01"]
    assert july == [("2.7", "2026-07-01", 3), ("3.12", "2026-07-01", 64), ("null", "2026-07-01", 5)]
    july = [row for row in rows_of("python_major") if row[1] == "2026-07-01"]
    assert july == [("2", "2026-07-01", 3), ("3", "2026-07-01", 64), ("null", "2026-07-01", 5)]


def test_a_category_is_chosen_in_any_case():
    assert rows_of("system", "darwin") == [row for row in rows_of("system") if row[0] == "Darwin"] != []
    assert rows_of("python_minor", "2.7") == [("2.7", "2026-07-01", 3)]
    assert rows_of("system", "plan9") == []


def test_all_tables_but_recent_have_the_same_sum():
    sums = [sum(row[2] for row in rows_of(table)) for table in TABLES if table not in ("recent", "overall")]
    assert sums == [sum(row[2] for row in rows_of("overall", "false"))] * 3
