"""What was done, as JSON and as a table."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import html5lib

from twisted_index.interfaces import AuditEvent
from twisted_index.web.pages.history import write_history_json, write_history_page
from twisted_index.web.pages.layout import Frame

FRAME = Frame(root="../")
UPLOAD = AuditEvent(
    time=datetime(2026, 3, 1, 12, 30, 5, 250000, UTC),
    by="alice",
    action="upload",
    project="demo",
    filename="demo-1.0.tar.gz",
    detail="sha256 00ff",
    address="192.0.2.7",
    client="twine/6",
)
STATUS = AuditEvent(
    time=datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2))),
    by="token <b>",
    action="status",
    project="demo",
    detail="archived: a & b\n<script>",
)


def rows(page: bytes) -> list[list[str]]:
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    document = parser.parse(page, transport_encoding="utf-8")
    return [["".join(cell.itertext()) for cell in row] for row in document.iter("tr")]


def test_programs_get_every_field_in_the_order_of_the_events():
    document = json.loads(write_history_json([STATUS, UPLOAD]))
    assert document["events"][1] == {
        "time": "2026-03-01T12:30:05.250000Z",
        "by": "alice",
        "action": "upload",
        "project": "demo",
        "filename": "demo-1.0.tar.gz",
        "detail": "sha256 00ff",
        "address": "192.0.2.7",
        "client": "twine/6",
    }
    assert document["events"][0]["time"] == "2026-03-01T12:00:00Z"
    assert document["events"][0]["filename"] == ""


def test_people_get_a_valid_table_in_universal_time():
    head, status, upload = rows(write_history_page([STATUS, UPLOAD], FRAME))
    assert len(head) == len(status) == len(upload)
    assert upload == [
        *("2026-03-01 12:30:05", "alice", "upload", "demo", "demo-1.0.tar.gz", "sha256 00ff"),
        *("192.0.2.7", "twine/6"),
    ]
    assert status[0] == "2026-03-01 12:00:00"


def test_nothing_that_somebody_wrote_becomes_markup():
    page = write_history_page([STATUS], FRAME)
    assert page.count(b"<script>") == 1
    assert rows(page)[1][1:] == ["token <b>", "status", "demo", "", "archived: a & b <script>", "", ""]


def test_the_table_leads_to_the_projects():
    assert b'href="../project/demo/"' in write_history_page([UPLOAD], FRAME)


def test_without_any_event_a_sentence_says_so():
    assert rows(write_history_page([], FRAME)) == []
    assert b"Nothing has been recorded yet" in write_history_page([], FRAME)
    assert json.loads(write_history_json([])) == {"events": [], "next": None}


def test_a_name_that_is_no_unicode_does_not_cost_the_history():
    event = AuditEvent(time=UPLOAD.time, by="a\udcff", action="delete", project="demo")
    assert json.loads(write_history_json([event]))["events"][0]["by"] == "a?"
    assert "a\N{REPLACEMENT CHARACTER}".encode() in write_history_page([event], FRAME)


def test_programs_are_told_of_an_index_that_has_a_name():
    """The only index of a server has none, and its document is what it always was."""
    events = json.loads(write_history_json([UPLOAD, replace(UPLOAD, index="dev")]))["events"]
    assert [event.get("index") for event in events] == [None, "dev"]
