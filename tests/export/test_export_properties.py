"""What holds for every export: the server's bytes, whole at each moment, and nothing else touched."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.folder.cutting import cut_after
from tests.kit.properties import examples
from tests.kit.random_changes import PROJECTS, RandomChanges
from twisted_index.errors import Conflict
from twisted_index.export.layout import ExportLayout
from twisted_index.export.server_files import server_files
from twisted_index.testing import make_wheel
from twisted_index.testing.in_memory import IndexInMemory

from .conftest import Site, contents, links, made_site, tick

PUBLIC_URL = "https://index.test/packages"
JSON = "application/vnd.pypi.simple.v1+json"
seeds = st.integers(0, 2**32)
#: More than any export of these needs.
cuts = st.integers(0, 120)
SIDECARS = (".yanked", ".asc", ".provenance")

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


class Changes:
    """Changes of a folder at random, of files and of what belongs to them."""

    def __init__(self, site: Site, seed: int) -> None:
        self._random = Random(seed)
        self._root = site.root
        self._files = RandomChanges(site.root, site.aside, self._random, in_place=True)

    def make(self, number: int) -> None:
        for _ in range(number):
            if self._random.random() < 0.7:
                self._files.make()
            else:
                self._mark()

    def _mark(self) -> None:
        folder = self._root / self._random.choice(PROJECTS)
        if not folder.is_dir():
            return
        wheels = sorted(folder.glob("*.whl"))
        status = folder / self._random.choice([".archived", ".quarantined", ".deprecated"])
        if not wheels or self._random.random() < 0.3:
            status.unlink() if status.exists() else status.write_text("why")
            return
        wheel = self._random.choice(wheels)
        sidecar = wheel.with_name(wheel.name + self._random.choice(SIDECARS))
        sidecar.write_text(f"because {self._random.random()}")


def assert_every_link_resolves(target: Path) -> None:
    for place in links(target):
        assert (target / place).is_file(), place


@given(seeds)
@examples(40)
def test_exported_pages_and_files_are_those_of_the_server(seed: int):
    with tempfile.TemporaryDirectory() as base:
        site = made_site(Path(base))
        Changes(site, seed).make(12)
        site.export(public_url=PUBLIC_URL)
        exported = site.files()
        with IndexInMemory.of_folders(site.root, public_url=PUBLIC_URL) as index:
            expected = served(index)
    own = {".export", *(name for name, _data in server_files(ExportLayout()))}
    assert {path: data for path, data in exported.items() if path not in own} == expected


_OF_SERVERS = rb'"_last-serial":\d+,|<link rel="alternate".*>\n|<form action=.*</form>\n'


def served(index: IndexInMemory) -> dict[str, bytes]:
    """Give what the server sends at each URL of an export."""
    found: dict[str, bytes] = {}

    def add(path: str, url: str, accept: str) -> None:
        headers = {"Accept": accept}
        plain = index.get(url, headers=headers)
        assert plain.status == 200, url
        # Serials belong to one server, and would make equal folders unequal exports. Pages for people are
        # not exported, so nothing leads to them.
        body = found[path] = re.sub(_OF_SERVERS, b"", plain.body)
        packed = index.get(url, headers={**headers, "Accept-Encoding": "gzip"})
        coded = packed.body if body == plain.body else gzip.compress(body, 6, mtime=0)
        if packed.headers.get("Content-Encoding") == "gzip" and len(coded) < len(body):
            found[f"{path}.gz"] = coded

    projects = [name for name in PROJECTS if index.get(f"/simple/{name}/").status == 200]
    for folder in ("simple/", *(f"simple/{name}/" for name in projects)):
        add(f"{folder}index.html", f"/{folder}", "text/html")
        add(f"{folder}index.v1.json", f"/{folder}", JSON)
    for name in projects:
        if index.get(f"/pypi/{name}/json").status == 200:
            add(f"pypi/{name}/json", f"/pypi/{name}/json", "*/*")
        for file in index.get(f"/simple/{name}/", headers={"Accept": JSON}).json()["files"]:
            for suffix in ("", ".metadata", ".asc", ".provenance"):
                path = f"simple/{name}/{file['filename']}{suffix}"
                response = index.get(f"/{path}")
                if response.status == 200:
                    found[path] = response.body
    return found


@given(seeds, st.booleans())
@examples(40)
def test_an_export_after_changes_is_an_export_from_scratch_and_another_one_writes_nothing(
    seed: int, remember: bool
):
    with tempfile.TemporaryDirectory() as base:
        site = made_site(Path(base))
        changes = Changes(site, seed)
        for _ in range(3):
            changes.make(4)
            site.export(remember=remember)
        scratch = Path(base) / "scratch"
        site.export(scratch, remember=False)
        assert site.files() == contents(scratch)
        before = stamps(site.target)
        again = site.export(remember=remember)
        assert (again.written, again.removed, again.is_changed) == ([], [], False)
        assert stamps(site.target) == before


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in folder.rglob("*")}


@given(seeds, cuts, st.booleans())
@examples(100)
def test_a_killed_export_leaves_whole_pages_whose_links_resolve_and_the_next_one_mends_it(
    seed: int, cut: int, links: bool
):
    with tempfile.TemporaryDirectory() as base:
        site = made_site(Path(base))
        changes = Changes(site, seed)
        changes.make(10)
        site.export(links=links)
        whole = pages_of(site.target)
        changes.make(6)
        with cut_after(cut):
            site.export(links=links)
        if not links:
            # What is removed from the folder is gone for links at once.
            assert_every_link_resolves(site.target)
        scratch = Path(base) / "scratch"
        site.export(scratch, remember=False, links=links)
        whole |= pages_of(scratch)
        assert pages_of(site.target) <= whole
        site.export(links=links)
        assert site.files() == contents(scratch)


def pages_of(target: Path) -> set[tuple[str, str]]:
    """Give the path and the digest of each page."""
    return {
        (path, hashlib.sha256(data).hexdigest())
        for path, data in contents(target).items()
        if os.path.basename(path).startswith(("index.", "json"))
    }


@given(seeds, st.one_of(st.just(10_000), cuts))
@examples(60)
def test_nothing_that_no_export_wrote_is_touched(seed: int, cut: int):
    with tempfile.TemporaryDirectory() as base:
        site = made_site(Path(base))
        changes = Changes(site, seed)
        changes.make(8)
        site.export()
        foreign = [
            site.target / "CNAME",
            site.target / "simple" / "readme.txt",
            *(folder / "notes" for folder in site.target.glob("simple/*/")),
        ]
        wheels = sorted(site.target.glob("simple/*/*.whl"))
        for path in [*foreign, *wheels[:1]]:
            path.write_bytes(b"of another hand")
        before = {path: path.read_bytes() for path in [*foreign, *wheels[:1]]}
        changes.make(6)
        tick()
        with cut_after(cut), contextlib.suppress(Conflict):
            site.export()
        assert {path: path.read_bytes() for path in before} == before


def test_a_project_that_goes_leaves_the_list_before_its_page_and_its_files(site: Site):
    for number in (1, 2):
        made = make_wheel(f"gone-{number}", "1.0")
        (site.root / f"gone-{number}").mkdir()
        made.write_to(site.root / f"gone-{number}")
    site.export()
    for path in site.root.rglob("*.whl"):
        path.unlink()
    total = 0
    while True:
        with cut_after(total) as made_calls:
            site.export()
            break
        assert_every_link_resolves(site.target)
        total += 1
    assert made_calls() <= total
    assert not list(site.target.rglob("*.whl"))
