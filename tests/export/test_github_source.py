"""Exports of releases: what pages say, and that they are whole at each moment. Over sockets: tests/cli."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.folder.cutting import cut_after
from tests.kit.properties import examples
from twisted_index.errors import BadGateway
from twisted_index.export.exporter import Exporter, ExportResult
from twisted_index.export.layout import ExportLayout
from twisted_index.export.memory import ExportMemory
from twisted_index.export.release_memory import ReleaseMemory
from twisted_index.export.release_pages import Content, ReadAsset, ReleaseReader
from twisted_index.export.target import ExportTarget
from twisted_index.github.model import Asset
from twisted_index.github.release_files import ReleaseFile
from twisted_index.simple.core_metadata import CoreMetadata
from twisted_index.simple.names import parse_filename

from .conftest import contents

WEB = "https://forge.example/octo/wheels/releases/download"
API = "https://api.forge.example/repos/octo/wheels/releases/assets"
SHA256 = "1" * 64
WHEEL = "demo-1.0-py3-none-any.whl"
SUFFIXES = {"metadata": ".metadata", "signature": ".asc", "provenance": ".provenance"}


def asset(name: str, tag: str = "v1.0", number: int = 1, **changes: Any) -> Asset:
    made = Asset(
        id=number,
        name=name,
        size=10,
        sha256=SHA256,
        created_at=datetime(2025, 6, 1, tzinfo=UTC),
        updated_at="2025-06-01T00:00:00Z",
        url=f"{API}/{number}",
        download_url=f"{WEB}/{tag}/{name}",
    )
    return replace(made, **changes)


def read(made: Asset, filename: str | None = None, **changes: Any) -> ReadAsset:
    """A distribution as it is read, with the headers that its name promises."""
    found = parse_filename(filename or made.name)
    file = ReleaseFile(filename=found.filename, project=found.project, version=found.version, asset=made)
    names = {"metadata", "signature", "provenance"}
    file = replace(file, **{name: changes.pop(name) for name in names & changes.keys()})
    headers = None
    if found.filename.endswith(".whl"):
        headers = CoreMetadata(name=found.project, version=found.version, requires_python=">=3.9")
    return replace(ReadAsset(asset=made, file=file, sha256=made.sha256 or SHA256, headers=headers), **changes)


def export(target: Path, assets: Iterable[ReadAsset], listed: Any = (), **layout: Any) -> ExportResult:
    reader = ReleaseReader(assets, dict(listed))
    made = ExportLayout(files_url=reader.urls, **layout)
    opened = contextlib.nullcontext(reader)
    return Exporter(lambda: opened, made, ExportTarget(str(target)), ExportMemory(None, b"")).run()


def listed_file(target: Path) -> dict[str, Any]:
    (file,) = json.loads((target / "simple/demo/index.v1.json").read_bytes())["files"]
    return dict(file)


def test_what_belongs_to_a_file_is_promised_where_clients_look_for_it(tmp_path: Path):
    sidecars = {name: asset(f"{WHEEL}{suffix}") for name, suffix in SUFFIXES.items()}
    export(tmp_path, [read(asset(WHEEL), metadata_sha256="2" * 64, **sidecars)])
    file = listed_file(tmp_path)
    assert (file["core-metadata"], file["gpg-sig"]) == ({"sha256": "2" * 64}, True)
    assert file["provenance"] == f"{WEB}/v1.0/{WHEEL}.provenance"


def test_what_hangs_elsewhere_is_not_promised(tmp_path: Path):
    sidecars = {name: asset(f"{WHEEL}{suffix}", tag="other") for name, suffix in SUFFIXES.items()}
    export(tmp_path, [read(asset(WHEEL), metadata_sha256="2" * 64, **sidecars)])
    assert not listed_file(tmp_path).keys() & {"core-metadata", "gpg-sig"}


def test_a_file_without_a_url_for_everyone_makes_no_page_shorter():
    with pytest.raises(BadGateway, match="gives no URL of demo"):
        ReleaseReader([read(asset(WHEEL, download_url=""))], {})


def test_a_file_keeps_the_digest_with_which_it_was_listed_also_after_it_was_away(tmp_path: Path):
    before = ReleaseReader([read(asset(WHEEL))], {})
    away = ReleaseReader([], before.listed)
    changed = ReleaseReader([read(asset(WHEEL, sha256="2" * 64, size=11, number=2))], away.listed)
    assert changed.refused == [WHEEL]
    assert changed.listed == {WHEEL: Content(SHA256, 10)}
    export(tmp_path, [read(asset(WHEEL, sha256="2" * 64, size=11))], changed.listed)
    assert (listed_file(tmp_path)["hashes"], listed_file(tmp_path)["size"]) == ({"sha256": SHA256}, 10)


def test_a_memory_is_read_as_it_was_written(tmp_path: Path):
    path, made = str(tmp_path / "memory"), asset(WHEEL, sha256=None)
    memory = ReleaseMemory(path, "github:octo/wheels")
    memory.learn_digest(made, SHA256)
    headers = memory.learn(made, CoreMetadata(name="demo", version="1.0", requires_python=None))
    memory.listed = {WHEEL: Content(SHA256, 10)}
    memory.save()
    again = ReleaseMemory(path, "github:octo/wheels")
    again.load()
    assert (again.digest(made), again.headers_of(made), again.listed) == (SHA256, headers, memory.listed)


def test_what_is_known_of_an_asset_counts_for_the_same_bytes_only(tmp_path: Path):
    memory, made = ReleaseMemory(None, ""), asset(WHEEL, sha256=None)
    memory.learn_digest(made, SHA256)
    for changes in ({"id": 2}, {"size": 11}, {"updated_at": "2026"}):
        assert memory.digest(replace(made, **changes)) is None


@pytest.mark.parametrize("word", ["github:octo/other", "forgejo+https://forge.example/api/v1:octo/wheels"])
def test_a_memory_of_another_repository_counts_for_nothing(tmp_path: Path, word: str):
    path, made = str(tmp_path / "memory"), asset(WHEEL, sha256=None)
    memory = ReleaseMemory(path, "github:octo/wheels")
    memory.learn_digest(made, SHA256)
    memory.save()
    again = ReleaseMemory(path, word)
    again.load()
    assert again.digest(made) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": 1, "repository": "r", "digests": [], "headers": 1}', b"\xff"]
)
def test_a_damaged_memory_of_releases_counts_for_nothing(tmp_path: Path, content: bytes):
    path = tmp_path / "memory"
    path.write_bytes(content)
    memory = ReleaseMemory(str(path), "r")
    memory.load()
    assert (memory.headers, memory.listed) == ({}, {})
    memory.save()
    assert json.loads(path.read_bytes())["repository"] == "r"


def random_assets(random: Random) -> list[ReadAsset]:
    names = [
        f"{project}-{version}{end}"
        for project in ("demo", "other", "third")
        for version in ("1.0", "1.1", "2.0")
        for end in ("-py3-none-any.whl", ".tar.gz")
    ]
    chosen = random.sample(names, random.randrange(len(names)))
    return [read(asset(name, number=number, size=number)) for number, name in enumerate(chosen)]


@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
@examples(60)
def test_a_killed_export_leaves_whole_pages_and_the_next_one_mends_it(seed: int, cut: int, json_only: bool):
    random = Random(seed)
    with tempfile.TemporaryDirectory() as base:
        target, before, after = Path(base) / "site", random_assets(random), random_assets(random)
        whole = set()
        for number, assets in enumerate((before, after)):
            scratch = Path(base) / f"scratch-{number}"
            export(scratch, assets, json_only=json_only)
            whole |= {pair for pair in contents(scratch).items() if pair[0] != ".export"}
        export(target, before, json_only=json_only)
        with cut_after(cut):
            export(target, after, json_only=json_only)
        left = {path: data for path, data in contents(target).items() if not path.startswith(".export")}
        assert left.items() <= whole
        export(target, after, json_only=json_only)
        assert contents(target) == contents(scratch)
        assert not export(target, after, json_only=json_only).is_changed
