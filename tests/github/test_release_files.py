"""Which asset is which file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from twisted_index.github.model import Asset, Release
from twisted_index.github.release_files import OTHER_CONTENT, release_files

OTHER = {"demo": {OTHER_CONTENT: 1}}
WHEEL = "demo-1.0+cu12-py3-none-any.whl"


def asset(number: int, name: str, label: str = "", sha256: str | None = None, **more: Any) -> Asset:
    made = datetime(2026, 1, number % 28 + 1, tzinfo=UTC)
    plain: dict[str, Any] = {"id": number, "name": name, "label": label, "sha256": sha256}
    return Asset(**plain | {"url": f"https://a/{number}", "created_at": made} | more)


def release(*assets: Asset, number: int = 1) -> Release:
    return Release(id=number, tag=f"v{number}", url="https://r/1", assets=assets)


def names(*assets: Asset) -> dict[str, list[str]]:
    """Give the file names of each project."""
    files = release_files([release(*assets)]).projects
    return {project: [file.filename for file in members] for project, members in files.items()}


def test_distributions_are_found_by_project_and_other_assets_are_ignored():
    found = names(
        asset(1, "Demo-1.0.tar.gz"),
        asset(2, "demo-1.0-py3-none-any.whl"),
        asset(3, "other_one-2.0.zip"),
        asset(4, "SHA256SUMS"),
        asset(5, "tool-linux-amd64.tar.gz"),
    )
    assert found == {
        "demo": ["Demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl"],
        "other-one": ["other_one-2.0.zip"],
    }


@pytest.mark.parametrize(
    ("name", "label", "filename"),
    [
        ("demo-1.0.cu12-py3-none-any.whl", WHEEL, WHEEL),
        ("demo-1.0.2.tar.gz", "demo-1.0+2.tar.gz", "demo-1.0+2.tar.gz"),
        ("demo-1.2.0-py3-none-any.whl", "demo-1!2.0-py3-none-any.whl", "demo-1!2.0-py3-none-any.whl"),
        (WHEEL, "The wheel", WHEEL),
        (WHEEL, WHEEL, WHEEL),
        ("demo-1.0.tar.gz", "other-9.0.tar.gz", "demo-1.0.tar.gz"),
    ],
)
def test_a_label_counts_if_the_name_may_have_been_made_of_it(name: str, label: str, filename: str):
    assert names(asset(1, name, label)) == {"demo": [filename]}


def test_a_wheel_without_a_valid_name_is_left_to_its_content():
    found = release_files([release(asset(1, "demo-1.0.cu12-py3-none-any.whl", "CUDA"))])
    assert (found.projects, [wheel.id for wheel in found.unnamed["demo"]]) == ({}, [1])


def test_sidecars_belong_to_the_file_of_the_same_release():
    extra = [asset(2, f"{WHEEL}.metadata"), asset(3, f"{WHEEL}.asc")]
    lone = asset(4, "demo-1.0.cu12-py3-none-any.whl.provenance", f"{WHEEL}.provenance")
    releases = [release(asset(1, WHEEL), *extra, lone), release(asset(5, "demo-2.0.tar.gz"), number=2)]
    first, second = release_files(releases).projects["demo"]

    assert [part.id for part in (first.metadata, first.signature, first.provenance) if part] == [2, 3, 4]
    assert (second.metadata, second.signature, second.provenance) == (None, None, None)


def test_sidecars_of_a_renamed_file_have_been_renamed_too():
    renamed = asset(1, "demo-1.0.cu12-py3-none-any.whl", WHEEL)
    document = asset(2, "demo-1.0.cu12-py3-none-any.whl.metadata")
    assert release_files([release(renamed, document)]).projects["demo"][0].metadata is document


@pytest.mark.parametrize(
    ("older", "newer", "problems"),
    [
        ("aa", "aa", {}),
        ("aa", "bb", OTHER),
        (None, None, OTHER),
    ],
)
def test_of_files_with_one_name_the_oldest_counts(older: str | None, newer: str | None, problems: object):
    releases = [
        release(asset(2, "demo-1.0.tar.gz", sha256=newer), number=2),
        release(asset(1, "demo-1.0.tar.gz", sha256=older), number=1),
    ]
    found = release_files(releases)

    assert [file.asset.id for file in found.projects["demo"]] == [1]
    assert found.left_out == problems
