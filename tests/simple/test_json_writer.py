"""Pages of the simple API in JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.json_writer import JSON_CONTENT_TYPE, write_json_list, write_json_page
from twisted_index.simple.model import (
    File,
    ProjectList,
    ProjectPage,
    ProjectStatus,
    Sidecar,
    Status,
    Yanked,
)

SHA256 = "0123456789abcdef" * 4
WHEEL = "demo-1.0-py3-none-any.whl"
HTTPS = "https://index.example/"


def page_of(**fields: Any) -> dict[str, Any]:
    """Write a page and read it as JSON."""
    page: dict[str, Any] = json.loads(write_json_page(ProjectPage(name="demo", **fields)))
    return page


def entry_of(public_url: str | None = None, **fields: Any) -> dict[str, Any]:
    """Write a page with one file and read that file's entry."""
    file = File(**{"filename": WHEEL, "version": "1.0", "size": 1} | fields)
    page = ProjectPage(name="demo", files=(file,), versions=("1.0",))
    entry: dict[str, Any] = json.loads(write_json_page(page, public_url=public_url))["files"][0]
    return entry


# -- The list


def test_the_list_names_each_project_in_the_order_of_the_model() -> None:
    assert json.loads(write_json_list(ProjectList(names=("a", "b")))) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "a"}, {"name": "b"}],
    }


def test_the_list_of_an_empty_index_is_valid() -> None:
    assert json.loads(write_json_list(ProjectList()))["projects"] == []


# -- The page


def test_a_page_is_written_byte_for_byte_as_expected() -> None:
    file = File(
        filename=WHEEL,
        version="1.0",
        hashes={"sha256": SHA256},
        size=7,
        upload_time=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        requires_python=">=3.8",
        core_metadata={"sha256": SHA256},
        yanked=Yanked(reason="été"),
        sidecars=frozenset({Sidecar.SIGNATURE, Sidecar.PROVENANCE}),
    )
    page = ProjectPage(name="demo", files=(file,), versions=("1.0",))

    assert write_json_page(page, public_url=HTTPS).decode() == (
        f'{{"files":[{{"core-metadata":{{"sha256":"{SHA256}"}},"filename":"{WHEEL}","gpg-sig":true,'
        f'"hashes":{{"sha256":"{SHA256}"}},'
        f'"provenance":"https://index.example/simple/demo/{WHEEL}.provenance",'
        '"requires-python":">=3.8","size":7,"upload-time":"2024-01-02T03:04:05Z",'
        f'"url":"{WHEEL}","yanked":"été"}}],'
        '"meta":{"api-version":"1.4"},"name":"demo","project-status":{"status":"active"},'
        '"versions":["1.0"]}\n'
    )


def test_a_file_of_which_little_is_known_has_only_the_mandatory_keys() -> None:
    assert entry_of(size=None) == {"filename": WHEEL, "hashes": {}, "url": WHEEL}


def test_a_page_claims_version_1_4() -> None:
    assert page_of(files=(File(filename=WHEEL, version="1.0", size=0),))["meta"] == {"api-version": "1.4"}


def test_a_page_with_a_file_of_unknown_size_claims_only_version_1_0() -> None:
    files = (File(filename=WHEEL, version="1.0", size=1), File(filename="demo-1.0.tar.gz", version="1.0"))

    assert page_of(files=files)["meta"] == {"api-version": "1.0"}


def test_files_and_versions_keep_the_order_of_the_model() -> None:
    files = tuple(File(filename=f"demo-{v}.tar.gz", version=v, size=1) for v in ("1.9", "1.10"))
    page = page_of(files=files, versions=("1.9", "1.10", "2.0"))

    assert [entry["filename"] for entry in page["files"]] == ["demo-1.9.tar.gz", "demo-1.10.tar.gz"]
    assert page["versions"] == ["1.9", "1.10", "2.0"]


def test_a_project_without_files_is_a_valid_page() -> None:
    page = page_of()

    assert (page["files"], page["versions"], page["meta"]) == ([], [], {"api-version": "1.4"})


def test_a_status_is_told_with_its_reason() -> None:
    page = page_of(status=ProjectStatus(status=Status.DEPRECATED, reason="use\nother\x07"))

    assert page["project-status"] == {"status": "deprecated", "reason": "use other"}


def test_a_quarantined_project_offers_no_files_and_no_versions() -> None:
    files = (File(filename=WHEEL, version="1.0"),)
    page = page_of(files=files, versions=("1.0",), status=ProjectStatus(status=Status.QUARANTINED))

    assert (page["files"], page["versions"]) == ([], [])
    assert page["meta"] == {"api-version": "1.4"}
    assert page["project-status"] == {"status": "quarantined"}


# -- A file


def test_no_hash_but_sha256_is_told() -> None:
    hashes = {"blake2b": "00", "md5": "11", "sha256": SHA256}

    assert entry_of(hashes=hashes)["hashes"] == {"sha256": SHA256}


def test_a_url_is_relative_with_a_plus_escaped() -> None:
    assert entry_of(filename="demo-1.0+x.tar.gz")["url"] == "demo-1.0%2Bx.tar.gz"


def test_core_metadata_of_unknown_digest_is_true() -> None:
    assert entry_of(core_metadata={})["core-metadata"] is True


def test_core_metadata_is_told_under_its_new_name_only() -> None:
    assert "dist-info-metadata" not in entry_of(core_metadata={"sha256": SHA256})


def test_core_metadata_of_an_sdist_is_not_told() -> None:
    assert "core-metadata" not in entry_of(filename="demo-1.0.tar.gz", core_metadata={"sha256": SHA256})


@pytest.mark.parametrize("reason", ["", " ", "\x00", "\n"])
def test_a_yank_without_a_reason_is_true_and_never_an_empty_text(reason: str) -> None:
    assert entry_of(yanked=Yanked(reason=reason))["yanked"] is True


def test_a_yank_reason_is_one_line_without_control_characters() -> None:
    assert entry_of(yanked=Yanked(reason="bad\r\nwheel\x1b"))["yanked"] == "bad wheel"


def test_requires_python_is_told_as_it_is() -> None:
    assert entry_of(requires_python=">=3.8,<4")["requires-python"] == ">=3.8,<4"


def test_an_upload_time_keeps_its_microseconds() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

    assert entry_of(upload_time=moment)["upload-time"] == "2024-01-02T03:04:05.000006Z"


@pytest.mark.parametrize("public_url", [None, "http://index.example/"])
def test_provenance_is_not_told_without_a_public_https_url(public_url: str | None) -> None:
    assert "provenance" not in entry_of(public_url, sidecars=frozenset({Sidecar.PROVENANCE}))


def test_an_upstreams_provenance_is_told_without_a_public_url() -> None:
    url = "https://other.example/demo.provenance"

    assert entry_of(provenance_url=url)["provenance"] == url


def test_bytes_that_are_no_unicode_do_not_cost_the_page() -> None:
    assert entry_of(yanked=Yanked(reason="caf\udce9"))["yanked"] == "caf?"


# -- Whatever comes


FILES = st.builds(
    File,
    filename=st.text(),
    version=st.text(),
    hashes=st.dictionaries(st.sampled_from(["sha256", "md5"]), st.text()),
    size=st.none() | st.integers(min_value=0),
    upload_time=st.none() | st.datetimes(timezones=st.just(UTC)),
    requires_python=st.none() | st.text(),
    core_metadata=st.none() | st.dictionaries(st.sampled_from(["sha256", "md5"]), st.text()),
    yanked=st.none() | st.builds(Yanked, reason=st.text()),
    sidecars=st.frozensets(st.sampled_from(Sidecar)),
    provenance_url=st.none() | st.text(),
)
PAGES = st.builds(
    ProjectPage,
    name=st.text(),
    files=st.lists(FILES, max_size=3).map(tuple),
    versions=st.lists(st.text(), max_size=3).map(tuple),
    status=st.builds(ProjectStatus, status=st.sampled_from(Status), reason=st.text()),
)


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_null(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_null(inner) for inner in value)
    return value is None


@given(PAGES, st.sampled_from([None, HTTPS]))
def test_no_page_ever_holds_a_null(page: ProjectPage, public_url: str | None) -> None:
    assert not has_null(json.loads(write_json_page(page, public_url=public_url)))


@given(PAGES)
def test_a_page_is_one_line_with_its_keys_sorted(page: ProjectPage) -> None:
    written = write_json_page(page)

    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    json.loads(written, object_pairs_hook=lambda pairs: pairs == sorted(pairs, key=lambda p: p[0]) or 1 / 0)


def test_the_content_type_is_that_of_version_1() -> None:
    assert JSON_CONTENT_TYPE == b"application/vnd.pypi.simple.v1+json"
