"""Pages of other indexes, read from JSON."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.json_parser import parse_json_page
from twisted_index.simple.model import ProjectStatus, Status, Yanked
from twisted_index.simple.parsed import InvalidPage, ParsedFile, ParsedPage

SHA256 = "0123456789abcdef" * 4


def read(page: Any) -> ParsedPage:
    return parse_json_page(json.dumps(page).encode())


def file_of(**fields: Any) -> ParsedFile:
    page = read({"files": [{"url": "a-1.tar.gz"} | {key.replace("_", "-"): v for key, v in fields.items()}]})
    return page.files[0]


def test_a_file_is_read_with_all_that_is_said_of_it() -> None:
    file = file_of(
        filename="a-1.tar.gz",
        hashes={"sha256": SHA256.upper()},
        size=7,
        upload_time="2024-01-02T03:04:05.678Z",
        requires_python=">=3.8",
        core_metadata={"sha256": SHA256},
        yanked="broken",
        gpg_sig=True,
        provenance="https://pypi.example/p",
    )

    assert file == ParsedFile(
        url="a-1.tar.gz",
        name="a-1.tar.gz",
        hashes={"sha256": SHA256},
        size=7,
        upload_time=datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        requires_python=">=3.8",
        core_metadata={"sha256": SHA256},
        yanked=Yanked(reason="broken"),
        signed=True,
        provenance_url="https://pypi.example/p",
    )


@pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
def test_core_metadata_is_found_under_each_name_that_it_ever_had(key: str) -> None:
    assert read({"files": [{"url": "u", key: True}]}).files[0].core_metadata == {}


def test_the_present_name_of_core_metadata_counts_before_the_old_one() -> None:
    assert file_of(core_metadata=False, dist_info_metadata=True).core_metadata is None


@pytest.mark.parametrize(
    "fields",
    [
        {"size": "7"},
        {"size": True},
        {"size": -1},
        {"size": 10**30},
        {"size": 1.5},
        {"upload_time": "2024-01-02T03:04:05"},
        {"upload_time": "yesterday"},
        {"upload_time": 7},
        {"upload_time": "0001-01-01T00:00:00+23:59"},
        {"requires_python": "three"},
        {"requires_python": ["3"]},
        {"requires_python": ">=3," * 1000},
        {"requires_python": "===\udcff"},
        {"requires_python": "===\u00e9"},
        {"hashes": None},
        {"hashes": ["sha256"]},
        {"hashes": {"sha256": "00"}},
        {"hashes": {"sha256": 7}},
        {"hashes": {"rot13": SHA256}},
        {"hashes": {"blake2b": SHA256}},
        {"core_metadata": "yes"},
        {"core_metadata": None},
        {"yanked": None},
        {"yanked": ""},
        {"yanked": {}},
        {"provenance": "http://pypi.example/p"},
        {"provenance": "/p"},
        {"provenance": "https://me:secret@pypi.example/p"},
        {"gpg_sig": "false"},
    ],
)
def test_a_value_that_is_wrong_is_left_out_and_costs_nothing_else(fields: dict[str, Any]) -> None:
    assert file_of(**fields) == ParsedFile(url="a-1.tar.gz")


@pytest.mark.parametrize("entry", [None, 7, "a-1.tar.gz", [], {}, {"url": None}, {"url": ["u"]}])
def test_an_entry_that_is_wrong_costs_no_other(entry: Any) -> None:
    assert [file.url for file in read({"files": [entry, {"url": "good"}]}).files] == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"files": null}',
        b'{"files": {}}',
        b'{"files": [}',
        b"\xff\xfe\xfd",
        b"[" * 200_000,
        b'{"files": [' + b"9" * 5000 + b"]}",
        b"<!DOCTYPE html>",
        b'{"meta": {"api-version": "2.0"}, "files": []}',
    ],
)
def test_a_page_without_a_list_of_files_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidPage):
        parse_json_page(body)


def test_a_status_is_read_where_the_prose_and_where_the_example_of_the_specification_has_it() -> None:
    archived = ProjectStatus(status=Status.ARCHIVED, reason="old")

    assert read({"files": [], "project-status": {"status": "archived", "reason": "old"}}).status == archived
    meta = {"project-status": "archived", "project-status-reason": "old"}
    assert read({"files": [], "meta": meta}).status == archived


@pytest.mark.parametrize("status", [None, 7, "archived", {"status": "new"}, {"status": []}])
def test_a_status_that_is_not_known_is_active(status: Any) -> None:
    assert read({"files": [], "project-status": status}).status == ProjectStatus()


def test_a_text_that_cannot_be_encoded_is_made_so_that_it_can() -> None:
    page = parse_json_page(b'{"files": [{"url": "u", "yanked": "\\ud800 a\\nb"}]}')

    assert page.files[0].yanked == Yanked(reason="? a b")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_keys = st.sampled_from(
    [
        "url",
        "filename",
        "hashes",
        "size",
        "upload-time",
        "requires-python",
        "core-metadata",
        "yanked",
        "provenance",
        "gpg-sig",
    ]
)


@given(files=st.lists(_json | st.dictionaries(_keys, _json)), meta=_json, versions=_json, status=_json)
def test_whatever_the_values_are_the_page_is_read(files: Any, meta: Any, versions: Any, status: Any) -> None:
    page = {"files": files, "meta": meta, "versions": versions, "project-status": status}
    with contextlib.suppress(InvalidPage):
        assert len(read(page).files) <= len(files)


@given(body=st.binary())
def test_bytes_of_any_kind_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidPage):
        parse_json_page(body)
