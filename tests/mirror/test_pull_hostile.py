"""Sources that lie, break off and stall: a bad project's files stay, and the rest goes on."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.hostile_upstream import JSON, Asked, HostileUpstream, Script, answer, page, reset
from tests.kit.pulls import Pulls
from twisted_index.errors import SimpleIndexError
from twisted_index.mirror.plan import Selection
from twisted_index.mirror.pull_run import PullRun
from twisted_index.mirror.puller import ProjectResult
from twisted_index.testing import BuiltFile, make_wheel

GOOD, BAD = make_wheel("good", "1.0"), make_wheel("bad", "1.0")


def _page(built: BuiltFile, **more: object) -> bytes:
    cells = {
        "filename": built.filename,
        "url": f"/files/{built.filename}",
        "hashes": {"sha256": built.sha256},
    }
    return page(json.dumps({"files": [cells | more]}).encode())


def _offer(hostile: HostileUpstream, built: BuiltFile, **more: object) -> None:
    hostile.on(f"/simple/{built.project}/", _page(built, **more))
    hostile.on(f"/files/{built.filename}", answer(200, built.content))


def _pull_all(pulls: Pulls, hostile: HostileUpstream) -> dict[str, list[str] | str]:
    """Pull both projects; give the placed files, or why there are none."""

    async def one(run: PullRun, project: str) -> list[str] | str:
        try:
            found = await run.index.page(project)
        except SimpleIndexError as error:
            return error.message
        files = () if found is None else found.files
        result: ProjectResult = await run.puller.pull(Selection(project=project, files=files, page=found))
        return result.failures[0].reason if result.failures else [*result.placed, *result.unchanged]

    async def work(run: PullRun) -> dict[str, list[str] | str]:
        return {project: await one(run, project) for project in ("bad", "good")}

    found: dict[str, list[str] | str] = pulls.run(work, f"{hostile.origin}/simple/")
    return found


def _cut(client: socket.socket, _asked: Asked) -> None:
    client.sendall(answer(200, BAD.content[:50], length=len(BAD.content)))


def _reset(client: socket.socket, _asked: Asked) -> None:
    client.sendall(answer(200, BAD.content[:50], length=len(BAD.content)))
    reset(client)


def _without_length(client: socket.socket, _asked: Asked) -> None:
    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + BAD.content[:-9])


BAD_FILES: dict[str, Script | bytes] = {
    "cut": _cut,
    "reset": _reset,
    "without a length": _without_length,
    "other bytes": answer(200, GOOD.content),
    "longer": answer(200, BAD.content + b"more"),
    "a page": answer(200, b"<html>Sign in</html>", Content_Type="text/html"),
    "absent": answer(404),
    "forbidden": answer(403),
    "busy": answer(503),
    "encoded": answer(200, b"\x1f\x8b" + BAD.content, Content_Encoding="br"),
    "a redirect in a circle": answer(302, Location=f"/files/{BAD.filename}"),
    "a redirect to a file": answer(302, Location="file:///etc/passwd"),
    "an unwanted part": answer(206, BAD.content[3:], Content_Range="bytes 3-9/10"),
}


@pytest.mark.parametrize("script", BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("promise", [True, False], ids=["promised", "without a digest"])
def test_a_bad_file_is_not_placed_and_the_rest_goes_on(
    pulls: Pulls, hostile: HostileUpstream, script: Script | bytes, promise: bool
):
    more: dict[str, object] = {} if promise else {"hashes": {}, "size": len(BAD.content)}
    _offer(hostile, BAD, **more)
    hostile.on(f"/files/{BAD.filename}", script)
    _offer(hostile, GOOD)
    found = _pull_all(pulls, hostile)
    assert isinstance(found["bad"], str)
    assert found["good"] == [GOOD.filename]
    assert sorted(path.name for path in pulls.folder.rglob("*.whl")) == [GOOD.filename]


BAD_PAGES: dict[str, Script | bytes] = {
    "an error": answer(500),
    "busy": answer(503),
    "forbidden": answer(401),
    "a maintenance page": answer(200, b"<html>We are back soon</html>", Content_Type="text/html"),
    "no JSON": page(b"{"),
    "brackets": page(b"[" * 100_000),
    "another version": page(b'{"meta": {"api-version": "2.0"}, "files": []}'),
    "cut": answer(200, b'{"files": [', length=1000, Content_Type=JSON),
    "not modified": answer(304),
    "too large": answer(200, b"", length=1 << 40, Content_Type=JSON),
}


@pytest.mark.parametrize("script", BAD_PAGES.values(), ids=BAD_PAGES)
def test_a_page_that_cannot_be_read_leaves_the_files_of_its_project(
    pulls: Pulls, hostile: HostileUpstream, script: Script | bytes
):
    for built in (BAD, GOOD):
        _offer(hostile, built)
    _pull_all(pulls, hostile)
    hostile.on("/simple/bad/", script)
    found = _pull_all(pulls, hostile)
    assert isinstance(found["bad"], str) or script == BAD_PAGES["not modified"]
    assert found["good"] == [GOOD.filename]
    assert (pulls.folder / "bad" / BAD.filename).read_bytes() == BAD.content


@pytest.mark.parametrize(
    "name",
    [
        "../bad-1.0-py3-none-any.whl",
        "..%2Fbad-1.0-py3-none-any.whl",
        "/etc/bad-1.0.tar.gz",
        ".copies",
        "good-1.0.tar.gz",
    ],
)
def test_no_name_of_the_source_leads_out_of_the_folder(pulls: Pulls, hostile: HostileUpstream, name: str):
    cells = {"filename": name, "url": f"{hostile.origin}/files/{name}", "hashes": {"sha256": BAD.sha256}}
    hostile.on("/simple/bad/", page(json.dumps({"files": [cells]}).encode()))
    for path in (f"/files/{name}", "/bad-1.0-py3-none-any.whl"):
        hostile.on(path, answer(200, BAD.content))
    pulls.pull(f"{hostile.origin}/simple/", "bad")
    placed = [
        path for path in pulls.folder.parent.rglob("*") if path.is_file() and pulls.state not in path.parents
    ]
    assert all(path.parent == pulls.folder / "bad" for path in placed)
    assert all(path.name in (BAD.filename, ".copies") for path in placed)


def test_a_file_goes_on_where_its_connection_broke(pulls: Pulls, hostile: HostileUpstream):
    content = make_wheel("bad", "1.0", files={"data": os.urandom(300_000)}, compress=False)
    half = len(content.content) // 2

    def rest(client: socket.socket, asked: Asked) -> None:
        first = int(asked.fields["range"].removeprefix("bytes=").rstrip("-"))
        part = content.content[first:]
        total = len(content.content)
        client.sendall(answer(206, part, Content_Range=f"bytes {first}-{total - 1}/{total}"))

    _offer(hostile, content)
    cut = answer(200, content.content[:half], length=len(content.content))
    hostile.on(f"/files/{content.filename}", cut, rest)
    (result,) = pulls.pull(f"{hostile.origin}/simple/", "bad")
    assert result.placed == (content.filename,)
    assert (
        hashlib.sha256((pulls.folder / "bad" / content.filename).read_bytes()).hexdigest() == content.sha256
    )


def test_a_file_without_a_digest_is_pinned_by_what_was_recorded(pulls: Pulls, hostile: HostileUpstream):
    _offer(hostile, BAD, hashes={})
    pulls.pull(f"{hostile.origin}/simple/", "bad")
    other = make_wheel("bad", "1.0", files={"other.py": b"1"})
    _offer(hostile, other)
    (result,) = pulls.pull(f"{hostile.origin}/simple/", "bad", exact=True)
    assert "changed content" in result.failures[0].reason
    assert (pulls.folder / "bad" / BAD.filename).read_bytes() == BAD.content


@pytest.mark.parametrize("year", ["1999", "2099"])
def test_a_clock_that_is_wrong_places_nothing_twice(pulls: Pulls, hostile: HostileUpstream, year: str):
    _offer(hostile, BAD, **{"upload-time": f"{year}-01-01T00:00:00.5Z"})
    pulls.pull(f"{hostile.origin}/simple/", "bad")
    time = (pulls.folder / "bad" / BAD.filename).stat().st_mtime_ns
    (result,) = pulls.pull(f"{hostile.origin}/simple/", "bad")
    assert result.unchanged == (BAD.filename,)
    assert (pulls.folder / "bad" / BAD.filename).stat().st_mtime_ns == time


def test_a_time_that_the_file_system_cannot_hold_is_recorded_once(pulls: Pulls, hostile: HostileUpstream):
    _offer(hostile, BAD, **{"upload-time": "0001-01-01T00:00:00Z"})
    pulls.pull(f"{hostile.origin}/simple/", "bad")
    os.utime(pulls.folder / "bad" / BAD.filename, (0, 0))
    for _run in range(2):
        pulls.pull(f"{hostile.origin}/simple/", "bad")
    assert (pulls.folder / "bad" / ".copies").read_text().count("\n") == 1


def test_without_an_upload_time_a_file_has_that_of_its_response(pulls: Pulls, hostile: HostileUpstream):
    _offer(hostile, BAD)
    sent = answer(200, BAD.content, Last_Modified="Wed, 01 Jan 2020 00:00:00 GMT")
    hostile.on(f"/files/{BAD.filename}", sent)
    pulls.pull(f"{hostile.origin}/simple/", "bad")
    assert (pulls.folder / "bad" / BAD.filename).stat().st_mtime == 1_577_836_800


def test_a_failure_of_provenance_is_a_warning(pulls: Pulls, hostile: HostileUpstream):
    _offer(hostile, BAD, provenance="https://127.0.0.1:1/absent")
    (result,) = pulls.pull(f"{hostile.origin}/simple/", "bad")
    assert result.placed == (BAD.filename,)
    assert [warning.name for warning in result.warnings] == [f"{BAD.filename}.provenance"]


def test_users_and_queries_of_urls_are_not_recorded(pulls: Pulls, hostile: HostileUpstream):
    _offer(hostile, BAD)
    hostile.on("/simple/bad/", _page(BAD, url=f"/files/{BAD.filename}?token=secret"))
    pulls.pull(f"http://user:password@127.0.0.1:{hostile.port}/simple/", "bad")
    recorded = (pulls.folder / "bad" / ".copies").read_text()
    assert f"/files/{BAD.filename}" in recorded
    assert not {"secret", "password"} & set(recorded.replace("=", " ").split())


def test_a_full_disk_fails_its_project_and_stops_the_rest(
    pulls: Pulls, hostile: HostileUpstream, mounted: Callable[[str], Path]
):
    disk = mounted("tmpfs small")
    large = make_wheel("bad", "1.0", files={"data": os.urandom(4 << 20)}, compress=False)
    _offer(hostile, large)
    names = (large.filename, *(f"bad-{number}.tar.gz" for number in range(2, 1000)))
    cells = [{"filename": name, "url": f"/files/{large.filename}", "hashes": {}} for name in names]
    hostile.on("/simple/bad/", page(json.dumps({"files": cells}).encode()))
    _offer(hostile, GOOD)
    bad, good = pulls.pull(f"{hostile.origin}/simple/", "bad", "good", target=disk, jobs=1)
    assert {failure.reason for failure in bad.failures} == {good.refused}
    assert "is full" in good.refused
    assert os.listdir(disk) == []
