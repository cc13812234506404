"""A server whose packages lie in a bucket of Ceph, beside one whose packages lie in a folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.kit.live_server import HTML, JSON, LiveServer
from tests.kit.object_stores import Rclone
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.config.bucket_location import parse_location
from twisted_index.testing import make_sdist, make_wheel

RESCAN = ("--rescan", "1")


@pytest.fixture
def rclone(tmp_path: Path) -> Callable[..., None]:
    """Run rclone, which finds the store as `ceph:` by the variables that the server reads."""
    program = Rclone.program()
    if program is None:
        pytest.skip(f"rclone is not installed here: {Rclone.needs}")

    def run(*words: str | Path) -> None:
        environment = os.environ | {
            "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
            "RCLONE_CONFIG_CEPH_TYPE": "s3",
            "RCLONE_CONFIG_CEPH_PROVIDER": "Ceph",
            "RCLONE_CONFIG_CEPH_ENV_AUTH": "true",
            "RCLONE_CONFIG_CEPH_ENDPOINT": os.environ["AWS_ENDPOINT_URL"],
        }
        subprocess.run([program, *map(str, words)], env=environment, check=True, timeout=60)

    return run


def remote(url: str) -> str:
    return url.replace("s3://", "ceph:")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with something of most things."""
    root = tmp_path / "packages"
    wheel = make_wheel("demo", "1.0", requires_python=">=3.8")
    yanked = make_wheel("demo", "0.9")
    for file in (wheel, yanked, make_sdist("demo", "1.0")):
        file.write_to(root / "demo")
    (root / "demo" / f"{yanked.filename}.yanked").write_text("broken\n")
    (root / "demo" / f"{wheel.filename}.asc").write_bytes(b"signature")
    make_wheel("flat", "1.0").write_to(root)
    make_wheel("old", "1.0").write_to(root / "old")
    (root / "old" / ".archived").touch()
    return root


def page(server: LiveServer, path: str, accept: str) -> str:
    """Give a page without serial numbers, which each server counts from its own start."""
    answer = server.get(path, headers={"Accept": accept})
    assert answer.status == 200
    return re.sub(r'"_last-serial":\d+,', "", answer.text)


def listed_within(server: LiveServer, path: str, text: str, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while text not in (answer := server.get(path)).text:
        if time.monotonic() > end:
            return False
        assert answer.status in (200, 404)
        time.sleep(0.1)
    return True


def test_what_rclone_copies_into_the_bucket_is_listed(
    ceph: str, live_server: Any, rclone: Callable[..., None], tmp_path: Path
):
    server = live_server(ceph, options=RESCAN)
    assert server.get("/simple/demo/").status == 404
    wheel = make_wheel("demo", "1.0")
    wheel.write_to(tmp_path)
    rclone("copy", tmp_path / wheel.filename, f"{remote(ceph)}/demo")
    assert listed_within(server, "/simple/demo/", wheel.filename)


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_a_folder_and_its_copy_in_the_bucket_and_a_copy_of_that_have_equal_pages(
    ceph: str, live_server: Any, rclone: Callable[..., None], packages: Path, tmp_path: Path, accept: str
):
    rclone("sync", packages, remote(ceph))
    bucket, back = live_server(ceph), tmp_path / "back"
    for project in ("demo", "flat", "old"):
        assert listed_within(bucket, f"/simple/{project}/", "href")
    rclone("sync", remote(ceph), back, "--exclude", ".learned/**")
    servers = [bucket, live_server(packages), live_server(back)]
    for path in ("/simple/", "/simple/demo/", "/simple/flat/", "/simple/old/"):
        first, *others = (page(server, path, accept) for server in servers)
        assert others == [first, first], path


def test_files_and_their_ranges_are_those_of_the_folder(
    ceph: str, live_server: Any, rclone: Callable[..., None], packages: Path
):
    rclone("sync", packages, remote(ceph))
    servers = live_server(ceph), live_server(packages)
    files = json.loads(servers[1].get("/simple/demo/", headers={"Accept": JSON}).body)["files"]
    for file in files:
        path = urljoin("/simple/demo/", file["url"])
        for headers in ({}, {"Range": "bytes=10-99"}, {"Range": "bytes=-7"}):
            ours, folders = (server.get(path, headers=headers) for server in servers)
            assert (ours.status, ours.body) == (folders.status, folders.body), path


@pytest.mark.parametrize("command", [("-m", "pip", "install"), ("-m", "uv", "pip", "install")])
def test_installers_install_from_the_bucket(
    ceph: str, live_server: Any, tmp_path: Path, command: tuple[str, ...]
):
    bucket = StoreBucket(parse_location(ceph))
    for wheel in (make_wheel("demo", "1.0", requires=["needed>=2"]), make_wheel("needed", "2.0")):
        bucket.put(f"{wheel.project}/{wheel.filename}", wheel.content, metadata={})
    target = tmp_path / "installed"
    index = ("--index-url", live_server(ceph).simple, "--target", str(target))
    words = [sys.executable, *command, "--no-cache-dir", *index, "demo"]
    subprocess.run(words, check=True, timeout=120, cwd=tmp_path)
    assert {path.name for path in target.glob("*.dist-info")} == {
        "demo-1.0.dist-info",
        "needed-2.0.dist-info",
    }
