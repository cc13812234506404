"""Commands that need folders say so of a bucket, and make no folder of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Console

URL = "s3://bucket/packages"


@pytest.fixture(autouse=True)
def folder(console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    for name, value in {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "check --path {} --state none",
        "check --dependencies --path {} --state none",
        "export out --path {} --state none",
        "snapshot create one --path {} --state none",
        "snapshot list --path {} --state none",
        "draft create one --path {} --state none",
        "draft list --path {} --state none",
        "draft list --indexes {} --index dev --state none",
        "snapshot list --indexes {} --index dev --state none",
    ],
)
def test_what_reads_folders_says_how_a_bucket_becomes_one(console: Console, folder: Path, line: str):
    code, out, err = console.told(*line.format(URL).split())
    assert (code, out) == (64, "")
    assert err == (
        f"twisted-index: This needs packages in folders, and {URL} is a bucket: copy it to a folder first,"
        " such as by rclone sync, and give that instead.\n"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("download --path {} demo", "--path"),
        ("download --path here --state {} demo", "--state"),
        ("export {} --path . --state none", "DIR"),
        ("refresh --cache {} demo", "--cache"),
        ("check --path . --state {}", "--state"),
        ("status demo --path . --state s3:/bucket", "--state"),
    ],
)
def test_what_fills_folders_takes_no_bucket(console: Console, folder: Path, line: str, option: str):
    code, out, err = console.told(*line.format(URL).split())
    assert (code, out) == (64, "")
    assert err.startswith(f"twisted-index: {option}: s3:/")
    assert err.endswith(" is a bucket, where a local path is needed; rclone copies between the two.\n")
    assert [path.name for path in folder.iterdir() if path.name != "here"] == []


def test_a_mirror_goes_into_no_bucket(console: Console, folder: Path, tmp_path: Path):
    rules = tmp_path / "mirror.toml"
    rules.write_text(
        f'from = "https://index.example/simple/"\ninto = "{URL}"\n[[take]]\nprojects = ["demo"]\n'
    )
    code, _out, err = console.told("mirror", str(rules), "--state", str(tmp_path / "state"))
    assert code == 64
    assert f"into: {URL} is a bucket" in err
    assert list(folder.iterdir()) == []
