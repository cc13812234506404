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

from tests.kit import copies
from tests.kit.live_server import HTML, JSON, LiveServer
from tests.kit.object_stores import Rclone
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.config.bucket_location import parse_location
from twisted_index.simple.manifest import format_line
from twisted_index.testing import make_sdist, make_wheel

RESCAN = ("--rescan", "1")
CONSOLE = (sys.executable, "-m", "twisted_index")


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


PROJECTS = ("demo", "flat", "old", "hidden", "claimed", "copied", "large", "gone", "none")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with something of everything."""
    root = tmp_path / "packages"
    demo, wheel, yanked = (
        root / "demo",
        make_wheel("demo", "1.0", requires_python=">=3.8"),
        make_wheel("demo", "0.9"),
    )
    for file in (
        wheel,
        yanked,
        make_sdist("demo", "1.0"),
        make_wheel("demo", "1!2.0"),
        make_wheel("demo", "1.0+a.1"),
    ):
        file.write_to(demo)
    (demo / f"{yanked.filename}.yanked").write_text(
        "kaputt: \N{LATIN SMALL LETTER U WITH DIAERESIS} \N{SNAKE}\n"
    )
    (demo / f"{wheel.filename}.asc").write_bytes(
        b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"
    )
    (demo / f"{wheel.filename}.provenance").write_bytes(b'{"version": 1, "attestation_bundles": []}\n')
    (demo / f"{wheel.filename}.metadata").write_bytes(wheel.metadata)
    (demo / "demo-7.0-py3-none-any.whl").write_bytes(wheel.content[:200])
    (demo / "\N{LATIN SMALL LETTER U WITH DIAERESIS}ber demo.txt").write_text("notes")
    make_wheel("demo", "3.0").write_to(root / "De_Mo")
    make_wheel("demo", "4.0").write_to(root)
    make_wheel("flat", "1.0").write_to(root)
    for project, status in (("old", "archived"), ("hidden", "quarantined")):
        make_wheel(project, "1.0").write_to(root / project)
        (root / project / f".{status}").write_text("vorbei\n")
    (root / "claimed").mkdir()
    (root / "claimed" / ".claimed").touch()
    copies.place(root, make_wheel("copied", "1.0"))
    make_sdist("large", "1.0", files={"large/ballast.bin": os.urandom(20_000_000)}).write_to(root / "large")
    gone = make_wheel("gone", "1.0")
    gone.write_to(root / "gone")
    (root / "gone" / ".deleted").write_bytes(format_line(copies.line_of(gone.filename, gone.content)))
    (root / ".index.toml").write_text('title = "Packages"\n')
    make_wheel("staged", "1.0").write_to(root / ".staged" / "3f2a")
    return root


def page(server: LiveServer, path: str, accept: str) -> str:
    """Give a page without serial numbers, which each server counts from its own start."""
    answer = server.get(path, headers={"Accept": accept})
    assert answer.status == 200
    return re.sub(r'"_last-serial":\d+,', "", answer.text)


def assert_equal(accept: str, first: LiveServer, *others: LiveServer) -> None:
    for path in ("/simple/", *(f"/simple/{project}/" for project in PROJECTS)):
        expected = first.get(path, headers={"Accept": accept})
        for server in others:
            assert server.get(path, headers={"Accept": accept}).status == expected.status, path
            if expected.status == 200:
                assert page(server, path, accept) == page(first, path, accept), path


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
    rclone("sync", remote(ceph), back)
    assert_equal(accept, live_server(packages), bucket, live_server(back))


@pytest.mark.parametrize("accept", [HTML, JSON])
def test_what_was_published_and_changed_is_the_same_after_the_way_out_and_in(
    ceph: str, live_server: Any, rclone: Callable[..., None], tmp_path: Path, accept: str
):
    """Uploads of both sizes, a yank, a status, a deletion: of a bucket in a folder, and that in a bucket."""
    options = ("--upload", "--anonymous-upload")
    bucket, out, again = live_server(ceph, options=options), tmp_path / "out", f"{ceph}-again"
    large = make_sdist("large", "1.0", files={"large/ballast.bin": os.urandom(20_000_000)})
    old, gone = make_wheel("old", "1.0"), make_wheel("gone", "1.0")
    for file in (
        make_wheel("demo", "1.0"),
        make_wheel("demo", "1!0.9"),
        make_wheel("demo", "1.0+a.1"),
        large,
        old,
        gone,
    ):
        assert bucket.upload(file).status == 200
    changes = ("yank", "demo==1!0.9"), ("status", "old", "archived"), ("delete", gone.filename)
    for words in changes:
        subprocess.run([*CONSOLE, *words, "--path", ceph], check=True, timeout=60, cwd=tmp_path)
    rclone("sync", remote(ceph), out)
    rclone("sync", out, remote(again))
    servers = [bucket, *(live_server(place, options=options) for place in (out, again))]
    for project in ("demo", "large", "old"):
        assert all(listed_within(server, f"/simple/{project}/", "href") for server in servers)
    assert_equal(accept, *servers)
    other = make_wheel("gone", "1.0", requires_python=">=3.9")
    assert [server.upload(other).status for server in servers] == [409, 409, 409]
    assert [server.upload(large).status for server in servers] == [200, 200, 200]


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
