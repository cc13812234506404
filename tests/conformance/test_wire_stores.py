"""Uploads into each kind of store over a live port."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.kit import object_stores
from tests.kit.live_server import JSON, LiveServer
from tests.kit.object_stores import Swift
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

UPLOAD = ("--upload", "--anonymous-upload", "--rescan", "0")
ALONE = {"TWISTED_INDEX_SINGLE_WRITER": "1"}
SMALL = make_wheel("demo", "1.0")


def digests(server: LiveServer) -> dict[str, str]:
    reply = server.get("/simple/demo/", headers={"Accept": JSON})
    files = json.loads(reply.body)["files"] if reply.status == 200 else []
    return {file["filename"]: file["hashes"]["sha256"] for file in files}


@pytest.fixture(params=["small", "beyond one request"])
def file(request: pytest.FixtureRequest) -> BuiltFile:
    if request.param == "small":
        return SMALL
    return make_sdist("demo", "1.0", files={"demo/ballast.bin": os.urandom(20_000_000)})


def test_a_file_is_taken_once_and_comes_back_as_it_went(
    any_store: str, live_server: Callable[..., LiveServer], file: BuiltFile
):
    server = live_server(any_store, options=UPLOAD, env=ALONE)
    assert [server.upload(file).status for _ in range(2)] == [200, 200]
    make = make_wheel if file is SMALL else make_sdist
    assert server.upload(make("demo", "1.0", requires_python=">=3.9")).status == 409
    assert digests(server) == {file.filename: file.sha256}
    path = f"/simple/demo/{file.filename}"
    assert server.get(path).body == file.content
    assert server.get(path, headers={"Range": "bytes=-500"}).body == file.content[-500:]


@pytest.mark.parametrize("kind", ["rclone", "swift"])
def test_a_store_without_conditions_takes_files_from_a_single_writer_only(
    kind: str, stores_folder: Path, monkeypatch: pytest.MonkeyPatch, live_server: Callable[..., LiveServer]
):
    url = object_stores.empty_place(kind, stores_folder, monkeypatch)
    server = live_server(url, options=UPLOAD)
    refused = server.upload(SMALL)
    assert refused.status == 503
    assert "single-writer" in refused.text
    assert server.get("/simple/").status == 200
    assert digests(server) == {}
    assert live_server(url, options=UPLOAD, env=ALONE).upload(SMALL).status == 200
    assert digests(server) == {SMALL.filename: SMALL.sha256}


def test_who_is_sent_to_the_store_gets_the_file_there_and_is_counted_here(
    stores_folder: Path, monkeypatch: pytest.MonkeyPatch, live_server: Callable[..., LiveServer]
):
    url = object_stores.empty_place("rclone", stores_folder, monkeypatch)
    server = live_server(url, options=UPLOAD, env={**ALONE, "TWISTED_INDEX_DELIVER": "redirect"})
    large = make_wheel("demo", "2.0", files={"demo/data": os.urandom(2_000_000)}, compress=False)
    for file in (SMALL, large):
        assert server.upload(file).status == 200
    assert digests(server) == {file.filename: file.sha256 for file in (SMALL, large)}
    assert server.get(f"/simple/demo/{SMALL.filename}").body == SMALL.content
    reply = server.get(f"/simple/demo/{large.filename}")
    assert reply.status == 302
    with urlopen(str(reply.header("Location")), timeout=20) as response:
        assert response.read() == large.content
    for path, method, fields in (
        (large.filename, "HEAD", {}),
        (large.filename, "GET", {"Range": "bytes=-500"}),
        (f"{large.filename}.metadata", "GET", {}),
    ):
        assert server.get(f"/simple/demo/{path}", method=method, headers=fields).status in (200, 206)
    counted = json.loads(server.get("/-/stats?project=demo", headers={"Accept": "application/json"}).body)
    (day,) = counted["days"]
    assert counted["files"] == {SMALL.filename: {day: 1}, large.filename: {day: 1}}


@pytest.fixture
def swift(stores_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    """One of its own, which a test may break."""
    if not Swift.is_installed():
        pytest.skip(f"swift is not installed here: {Swift.needs}")
    folder = stores_folder / "broken"
    folder.mkdir()
    store = Swift(folder)
    try:
        store.start()
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store
    finally:
        store.crash()


def test_a_404_to_a_write_is_no_success_and_no_absence(swift: Swift, live_server: Any):
    """Swift's proxy says so while nothing answers behind it."""
    server = live_server("s3://packages/here", options=UPLOAD, env=ALONE)
    older = make_wheel("demo", "0.9")
    assert server.upload(older).status == 200
    swift.crash("account", "container", "object")
    for _ in range(2):
        assert server.upload(SMALL).status == 503
        assert server.get("/simple/demo/", headers={"Accept": JSON}).status == 503
    swift.crash()
    swift.start()
    assert server.upload(SMALL).status == 200
    assert set(digests(server)) == {older.filename, SMALL.filename}
