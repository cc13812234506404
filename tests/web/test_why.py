"""Why a project is as it is: `/-/why/NAME`, who sees what of it, and the 404 that leads there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.kit.rights import OPEN, GuardedIndex, as_user
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import Unavailable
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel
from twisted_index.web.views.why import BURST

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
JSON, HTML = {"Accept": "application/json"}, {"Accept": "text/html"}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexInMemory]:
    for file in (ONE, TWO):
        file.write_to(tmp_path / "demo")
    (tmp_path / "demo" / ONE.filename).write_bytes(ONE.content[:-20])
    (tmp_path / "demo" / f"{TWO.filename}.yanked").write_text("<b>broken</b>")
    line = f"{ONE.sha256}  {ONE.size}  2026-11-01T10:00:00Z  demo-0.5.tar.gz  by alice: broken\n"
    (tmp_path / "demo" / ".deleted").write_text(line)
    with IndexInMemory.of_folders(tmp_path) as index:
        yield index


def why(index: Any, what: str = "demo", **headers: str) -> Any:
    return json.loads(index.get(f"/-/why/{what}", headers=JSON | headers).body)


def test_json_has_the_page_the_owner_the_sources_and_every_file(index: IndexInMemory, tmp_path: Path):
    found = why(index)
    assert found["page"] == {"status": 200, "message": "The page of demo lists 1 of 3 known files."}
    assert found["owner"]["entry"] == "demo/.deleted"
    assert [(one["kind"], one["name"], one["asked"]) for one in found["sources"]] == [
        ("folder", f"folder {tmp_path.name}", True)
    ]
    assert [(file["filename"], file["listed"], file["hidden_by"]) for file in found["files"]] == [
        ("demo-0.5.tar.gz", False, "deleted"),
        (ONE.filename, False, "refused"),
        (TWO.filename, True, None),
    ]
    assert found["files"][2]["reason"] == "It is yanked: <b>broken</b>."


def test_a_version_in_any_spelling_leaves_its_files(index: IndexInMemory):
    assert [file["filename"] for file in why(index, "demo==1")["files"]] == [ONE.filename]
    assert why(index, "demo==3")["files"] == []


def test_people_read_text(index: IndexInMemory):
    text = index.get("/-/why/demo").text
    assert text.startswith("Why demo\nThe page of demo lists 1 of 3 known files.\n")
    assert f"\n  {TWO.filename}  listed: It is yanked: <b>broken</b>.\n" in text


@pytest.mark.parametrize("reason", ["", "broken", "It was broken.", "Why?", "Do not use!"])
def test_a_sentence_ends_once_whatever_reason_people_gave(tmp_path: Path, reason: str):
    for file in (ONE, TWO, make_wheel("demo", "1")):
        file.write_to(tmp_path / "demo")
    for name, text in ((f"{TWO.filename}.yanked", reason), (".archived", reason), (".claimed", "")):
        (tmp_path / "demo" / name).write_text(text)
    (tmp_path / "demo" / "demo-1.0.exe.whl").write_bytes(b"")
    (tmp_path / "demo" / "demo-3.0-py3-none-any.whl").write_bytes(ONE.content[:-20])
    line = f"{ONE.sha256}  {ONE.size}  2026-11-01T10:00:00Z  demo-0.5.tar.gz  by alice: {reason}\n"
    (tmp_path / "demo" / ".deleted").write_text(line)
    (tmp_path / ".staged").mkdir()
    (tmp_path / ".staged" / "20261101-1.list").write_text(f"{TWO.filename}.asc\n")
    quarantined = tmp_path / "locked"
    make_wheel("locked", "1.0").write_to(quarantined)
    (quarantined / ".quarantined").write_text(reason)
    with IndexInMemory.of_folders(tmp_path) as folders:
        denial = policy_entry({"match": "bad", "reason": reason})
        denied = policy_entry({"match": "demo==2", "reason": reason})
        policy = UpstreamPolicy(upstream_deny=(denial, denied), no_sdists=True)
        policed = IndexInMemory(PolicySource(folders.source, policy, folders.clock.seconds))
        for index in (folders, policed):
            for project in ("demo", "locked", "bad", "none"):
                text = index.get(f"/-/why/{project}").text
                assert not re.search(r"[.!?]\.(\s|$)", text), text
                assert "listed: It is yanked" in text or project != "demo" or index is policed


def test_html_is_escaped(index: IndexInMemory):
    page = index.get("/-/why/demo", headers=HTML)
    assert "&lt;b&gt;broken" in page.text
    assert "<b>" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_another_spelling_of_the_name_leads_to_the_usual_one(index: IndexInMemory):
    reply = index.get("/-/why/De_Mo==1.0")
    assert (reply.status, reply.headers["Location"]) == (301, "de-mo==1.0")


@pytest.mark.parametrize("path", ["/-/why/demo==", "/-/why/a%2Fb", "/-/why/.", "/-/why/demo/x"])
def test_what_names_no_project_is_404(index: IndexInMemory, path: str):
    assert index.get(path).status == 404


def test_an_error_of_the_page_is_an_answer(index: IndexInMemory):
    source = MemorySource()
    source.failure = Unavailable("It is down.")
    found = why(IndexInMemory(source))
    assert found["page"] == {"status": 503, "message": "There is no page of demo now: It is down."}


def test_who_asks_too_often_has_to_wait(index: IndexInMemory):
    statuses = [index.get("/-/why/demo").status for _ in range(2 * BURST)]
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert int(index.get("/-/why/demo").headers["Retry-After"]) >= 1


# -- Who sees what


@pytest.mark.parametrize(("user", "status"), [("", 401), ("bob", 403), ("alice", 200)])
def test_the_rights_are_those_of_the_page(tmp_path: Path, user: str, status: int):
    guarded = GuardedIndex(tmp_path)
    fields = as_user(user) if user else {}
    assert guarded.get("/-/why/secret-lib", headers=fields).status == status
    assert guarded.get("/simple/secret-lib/", headers=fields).status == status


@pytest.mark.parametrize(("user", "sees"), [("", False), ("bob", False), ("alice", True)])
def test_only_those_who_operate_see_who_deleted(tmp_path: Path, user: str, sees: bool):
    packages = tmp_path / "packages"
    ONE.write_to(packages / "demo")
    line = f"{ONE.sha256}  {ONE.size}  2026-11-01T10:00:00Z  demo-0.5.tar.gz  by alice: broken\n"
    (packages / "demo" / ".deleted").write_text(line)
    with IndexInMemory.of_folders(packages) as folders:
        guarded = GuardedIndex(tmp_path, OPEN, source=folders.source)
        found = why(guarded, **(as_user(user) if user else {}))
    assert ("by alice" in found["files"][0]["reason"]) is sees
    assert "2026-11-01 10:00 UTC" in found["files"][0]["reason"]


@pytest.mark.parametrize(("user", "sees"), [("", False), ("bob", False), ("alice", True)])
def test_only_those_who_publish_or_operate_see_what_is_not_published(tmp_path: Path, user: str, sees: bool):
    packages = tmp_path / "packages"
    ONE.write_to(packages / "demo")
    (packages / ".staged").mkdir()
    (packages / ".staged" / "one.list").write_text(f"{ONE.filename}\n")
    with IndexInMemory.of_folders(packages) as folders:
        guarded = GuardedIndex(tmp_path, OPEN, source=folders.source)
        reply = guarded.get("/-/why/demo", headers=as_user(user) if user else {})
    assert (ONE.filename in reply.text) is sees
    assert reply.text.splitlines()[1] == "There is no project demo here."


def test_the_answer_is_for_one_client_also_where_everyone_may_read(index: IndexInMemory):
    reply = index.get("/-/why/demo")
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in reply.headers["Vary"]


# -- The 404 that leads there


@pytest.mark.parametrize("path", ["/simple/nothing/", "/nothing/"])
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("accept", ["text/plain", "application/json", "text/html"])
def test_the_sentence_of_a_404_leads_to_the_reasons(path: str, fast: bool, accept: str):
    index = IndexInMemory(MemorySource(ONE))
    if not fast:
        index.site.fast_path = None
    for url in ("/simple/nothing/", "/nothing/", path, path):
        reply = index.get(url, headers={"Accept": accept})
    assert reply.status == 404
    (link,) = re.findall(r"[./]+/-/why/[a-z]+", reply.text)
    assert urljoin(path, link) == "/-/why/nothing"
    assert index.get(urljoin(path, link)).status == 200
