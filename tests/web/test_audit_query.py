"""What the URL of `/-/history` may say, and what comes of it."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
from twisted.internet.defer import Deferred

from tests.kit.rights import GuardedIndex, as_user
from twisted_index.errors import Unavailable
from twisted_index.events.audit_log import AuditLog
from twisted_index.interfaces import AuditEvent, AuditPage, AuditQuery
from twisted_index.testing import IndexInMemory, SynchronousRunner
from twisted_index.testing.in_memory import Connection
from twisted_index.web.views.audit_query import PARAMETERS

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PATH = "/-/history"
ALICE = as_user("alice")


def event(number: int = 0, time: datetime = NOON, **values: str) -> AuditEvent:
    given = {"by": "alice", "action": "upload", "project": "demo", "detail": str(number), **values}
    return AuditEvent(time=time, **given)


def log_of(*events: AuditEvent) -> AuditLog:
    log = AuditLog(None, SynchronousRunner())
    for one in events:
        log.record(one)
    return log


HOURLY = [event(number, NOON + timedelta(hours=number)) for number in range(40)]


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    return GuardedIndex(
        tmp_path, audit_log=log_of(*HOURLY, event(99, project="other", by="bob", action="yank"))
    )


def shown(index: GuardedIndex, query: str) -> list[str]:
    reply = index.get(f"{PATH}?{query}", headers=ALICE)
    assert reply.status == 200, reply.body
    return [event["detail"] for event in json.loads(reply.body)["events"]]


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("project=Other", ["99"]),
        ("by=bob", ["99"]),
        ("action=yank", ["99"]),
        ("action=yank,delete", ["99"]),
        ("action=yank&action=delete", ["99"]),
        ("by=bob&action=upload", []),
        ("by=&action=&since=&until=&project=Other&limit=&before=", ["99"]),
        ("since=2026-11-03", ["39", "38", "37", "36"]),
        ("since=2026-11-03T02:00:00Z", ["39", "38"]),
        ("since=2026-11-03T04:00:00+02:00", ["39", "38"]),
        ("since=2026-11-03T04:00:00%2B02:00", ["39", "38"]),
        ("since=2026-11-03T00:00:00-02:00", ["39", "38"]),
        ("since=2026-11-03t03:00:00.000000z", ["39"]),
        ("until=2026-11-01&since=2026-11-01T22:00:00Z", ["11", "10"]),
        ("until=2026-11-01T14:00:00Z&project=demo", ["1", "0"]),
        ("until=9999-12-30&limit=2", ["99", "39"]),
    ],
)
def test_a_query_shows_what_it_says(index: GuardedIndex, query: str, details: list[str]):
    assert shown(index, query) == details


@pytest.mark.parametrize(
    "query",
    [
        "sinse=2026-11-01",
        "format=csv",
        "%00=1",
        "%ff=1",
        "x" * 5000,
        "=",
        "since=2026-11-01&x",
        "&".join(["action=yank"] * 101),
        "since=yesterday",
        "since=2026-02-30",
        "since=2026-11-01T12:00:00",
        "since=2026-11-01T25:00:00Z",
        "since=20261101",
        "since=%D9%A2026-11-01",
        "since=0001-01-01T00:00:00%2B10:00",
        "until=9999-12-31",
        "until=2026-11-01&until=2026-11-02",
        "project=a&project=b",
        "project=..",
        "project=%00",
        "by=%ff",
        "by=" + "x" * 301,
        "action=remove",
        "action=,",
        "action=upload,",
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=1e2",
        "limit=%D9%A1",
        "limit=" + "9" * 4000,
        "limit=5&limit=5",
        "before=x",
        "before=2026-11:1:2",
    ],
)
def test_a_query_that_cannot_be_used_is_refused_with_the_parameters_that_can(index: GuardedIndex, query: str):
    reply = index.get(f"{PATH}?{query}", headers=ALICE)
    assert reply.status == 400
    assert len(reply.body) < 600
    assert reply.body.isascii()
    if "before=" not in query:
        assert all(name.encode() in reply.body for name in PARAMETERS)


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_the_next_page_is_one_link_away(index: GuardedIndex, accept: str):
    url, seen = f"{PATH}?project=demo&until=2026-11-02&limit=20&by={quote('alice')}", []
    for _ in range(2):
        reply = index.get(url, headers=ALICE)
        document = json.loads(reply.body)
        seen += [event["detail"] for event in document["events"]]
        page = index.get(url, headers=ALICE | {"Accept": "text/html"}).body.decode()
        if document["next"] is None:
            break
        assert f'href="{document["next"].replace("&", "&amp;")}"' in page
        url = urljoin(url, document["next"])
    assert seen == [str(number) for number in reversed(range(36))]
    assert "Older" not in page


def test_people_see_their_query_in_the_form(index: GuardedIndex):
    query = quote('"><script>')
    page = index.get(f"{PATH}?by={query}", headers=ALICE | {"Accept": "text/html"}).body
    assert page.count(b"<script>") == 1
    assert b'name="by" value="&quot;&gt;&lt;script&gt;"' in page
    assert b"Nothing that matches" in page


# -- CSV


def table(index: GuardedIndex, query: str = "", **headers: str) -> list[list[str]]:
    reply = index.get(f"{PATH}?{query}", headers=ALICE | {"Accept": "text/csv"} | headers)
    assert (reply.status, reply.headers.get("Content-Type")) == (200, "text/csv; charset=utf-8")
    return list(csv.reader(io.StringIO(reply.body.decode(), newline="")))


def test_csv_has_every_event_though_a_page_has_few(tmp_path: Path):
    index = GuardedIndex(tmp_path, audit_log=log_of(*(event(number) for number in range(950))))
    head, *rows = table(index)
    assert head == ["time", "by", "action", "project", "filename", "detail", "index", "address", "client"]
    assert [row[5] for row in rows] == [str(number) for number in reversed(range(950))]
    assert rows[0][:4] == ["2026-11-01T12:00:00Z", "alice", "upload", "demo"]
    assert len(table(index, "limit=5")) == 6
    assert len(table(index, "action=yank")) == 1


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r\n=1", " =1", "\u202e=1"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str):
    """What clients choose, such as a User-Agent or a file name, is opened in spreadsheets."""
    log = log_of(event(client=text, filename=text, detail=text))
    (_head, row) = table(GuardedIndex(tmp_path, audit_log=log))
    for column in (4, 5, 8):
        assert row[column].startswith("'")
        assert "\n" not in row[column]


@pytest.mark.parametrize(
    "text", ["pip/1;=1+1", "x; @y", 'x;"=1"', "x;;+1", "\uff1d1;\uff0b1;\uff0d1;\uff201"]
)
def test_no_cell_is_a_formula_where_semicolons_separate_cells(tmp_path: Path, text: str):
    """A spreadsheet in German or French splits at them, whatever stands in quotes after a comma."""
    index = GuardedIndex(tmp_path, audit_log=log_of(event(client=text, filename=text, detail=text)))
    reply = index.get(PATH, headers=ALICE | {"Accept": "text/csv"})
    for cell in reply.body.decode().replace("\r\n", ";").split(";"):
        assert cell.lstrip(' "')[:1] not in {*"=+-@\uff1d\uff0b\uff0d\uff20"} - {""}, cell


def test_csv_is_for_those_who_ask_for_it(index: GuardedIndex):
    for accept, kind in [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/*;q=0.1, text/csv", "text/csv; charset=utf-8"),
    ]:
        assert index.get(PATH, headers=ALICE | {"Accept": accept}).headers.get("Content-Type") == kind


class _Failing:
    """A log whose second page cannot be read."""

    def search(self, query: AuditQuery) -> AuditPage:
        if query.before:
            raise Unavailable("It cannot be read.")
        return AuditPage(events=(event(),), next="2026-11:1")


def test_a_table_that_cannot_be_finished_is_cut_off(tmp_path: Path):
    """Without the last chunk a client notices that rows are missing."""
    connection = GuardedIndex(tmp_path, audit_log=_Failing()).connect()
    connection.ask(PATH, headers=ALICE | {"Accept": "text/csv"})
    assert b"alice" in connection.received
    assert not connection.received.endswith(b"0\r\n\r\n")
    assert connection.closed


# -- Servers without users


class _Slow:
    """A log whose searches end when the test says so."""

    def __init__(self) -> None:
        self.searches: list[tuple[AuditQuery, Deferred[AuditPage]]] = []

    def search(self, query: AuditQuery) -> Deferred[AuditPage]:
        self.searches.append((query, Deferred()))
        return self.searches[-1][1]

    def end(self, next_page: str = "") -> None:
        self.searches[-1][1].callback(AuditPage(events=(event(),), next=next_page))

    @property
    def projects(self) -> list[str]:
        return [query.project for query, _page in self.searches]


def ask_from(index: GuardedIndex, address: str, query: str, accept: str = "*/*") -> Connection:
    connection = index.connect()
    connection.ask(f"{PATH}?{query}", headers=ALICE | {"X-Forwarded-For": address, "Accept": accept})
    return connection


@pytest.fixture
def slow(tmp_path: Path) -> tuple[_Slow, GuardedIndex]:
    return (log := _Slow()), GuardedIndex(tmp_path, audit_log=log, proxies=("127.0.0.1",))


def test_searches_take_turns_by_network_one_at_a_time(slow: tuple[_Slow, GuardedIndex]):
    log, index = slow
    for number in range(9):
        ask_from(index, "198.51.100.1", f"project=a{number}")
    ask_from(index, "198.51.100.2", "project=b")
    assert log.projects == ["a0"]
    for _ in range(10):
        log.end()
    assert log.projects == ["a0", "a1", "b", *(f"a{number}" for number in range(2, 9))]


def test_the_search_of_a_client_that_has_left_is_dropped_before_its_turn(slow: tuple[_Slow, GuardedIndex]):
    log, index = slow
    ask_from(index, "198.51.100.1", "project=a")
    ask_from(index, "198.51.100.2", "project=b").disconnect()
    ask_from(index, "198.51.100.3", "project=c")
    log.end()
    assert log.projects == ["a", "c"]
    log.end()


def test_the_next_page_of_a_table_is_not_searched_for_a_client_that_has_left(
    slow: tuple[_Slow, GuardedIndex],
):
    log, index = slow
    table = ask_from(index, "198.51.100.1", "project=a", "text/csv")
    ask_from(index, "198.51.100.2", "project=b")
    log.end("2026-11:1")
    table.disconnect()
    log.end()
    assert log.projects == ["a", "b"]


def test_a_server_without_users_shows_what_was_done_and_not_by_whom():
    secret = event(1, by="carol", address="192.0.2.9", client="twine/6")
    refused = event(2, action="refuse", detail="login of carol")
    index = IndexInMemory(audit_log=log_of(secret, refused))
    for accept in ("application/json", "text/html", "text/csv"):
        body = index.get(PATH, headers={"Accept": accept}).body
        assert b"demo" in body
        assert not any(word in body for word in (b"carol", b"192.0.2.9", b"twine/6", b"refuse,"))
    document = json.loads(index.get(PATH).body)
    assert [event["detail"] for event in document["events"]] == ["1"]
    assert "--operate" in document["note"]


@pytest.mark.parametrize("query", ["by=carol", "action=refuse", "action=upload,token-create"])
def test_a_server_without_users_says_how_to_see_the_rest(query: str):
    reply = IndexInMemory(audit_log=log_of(event())).get(f"{PATH}?{query}")
    assert reply.status == 403
    assert b"--operate" in reply.body


def test_a_file_of_rights_may_show_all_to_everyone(tmp_path: Path):
    rights = '[[rule]]\nallow = ["operate"]\nto = "everyone"\n'
    index = GuardedIndex(tmp_path, rights, users=False, audit_log=log_of(event(by="carol")))
    assert json.loads(index.get(f"{PATH}?by=carol").body)["events"][0]["by"] == "carol"


def test_a_server_that_keeps_no_history_says_so():
    assert json.loads(IndexInMemory().get(PATH).body) == {
        "events": [],
        "next": None,
        "note": "This server keeps no history.",
    }
