"""Two servers, one of which follows the other: what is at the primary is at the replica, and read there."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.configured_server import ConfiguredServer
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

RIGHTS = """
[[rule]]
allow = ["follow"]
to = ["everyone"]

[[rule]]
indexes = ["*"]
allow = ["follow"]
to = ["everyone"]
"""
SECONDS = 30.0


class Node(ConfiguredServer):
    def __init__(self, path: Path) -> None:
        path.mkdir()
        super().__init__(path, state=str(path / "state"))
        self.packages = path / "packages"
        self.indexes = path / "indexes"
        self.indexes.mkdir()
        (path / "rights.toml").write_text(RIGHTS)

    def put(self, file: BuiltFile, folder: Path | None = None) -> Path:
        place = (folder or self.packages) / file.project
        place.mkdir(parents=True, exist_ok=True)
        path = place / file.filename
        path.write_bytes(file.content)
        return path

    def health(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.visit("/-/health")[1])
        return document

    def read(self, path: str) -> tuple[int, str | None, bytes]:
        """Give the status, the ETag and the body of a response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
            answer = connection.getresponse()
            return answer.status, answer.headers["ETag"], answer.read()
        finally:
            connection.close()


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "primary")
    node.start('rights = "rights.toml"\nindexes = "indexes"\nrescan = "50ms"\n')
    yield node
    node.stop()


@pytest.fixture
def replica(tmp_path: Path, primary: Node) -> Iterator[Node]:
    node = Node(tmp_path / "replica")
    node.start(f'replica-of = "http://127.0.0.1:{primary.port}"\nindexes = "indexes"\nrescan = "50ms"\n')
    yield node
    node.stop()


def becomes(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        # A file may go while it is looked at.
        with contextlib.suppress(FileNotFoundError):
            if condition():
                return True
    return False


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Give the bytes and the time of each file in the folders that are no hidden ones of the server's."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for each in folder.iterdir()
        if not each.name.startswith(".")
        for path in each.rglob("*")
        if path.is_file() and path.name != ".replica"
    }


def test_both_send_the_same_bytes_under_the_same_names(primary: Node, replica: Node):
    wheel = make_wheel("acme", "1.0")
    primary.put(wheel)
    primary.put(make_sdist("acme", "1.0"))
    primary.put(make_wheel("bell", "2.0"))

    assert becomes(lambda: contents(replica.packages) == contents(primary.packages))
    for path in ("/simple/", "/simple/acme/", f"/simple/acme/{wheel.filename}", "/simple/bell/"):
        assert becomes(lambda path=path: replica.read(path) == primary.read(path)), path  # type: ignore[misc]


def test_marks_and_removals_come_too(primary: Node, replica: Node):
    primary.put(make_wheel("bell", "2.0"))
    path = primary.put(make_wheel("acme", "1.0"))
    mark = path.with_name(path.name + ".yanked")
    mark.write_text("broken\n")
    assert becomes(lambda: (replica.packages / "acme" / mark.name).exists())
    mark.unlink()
    path.unlink()

    assert becomes(lambda: contents(replica.packages) == contents(primary.packages))
    assert becomes(lambda: replica.read("/simple/acme/")[0] == 404)


def test_an_index_with_a_name_is_made_and_followed(tmp_path: Path, primary: Node):
    primary.put(make_wheel("acme", "1.0"), primary.indexes / "dev")
    node = Node(tmp_path / "replica")
    node.start(f'replica-of = "http://127.0.0.1:{primary.port}"\nindexes = "indexes"\n')
    try:
        assert becomes(lambda: contents(node.indexes) == contents(primary.indexes) != {})
        assert becomes(lambda: node.read("/+dev/simple/acme/") == primary.read("/+dev/simple/acme/"))
        report = node.health()["replication"]
        assert "dev" in report["indexes"]  # type: ignore[index]
    finally:
        node.stop()


def test_a_replica_is_read_while_its_primary_is_away_and_says_so(primary: Node, replica: Node):
    primary.put(make_wheel("acme", "1.0"))
    assert becomes(lambda: contents(replica.packages) != {})
    page = primary.read("/simple/acme/")
    assert becomes(lambda: replica.read("/simple/acme/") == page)
    primary.stop()

    assert becomes(lambda: "warnings" in replica.health())
    assert replica.read("/simple/acme/") == page
    assert replica.read("/simple/nothing/")[0] == 503
    primary.start('rights = "rights.toml"\n')


def test_a_name_that_the_folder_lacks_is_asked_of_the_primary(primary: Node, replica: Node):
    primary.put(make_wheel("acme", "1.0"))
    assert becomes(lambda: contents(replica.packages) != {})

    assert becomes(lambda: replica.read("/simple/nothing/")[0] == 404)
