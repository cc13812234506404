"""A folder and a bucket with equal content have equal pages, and a bad store never makes one shorter."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.backends.object_store.shelf import Node
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.backends.folder.source import FolderSource
from twisted_index.errors import SimpleIndexError
from twisted_index.indexes.composite import explain
from twisted_index.interfaces import ISource
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import SynchronousRunner, make_sdist, make_wheel

_PROJECTS = ("foo", "foobar", "zope-other")
_FOLDERS = {"foo": ("foo", "Foo", ""), "foobar": ("foobar", ""), "zope-other": ("zope.other", "Zope_Other")}


def _contents(chance: random.Random) -> dict[str, bytes]:
    """Make up what a folder holds: files, sidecars, marks, and what belongs nowhere."""
    files: dict[str, bytes] = {}
    for _ in range(chance.randrange(1, 14)):
        project = chance.choice(_PROJECTS)
        build = chance.choice([make_wheel, make_sdist])
        file = build(project, f"1.{chance.randrange(4)}", requires_python=chance.choice([None, ">=3.9"]))
        folder = chance.choice(_FOLDERS[project])
        key = f"{folder}/{file.filename}".lstrip("/")
        files[key] = file.content if chance.random() < 0.8 else file.content[: chance.randrange(200)]
        for suffix in (".yanked", ".asc", ".provenance", ".deleted"):
            if chance.random() < 0.15:
                files[key + suffix] = chance.choice([b"", b"a reason\n", b"\xff\xfe", b"x" * 5000])
        line = f"{file.sha256}  {len(file.content)}  2026-01-01T00:00:00Z  {file.filename}\n".encode()
        for name in (".copies", ".deleted"):
            if folder and chance.random() < 0.15:
                files[f"{folder}/{name}"] = line
        for name in (".archived", ".deprecated", ".quarantined", ".claimed", "notes.txt", "sub/foo-9.tar.gz"):
            if folder and chance.random() < 0.07:
                files[f"{folder}/{name}"] = b"why"
    return files


def _timeless(page: ProjectPage | None) -> ProjectPage | None:
    if page is None:
        return None
    return replace(page, files=tuple(replace(file, upload_time=None) for file in page.files))


def _in_folder(path: Path, files: dict[str, bytes]) -> FolderSource:
    for key, content in files.items():
        target = path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    at_once = SynchronousRunner()
    return FolderSource(path, reactor=Clock(), reader=at_once, cache_thread=at_once)


def _in_bucket(files: dict[str, bytes]) -> MemoryBucket:
    bucket = MemoryBucket()
    for key, content in files.items():
        bucket.place(key, content)
    return bucket


@pytest.mark.parametrize("seed", range(60))
def test_pages_and_problems_are_those_of_the_folder(seed: int, tmp_path: Path):
    files = _contents(random.Random(seed))
    folder = _in_folder(tmp_path, files)
    node = Node(_in_bucket(files))
    try:
        for project in (*_PROJECTS, "not-there"):
            expected = answer(folder.project_page, project).value
            assert _timeless(node.page(project)) == _timeless(expected), project
        assert node.names() == answer(folder.project_list).value.names
        expected_problems = {each.path: each.reason for each in answer(folder.problems).problems}
        assert node.problems() == expected_problems
    finally:
        answer(folder.stop)


def _why(source: ISource, project: str) -> tuple[object, ...]:
    found = answer(explain, source, project)
    sources = [(one.kind, one.says, one.claims, one.entry, one.index) for one in found.sources]
    hidden = sorted(found.hidden, key=lambda file: (file.path, file.filename, file.reason))
    return found.error, sources, hidden, found.paths, _timeless(found.page)


@pytest.mark.parametrize("seed", range(60))
def test_what_hides_files_is_said_as_of_the_folder(seed: int, tmp_path: Path):
    files = _contents(random.Random(seed))
    folder, node = _in_folder(tmp_path, files), Node(_in_bucket(files))
    try:
        for project in (*_PROJECTS, "not-there"):
            assert _why(node.source, project) == _why(folder, project), project
    finally:
        answer(folder.stop)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_a_store_that_fails_at_any_call_makes_no_page_shorter(
    seed: int, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    if is_large:
        monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)
    monkeypatch.setattr("twisted_index.backends.object_store.object_inspection._WHOLE", 1000)
    files = _contents(random.Random(seed))
    expected = {project: Node(_in_bucket(files)).page(project) for project in _PROJECTS}
    for skip in range(40):
        bucket = _in_bucket(files)
        bucket.fail(skip=skip, times=3)
        node = Node(bucket)
        for _ in range(4):
            for project in _PROJECTS:
                assert _answer_of(node, project) in (expected[project], 503)
            node.later(2.5)


def _answer_of(node: Node, project: str) -> ProjectPage | int | None:
    """Return the page, or the status of the error."""
    try:
        return node.page(project)
    except SimpleIndexError as error:
        return error.status
