"""The command that says why a project is as it is: from the folders, and from the cache of the server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.kit.bucket_indexes import copy_folder
from tests.kit.memory_bucket import MemoryBucket
from twisted_index.server import buckets
from twisted_index.testing import RunningIndex, make_sdist, make_wheel

#: Runs a subcommand; gives exit code, standard output and standard error.
Command: TypeAlias = Callable[..., tuple[int, str, str]]

ONE, TWO = make_wheel("demo", "1.0", requires_python=">=3.12"), make_sdist("demo", "2.0")


@pytest.fixture(autouse=True)
def _own(without_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for file in (ONE, TWO):
        file.write_to(tmp_path / "packages" / "demo")
    path = tmp_path / "packages" / "demo" / TWO.filename
    path.write_bytes(path.read_bytes()[:-20])


def files(command: Command, *words: str) -> dict[str, Any]:
    _code, out, _err = command("why", "--json", *words)
    return {file["filename"]: file["hidden_by"] for file in json.loads(out)["files"]}


def test_text_says_what_is_listed_and_what_is_not(command: Command):
    code, out, err = command("why", "demo", "--path", "packages")
    assert (code, err) == (0, "")
    assert "The name is taken by folder packages, because of demo/" in out
    assert f"{ONE.filename}  listed\n" in out
    assert "left out (refused)" in out


def test_one_version_is_enough_and_without_a_listed_file_it_fails(command: Command):
    assert files(command, "Demo==1", "--path", "packages") == {ONE.filename: None}
    assert command("why", "demo==2.0", "--path", "packages")[0] == 1
    assert command("why", "nothing", "--path", "packages")[0] == 1


def test_what_does_not_fit_a_python_is_said(command: Command):
    said = command("why", "demo", "--path", "packages", "--python", "3.11")[1]
    assert f"{ONE.filename}  listed: It does not fit Python 3.11.\n" in said
    assert "does not fit" not in command("why", "demo", "--path", "packages", "--python", "3.12")[1]


def test_nothing_is_kept_or_made(command: Command, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    command("why", "demo", "--path", "packages", "--state", "none")
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == before


@pytest.mark.parametrize(
    "words",
    [
        ("demo==",),
        ("a/b",),
        ("demo", "--path", "nowhere"),
        ("demo", "--python", "new"),
        ("demo", "--index", "../x"),
    ],
)
def test_a_mistake_is_one_line(command: Command, words: tuple[str, ...]):
    code, out, err = command("why", *words)
    assert (code, out) == (64, "")
    assert err.startswith("twisted-index: ")
    assert err.count("\n") == 1


def test_a_bucket_is_named_and_says_what_hides_a_file(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bucket = MemoryBucket("s3://bucket/packages")
    copy_folder(tmp_path / "packages", bucket)
    monkeypatch.setattr(buckets, "StoreBucket", lambda *_arguments, **_options: bucket)
    code, out, err = command("why", "demo", "--path", bucket.url, "--state", "none")
    assert (code, err) == (0, "")
    folder = command("why", "demo", "--path", "packages", "--state", "none")[1]
    assert out == folder.replace("folder packages", "bucket s3://bucket/packages")


# -- Upstreams


@pytest.fixture
def upstream(tmp_path: Path) -> Any:
    with RunningIndex() as upstream:
        upstream.add_wheel("theirs", "1.0")
        (tmp_path / "server.toml").write_text(
            f'path = "packages"\nstate = "state"\nupstream = "{upstream.url}"\n'
        )
        (tmp_path / "state").mkdir()
        yield upstream


def test_an_upstream_is_asked_only_with_ask_and_then_known_from_the_cache(command: Command, upstream: Any):
    code, out, err = command("why", "theirs", "--config", "server.toml")
    assert code == 1
    assert "Its page is not in the cache, and the upstream was not asked." in out
    assert "--ask" in err

    assert command("why", "theirs", "--config", "server.toml", "--ask")[0] == 0
    upstream.stop()
    assert files(command, "theirs", "--config", "server.toml") == {"theirs-1.0-py3-none-any.whl": None}


# -- Indexes


def test_an_index_is_explained_with_its_bases_and_files_name_theirs(command: Command, tmp_path: Path):
    indexes = tmp_path / "indexes"
    (indexes / "dev").mkdir(parents=True)
    shutil.move(tmp_path / "packages", indexes / "prod")
    (indexes / "dev" / ".index.toml").write_text('bases = ["prod"]')
    make_wheel("demo", "3.0").write_to(indexes / "dev" / "demo")
    code, out, _err = command("why", "demo", "--indexes", "indexes", "--index", "dev", "--json")
    found = json.loads(out)
    assert code == 0
    assert [(one["name"], one["says"]) for one in found["sources"]] == [
        ("index dev", "has 1 file of it"),
        ("index prod", "has 2 files of it"),
    ]
    assert {file["filename"]: file["index"] for file in found["files"]} == {
        ONE.filename: "prod",
        TWO.filename: "prod",
        "demo-3.0-py3-none-any.whl": "dev",
    }


def test_an_index_that_is_not_there_is_one_line(command: Command, tmp_path: Path):
    (tmp_path / "indexes").mkdir()
    code, _out, err = command("why", "demo", "--indexes", "indexes", "--index", "dev")
    assert (code, err.count("\n")) == (1, 1)
