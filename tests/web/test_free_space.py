"""Free space: a metric for each file system, and what uploads have to leave."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.kit.configured_server import ConfiguredServer
from tests.kit.uploads import CONTENT_TYPE, upload_form
from twisted_index.backends.layout.spool import Spool
from twisted_index.errors import InsufficientStorage
from twisted_index.files.anonymous_file import open_anonymous
from twisted_index.files.free_space import require_space
from twisted_index.metrics.free_space import FreeSpace
from twisted_index.testing import SynchronousRunner, make_wheel
from twisted_index.testing.reactor_thread import BackgroundReactor


def measured(space: FreeSpace, background: BackgroundReactor) -> dict[str, float]:
    """Give the samples of a scrape by folder."""
    background.call(lambda: Deferred.fromCoroutine(space.measure()), 20)
    return {sample.labels["folder"]: sample.value for family in space.collect() for sample in family.samples}


class Mounts:
    """File systems that answer, or not, as the test says."""

    def __init__(self) -> None:
        self.alive = threading.Event()
        self.asked: list[str] = []

    def __call__(self, path: str) -> int | None:
        self.asked.append(path)
        if path == "/gone":
            raise FileNotFoundError(path)
        if path == "/dead":
            self.alive.wait(60)
        return None if path == "/unknown" else 5000


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    mounts = Mounts()
    yield mounts
    mounts.alive.set()


def test_the_free_space_of_each_path_is_measured_anew(tmp_path: Path, background: BackgroundReactor):
    space = FreeSpace([str(tmp_path), str(tmp_path)], background.reactor)
    (before,) = measured(space, background).values()
    assert before > 0
    assert measured(space, background).keys() == {tmp_path.name}


def test_a_path_that_is_not_known_is_absent(mounts: Mounts, background: BackgroundReactor):
    space = FreeSpace(["/gone", "/unknown", "/here"], background.reactor, mounts)
    assert measured(space, background) == {"here": 5000}


def test_a_dead_mount_delays_no_other_path_and_takes_one_thread(
    mounts: Mounts, background: BackgroundReactor
):
    space = FreeSpace(["/dead", "/here"], background.reactor, mounts)
    for _ in range(3):
        assert measured(space, background) == {"here": 5000}
    assert mounts.asked.count("/dead") == 1
    mounts.alive.set()
    while "dead" not in measured(space, background):
        pass


def test_the_folders_above_are_not_shown_and_of_equal_names_the_fullest_counts(background: BackgroundReactor):
    sizes = {"/home/jane/packages": 7000, "/srv/packages": 6000, "/mnt/packages": 8000, "/": 9000}
    space = FreeSpace(list(sizes), background.reactor, sizes.get)
    assert measured(space, background) == {"packages": 6000, "/": 9000}


@pytest.mark.parametrize("name", ['a"b', "a\nb", "\udcff", "a\\"])
def test_a_path_of_any_name_can_be_written(name: str, mounts: Mounts, background: BackgroundReactor):
    space = FreeSpace([f"/{name}"], background.reactor, mounts)
    (path,) = measured(space, background)
    assert path.isprintable()


# -- Uploads

ON = "upload = true\nanonymous-upload = true\n"
WHEEL = make_wheel("demo", "1.0")
FORM = upload_form(WHEEL.content, WHEEL.filename, sha256_digest=WHEEL.sha256)
HEAD = f"POST /legacy/ HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\n".encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConfiguredServer]:
    server = ConfiguredServer(tmp_path)
    yield server
    server.stop()


def refusal(server: ConfiguredServer, head: bytes) -> bytes:
    """Send the head of an upload, and no body; give what comes back."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as client:
        client.sendall(HEAD + head + b"\r\n\r\n")
        return client.recv(1 << 16)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 5000000\r\nExpect: 100-continue", b"Content-Length: 3900000000"]
)
def test_an_upload_that_leaves_too_little_is_refused_before_its_body(server: ConfiguredServer, head: bytes):
    server.start(ON + 'min-free = "1000000000GB"\n')
    reply = refusal(server, head)
    assert reply.startswith(b"HTTP/1.1 507 ")
    assert b"leaves less than 1,000,000,000,000,000,000 bytes of its disk free" in reply


def test_reading_goes_on_and_the_limit_may_change(server: ConfiguredServer):
    server.start(ON + 'min-free = "1000000000GB"\n')
    assert server.ask("/legacy/", FORM)[0] == 507
    assert server.ask("/simple/")[0] == 200
    server.change(ON + "min-free = 0\n")
    assert server.becomes("/legacy/", lambda answer: answer[0] == 200, FORM)


def test_of_an_upload_larger_than_the_disk_just_that_is_said(tmp_path: Path):
    with pytest.raises(InsufficientStorage, match="no space left"):
        require_space(os.fsencode(tmp_path), 10**18, 1)


def test_a_file_system_without_a_size_takes_uploads():
    """Some of FUSE say that they have 0 bytes, and 0 free."""
    assert shutil.disk_usage("/proc").total == 0
    require_space(b"/proc", 10**6, 10**9)


def test_a_body_without_a_length_is_checked_as_it_arrives(tmp_path: Path):
    """So are several at once, each of which had room when it began."""
    left = 3_000_000

    def require(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise InsufficientStorage("Full.")

    spool = Spool(open_anonymous(os.fsencode(tmp_path)), SynchronousRunner(), require)
    failures: list[Failure] = []
    for _ in range(3):
        spool.write(bytes(1_000_000)).addErrback(failures.append)
    assert failures == []
    spool.write(bytes(1_000_000)).addErrback(failures.append)
    assert [failure.type for failure in failures] == [InsufficientStorage]
    spool.close()
