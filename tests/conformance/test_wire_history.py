"""The history of a server, over the wire."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.kit.front import eventually
from tests.kit.uploads import CONTENT_TYPE, upload_form
from twisted_index.config.settings import AccessSettings, Settings, UploadSettings
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import AuditEvent, AuditQuery
from twisted_index.testing import RunningIndex, make_wheel

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


def test_a_change_and_a_refusal_name_the_client(tmp_path: Path):
    """Through threads and the real store."""
    settings = Settings(
        state=str(tmp_path / "state"), uploads=UploadSettings(upload=True, anonymous_upload=True)
    )
    with RunningIndex(settings) as index:
        wheel = make_wheel("demo", "1.0")
        for content in (wheel.content, b"no wheel"):
            request = Request(
                index.url.removesuffix("simple/") + "legacy/",
                data=upload_form(content, wheel.filename),
                headers={"Content-Type": CONTENT_TYPE, "User-Agent": "tester/1"},
            )
            with contextlib.suppress(HTTPError):
                urlopen(request).close()
    refused, uploaded = AuditFile(str(tmp_path / "state")).search(AuditQuery()).events
    for event in (refused, uploaded):
        assert (event.project, event.filename) == ("demo", wheel.filename)
        assert (event.by, event.address, event.client) == ("anyone", "127.0.0.1", "tester/1")
    assert (uploaded.action, refused.action) == ("upload", "refuse")


def test_counts_of_refusals_are_recorded_when_the_server_stops(tmp_path: Path):
    settings = Settings(
        state=str(tmp_path / "state"), uploads=UploadSettings(upload=True, anonymous_upload=True)
    )
    with RunningIndex(settings) as index:
        for _ in range(3):
            with contextlib.suppress(HTTPError):
                url = index.url + "demo/demo-1.0.tar.gz"
                urlopen(Request(url, method="DELETE")).close()
    last, first = AuditFile(str(tmp_path / "state")).search(AuditQuery()).events
    assert first.detail == "Deleting files of the project demo is disabled: no users are configured."
    assert last.detail.startswith("2 more since")


def test_changed_rights_and_users_are_recorded_with_what_is_wrong_with_them(tmp_path: Path):
    rights, users = tmp_path / "rights.toml", tmp_path / "users"
    rights.write_text(good := '[[rule]]\nallow = ["operate"]\nto = "everyone"\n')
    users.write_text("dora:{SHA}NWoZK3kTsExUV00Ywo1G5jlUKKs=\n")
    access = AccessSettings(rights=str(rights), auth=(f"htpasswd:{users}",))
    with RunningIndex(Settings(state=str(tmp_path / "state"), access=access)) as index:
        for text in (good, "nonsense", good):
            rights.write_text(text)
            read(index)
        users.write_text(users.read_text() + "emil:{SHA}NWoZK3kTsExUV00Ywo1G5jlUKKs=\n")
        urlopen(index.url.removesuffix("simple/") + "-/problems").close()
        # A server that stops drops what waits to be recorded.
        assert eventually(lambda: b"The file of users took effect" in read(index))
    events = AuditFile(str(tmp_path / "state")).search(AuditQuery(actions=frozenset({"reload"}))).events
    assert {(event.by, event.address) for event in events} == {("", "")}
    details = {event.detail for event in events}
    (wrong,) = (detail for detail in details if detail.startswith(f"The rights are unchanged. {rights}: "))
    assert details == {
        wrong,
        f"The file of rights can be used again: {rights}",
        f"The file of rights took effect: {rights}",
        f"The file of users took effect: {users}",
    }
