"""The history of a server, over the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

from twisted_index.config.settings import Settings
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import AuditEvent
from twisted_index.testing import RunningIndex

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def read(index: RunningIndex, query: str = "", accept: str = "application/json") -> bytes:
    url = index.url.removesuffix("simple/") + f"-/history{query}"
    with urlopen(Request(url, headers={"Accept": accept})) as reply:
        body: bytes = reply.read()
        return body


def test_a_server_that_takes_no_changes_shows_what_was_done_before(tmp_path: Path):
    AuditFile(str(tmp_path)).append(AuditEvent(time=NOON, by="root (console)", action="yank", project="demo"))
    with RunningIndex(Settings(state=str(tmp_path))) as index:
        (event,) = json.loads(read(index))["events"]
        assert (event["action"], event["project"], event["by"]) == ("yank", "demo", "")


def test_a_long_table_arrives_whole(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    for number in range(1000):
        journal.append(
            AuditEvent(time=NOON, by="alice", action="yank", project=f"p{number}", detail="x" * 500)
        )
    with RunningIndex(Settings(state=str(tmp_path))) as index:
        lines = read(index, accept="text/csv").splitlines()
    assert [line.split(b",")[3] for line in lines[1:]] == [b"p%d" % number for number in range(999, -1, -1)]
