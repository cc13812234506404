"""A primary whose folder has lost all that it had: what balancers, installers and uploaders are answered."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.live_server import LiveServer
from twisted_index.testing import BuiltFile, make_wheel

FILES = [make_wheel(name, "1.0") for name in ("acme", "zoo", "zoo-extras")]
PEERS = 'peers = ["http://127.0.0.1:9"]\n'
RIGHTS = """
[[rule]]
projects = "*"
allow = ["read", "create", "upload", "delete"]
to = "everyone"

[[rule]]
allow = ["follow", "operate"]
to = "everyone"
"""


@pytest.fixture
def start(tmp_path: Path, server_factory: Callable[..., Any]) -> Callable[..., LiveServer]:
    """Start a server of a folder with packages, with peers or without."""
    folder = tmp_path / "packages"
    folder.mkdir()

    def start(config: str = PEERS, *, healthy: bool = True) -> LiveServer:
        (tmp_path / "index.toml").write_text(config)
        (tmp_path / "rights.toml").write_text(RIGHTS)
        (tmp_path / "users").write_text("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        # Without a rest in which what was swept is answered once more.
        options = ["--upload", "--rescan", "0", f"--auth=htpasswd:{tmp_path / 'users'}"]
        options += [f"--rights={tmp_path / 'rights.toml'}", f"--config={tmp_path / 'index.toml'}"]
        server: LiveServer = server_factory(
            folder, options=options, state=tmp_path / "state", healthy=healthy
        )
        return server

    for file in FILES:
        file.write_to(folder / project_of(file))
    return start


def project_of(file: BuiltFile) -> str:
    return file.filename.partition("-")[0].replace("_", "-")


def empty(folder: Path) -> None:
    """Remove all that does not begin with a dot, as `rm -r *` does."""
    for entry in folder.glob("[!.]*"):
        shutil.rmtree(entry)


def status(server: LiveServer, path: str) -> int:
    return server.get(path).status


def test_a_balancer_turns_from_a_primary_that_has_lost_all_to_its_replicas(tmp_path: Path, start: Any):
    server = start()
    paths = ["/simple/acme/", f"/simple/acme/{FILES[0].filename}", "/simple/"]
    assert {status(server, path) for path in (*paths, "/-/health", "/-/changes")} == {200}
    (tmp_path / "packages").rename(tmp_path / "disk")
    (tmp_path / "packages").mkdir()
    for path in (*paths, "/simple/never-there/", "/-/health", "/-/changes", "/-/entries/acme"):
        answer = server.get(path)
        assert answer.status == 503, path
        assert "nothing is left of what was in it" in answer.text, path
    assert ".empty" in server.get("/-/problems").text
    refused = server.upload(make_wheel("new", "1.0"))
    assert (refused.status, list((tmp_path / "packages").rglob("*.whl"))) == (503, [])
    (tmp_path / "packages").rename(tmp_path / "no-disk")
    (tmp_path / "disk").rename(tmp_path / "packages")
    assert {status(server, path) for path in (*paths, "/-/health")} == {200}
    assert server.upload(make_wheel("new", "1.0")).status == 200


def test_an_operator_says_that_the_folder_is_meant_to_be_empty(tmp_path: Path, start: Any):
    server = start()
    assert status(server, "/-/changes") == 200
    empty(tmp_path / "packages")
    assert {status(server, path) for path in ("/simple/acme/", "/-/health")} == {503}
    (tmp_path / "packages" / ".empty").touch()
    assert (status(server, "/-/health"), status(server, "/simple/acme/")) == (200, 404)
    assert server.upload(FILES[0]).status == 200


def test_without_peers_an_emptied_folder_is_an_empty_index_in_the_next_answer(tmp_path: Path, start: Any):
    server = start("")
    assert {status(server, path) for path in ("/simple/acme/", "/-/changes")} == {200}
    empty(tmp_path / "packages")
    assert status(server, "/simple/acme/") == 404
    assert server.get("/simple/", headers={"Accept": "application/json"}).text.count("acme") == 0
    assert status(server, "/-/health") == 200
    assert server.upload(FILES[1]).status == 200


def test_what_is_deleted_through_the_server_leaves_an_empty_index(start: Any):
    server = start()
    assert status(server, "/-/changes") == 200
    for file in FILES:
        deleted = server.get(f"/simple/{project_of(file)}/{file.filename}", method="DELETE")
        assert deleted.status == 200, deleted.text
    assert {status(server, path) for path in ("/-/health", "/-/changes", "/simple/")} == {200}
    assert {status(server, f"/simple/{project_of(file)}/{file.filename}") for file in FILES} == {404}


def test_a_primary_that_begins_anew_is_no_empty_index_where_its_replica_has_packages(
    tmp_path: Path, start: Any, server_factory: Callable[..., Any]
):
    first = start("")
    (tmp_path / "copy").mkdir()
    replica = server_factory(
        tmp_path / "copy", options=["--replica-of", first.origin], state=tmp_path / "copy-state"
    )
    wait_for(lambda: len(list((tmp_path / "copy").rglob("*.whl"))) == len(FILES))
    first.stop()
    empty(tmp_path / "packages")
    shutil.rmtree(tmp_path / "state")
    server = start(f'peers = ["{replica.origin}"]', healthy=False)
    # Also before the replica has said so.
    assert {status(server, path) for path in ("/simple/acme/", "/-/health")} == {503}
    wait_for(lambda: "nothing is left" in server.get("/-/health").text)
    assert status(server, "/simple/acme/") == 503
    assert server.upload(make_wheel("new", "1.0")).status == 503
    for file in FILES:
        file.write_to(tmp_path / "packages" / project_of(file))
    assert {status(server, path) for path in ("/-/health", "/simple/acme/")} == {200}


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)
