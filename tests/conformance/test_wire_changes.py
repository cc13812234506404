"""Changes at random, each followed at once by requests: the next answer shows it, on each file system."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings

from tests.kit.live_server import JSON, LiveServer
from tests.kit.mounts import KINDS
from tests.kit.random_changes import PROJECTS, RandomChanges

CHANGES = 2 * settings.default.max_examples


def ask(server: LiveServer, connection: HTTPConnection, project: str) -> dict[str, str]:
    """Give what a page says: the digest of each of its files."""
    reply = server.ask(connection, f"/simple/{project}/", headers={"Accept": JSON})
    assert reply.status in (200, 404), reply.text
    files = json.loads(reply.body)["files"] if reply.status == 200 else ()
    return {entry["filename"]: entry["hashes"]["sha256"] for entry in files}


def names(server: LiveServer, connection: HTTPConnection) -> set[str]:
    reply = server.ask(connection, "/simple/", headers={"Accept": JSON})
    return {project["name"] for project in json.loads(reply.body)["projects"]}


def change_and_ask(server: LiveServer, disk: Path, times: int, *, rescan: bool) -> None:
    """Make changes, and after each ask for its project, before it or only then for another one."""
    random = Random(times)
    root, aside = disk / "root", disk / "aside"
    changes = RandomChanges(root, aside, random, in_place=rescan)
    with server.connection() as connection:
        for number in range(times):
            project, kind = changes.make()
            asked = [project, *random.sample(PROJECTS, 2)]
            if random.random() < 0.5:
                asked.reverse()
            for name in asked:
                found = ask(server, connection, name)
                assert found == changes.expected(name), f"{name} after change {number}, {kind} of {project}"
            if rescan:
                there = {name for name in PROJECTS if changes.expected(name)}
                assert names(server, connection) == there, f"list after change {number}, {kind} of {project}"


def start(live_server: Callable[..., LiveServer], disk: Path, *options: str) -> LiveServer:
    for folder in (disk / "root", disk / "aside"):
        folder.mkdir()
    return live_server(disk / "root", options=options)


def test_each_of_many_changes_shows_in_the_next_answer(tmp_path: Path, live_server):
    """Pages that no change touches are cached meanwhile, and those that one does are not."""
    change_and_ask(start(live_server, tmp_path), tmp_path, CHANGES, rescan=False)


def test_with_a_rescan_time_of_zero_rewrites_and_lists_are_as_exact(tmp_path: Path, live_server):
    change_and_ask(start(live_server, tmp_path, "--rescan", "0"), tmp_path, CHANGES, rescan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_each_change_shows_in_the_next_answer_on_each_file_system(kind: str, mounted, live_server):
    """Some of these tick in nanoseconds after a `stat`, some in milliseconds, some in seconds."""
    disk = mounted(kind)
    server = start(live_server, disk)
    try:
        change_and_ask(server, disk, CHANGES // 4, rescan=False)
    finally:
        server.stop()
