"""A Ceph of their own for servers: it hangs, dies and comes back while they run."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.kit.live_server import LiveServer, start_server
from tests.kit.object_stores import BUCKET, Ceph, open_place
from twisted_index.testing import make_wheel

PROJECTS = [f"demo{number}" for number in range(40)]


@pytest.fixture(scope="module")
def store() -> Iterator[Ceph]:
    if not Ceph.is_installed():
        pytest.skip(f"Ceph is not installed here: {Ceph.needs}")
    # Unix sockets are in it, whose paths have to be short.
    folder = Path(tempfile.mkdtemp(prefix="ceph-"))
    ceph = Ceph(folder)
    try:
        ceph.start()
        yield ceph
    finally:
        ceph.crash()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(store: Ceph, live_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    from obstore import put

    url = f"s3://{BUCKET}/absent"
    place = open_place(url, store.environment)
    for project in PROJECTS:
        wheel = make_wheel(project, "1.0")
        put(place, f"{project}/{wheel.filename}", wheel.content)
    server = live_server(url, env=store.environment)
    assert all(server.get(f"/simple/{project}/").status == 200 for project in PROJECTS)
    return server


def _until(server: LiveServer, target: str, status: int) -> list[int]:
    """Request until the answer has that status; return the statuses before."""
    seen: list[int] = []
    end = time.monotonic() + 120
    while (now := _status(server, target)) != status:
        seen.append(now)
        assert time.monotonic() < end, (target, seen[-5:], server.log)
        time.sleep(0.05)
    return seen


def _status(server: LiveServer, target: str) -> int:
    try:
        return server.get(target).status
    except ConnectionRefusedError:
        return 0


def _ask_at_once(server: LiveServer) -> tuple[list[str], Callable[[], None]]:
    """Request all projects; what is answered is appended to the list."""
    answered: list[str] = []

    def ask(project: str) -> None:
        reply = server.get(f"/simple/{project}/")
        answered.append(f"{reply.status} {reply.text}")

    threads = [threading.Thread(target=ask, args=(project,)) for project in PROJECTS]
    for thread in threads:
        thread.start()

    def join() -> None:
        for thread in threads:
            thread.join()

    return answered, join


def test_a_server_lives_through_a_store_that_hangs(store: Ceph, server: LiveServer):
    before = server.get("/simple/demo1/")
    # Its gateway alone: the others would take a while to find each other again.
    store.signal(signal.SIGSTOP, "rgw")
    try:
        held = server.get("/simple/demo1/")
        assert held.status == 503 or held.body == before.body
        # Pages that it has stay for their time; never is one a 404, or shorter.
        assert set(_until(server, "/simple/demo1/", 503)) <= {200}
        answered, join = _ask_at_once(server)
        assert server.get("/-/nothing").status == 404
        join()
        assert {text[:3] for text in answered} == {"503"}
        assert all("object store does not answer" in text for text in answered)
        assert server.get("/-/health").status == 503
    finally:
        store.signal(signal.SIGCONT, "rgw")
    assert set(_until(server, "/simple/demo1/", 200)) <= {503}
    assert server.get("/simple/demo1/").body == before.body
    assert server.get("/-/health").status == 200


def test_a_server_lives_through_a_store_that_dies(store: Ceph, server: LiveServer):
    before = server.get("/simple/demo2/")
    store.crash()
    try:
        assert set(_until(server, "/simple/demo2/", 503)) <= {200}
        answered, join = _ask_at_once(server)
        join()
        assert {text[:3] for text in answered} == {"503"}
        assert all("object store cannot be reached" in text for text in answered)
    finally:
        store.start()
    assert set(_until(server, "/simple/demo2/", 200)) <= {503}
    assert server.get("/simple/demo2/").body == before.body


def test_a_server_that_is_started_before_its_store_serves_it_once_it_is_there(store: Ceph, tmp_path: Path):
    store.crash()
    server = start_server([f"s3://{BUCKET}/absent"], tmp_path / "state", (), store.environment, None)
    try:
        _until(server, "/simple/", 503)
        assert "object store cannot be reached" in server.log
        store.start()
        _until(server, "/simple/", 200)
    finally:
        server.stop()
