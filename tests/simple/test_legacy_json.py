"""Projects in the legacy JSON API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.legacy_json import find_version, latest_version, parse_core_metadata, write_project
from twisted_index.simple.model import File, ProjectPage, ProjectStatus, Sidecar, Status, Yanked

SHA256 = "0123456789abcdef" * 4
METADATA = """\
Metadata-Version: 2.4
Name: De.mo
Version: 1.0
Summary: A demonstration
Keywords: one,two
Home-page: https://demo.example/
Author-email: Ann <ann@demo.example>
License-Expression: MIT
License-File: LICENSE
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Requires-Dist: attrs>=20
Requires-Dist: rich; extra == "color"
Provides-Extra: color
Requires-Python: >=3.8
Project-URL: Source, https://demo.example/source
Platform: any
Description-Content-Type: text/markdown
Dynamic: Version

# Demo ⌂
""".encode()

#: What `info` and each file have on PyPI.
INFO = {
    "name",
    "version",
    "summary",
    "description",
    "description_content_type",
    "keywords",
    "license",
    "license_expression",
    "license_files",
    "classifiers",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "requires_python",
    "platform",
    "downloads",
    "package_url",
    "project_url",
    "project_urls",
    "release_url",
    "requires_dist",
    "provides_extra",
    "docs_url",
    "bugtrack_url",
    "home_page",
    "download_url",
    "yanked",
    "yanked_reason",
    "dynamic",
}
ENTRY = {
    "filename",
    "packagetype",
    "python_version",
    "has_sig",
    "comment_text",
    "digests",
    "core-metadata",
    "size",
    "downloads",
    "upload_time",
    "upload_time_iso_8601",
    "url",
    "requires_python",
    "yanked",
    "yanked_reason",
}


def sdist(version: str = "1.0", **more: Any) -> File:
    return File(filename=f"demo-{version}.tar.gz", version=version, hashes={"sha256": SHA256}, **more)


def wheel(version: str = "1.0", tag: str = "py3-none-any", **more: Any) -> File:
    return File(filename=f"demo-{version}-{tag}.whl", version=version, hashes={"sha256": SHA256}, **more)


def page(*files: File, **more: Any) -> ProjectPage:
    versions = tuple(dict.fromkeys(file.version for file in files))
    return ProjectPage(name="de-mo", files=files, versions=versions, **more)


def written(page: ProjectPage, metadata: bytes | None = None, *rest: Any, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_project(page, metadata, *rest, **more))
    return document


def test_a_project_has_every_key_that_it_has_on_pypi():
    document = written(page(sdist(), wheel()), METADATA)
    assert set(document) == {"info", "urls", "releases", "vulnerabilities", "last_serial", "ownership"}
    assert set(document["info"]) == INFO
    assert all(set(entry) == ENTRY for entry in document["urls"])
    assert document["ownership"] == {"roles": [], "organization": None}


def test_every_key_is_there_without_metadata_and_null_is_what_is_not_known():
    info = written(page(sdist(requires_python=">=3.9")))["info"]
    assert set(info) == INFO
    assert info["name"] == "de-mo"
    assert info["version"] == "1.0"
    assert info["requires_python"] == ">=3.9"
    assert info["summary"] is None
    assert info["classifiers"] == []


def test_the_metadata_is_told_in_the_words_of_its_authors():
    info = written(page(wheel()), METADATA)["info"]
    assert info["name"] == "De.mo"
    assert info["summary"] == "A demonstration"
    assert info["keywords"] == "one,two"
    assert info["home_page"] == "https://demo.example/"
    assert info["author"] is None
    assert info["author_email"] == "Ann <ann@demo.example>"
    assert info["license_expression"] == "MIT"
    assert info["license_files"] == ["LICENSE"]
    assert info["classifiers"] == ["Programming Language :: Python :: 3", "Typing :: Typed"]
    assert info["requires_dist"] == ["attrs>=20", 'rich; extra == "color"']
    assert info["provides_extra"] == ["color"]
    assert info["requires_python"] == ">=3.8"
    assert info["project_urls"] == {"Source": "https://demo.example/source"}
    assert info["platform"] == "any"
    assert info["description"] == "# Demo ⌂\n"
    assert info["description_content_type"] == "text/markdown"
    assert [one.lower() for one in info["dynamic"]] == ["version"]


def test_metadata_of_another_project_does_not_name_this_one():
    assert (
        written(page(wheel()), b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")["info"]["name"]
        == "de-mo"
    )


def test_a_file_is_told_with_all_that_is_known_of_it():
    known = wheel(
        tag="cp311.cp312-none-any",
        size=1234,
        upload_time=datetime(2026, 3, 1, 12, 0, 5, 250000, UTC),
        requires_python=">=3.11",
        core_metadata={"sha256": "ff" * 32},
        yanked=Yanked(reason="broken\nbadly"),
        sidecars=frozenset({Sidecar.SIGNATURE}),
    )
    (entry,) = written(page(known))["urls"]
    assert entry == {
        "filename": known.filename,
        "packagetype": "bdist_wheel",
        "python_version": "cp311.cp312",
        "has_sig": True,
        "comment_text": None,
        "digests": {"sha256": SHA256},
        "core-metadata": {"sha256": "ff" * 32},
        "size": 1234,
        "downloads": -1,
        "upload_time": "2026-03-01T12:00:05",
        "upload_time_iso_8601": "2026-03-01T12:00:05.250000Z",
        "url": f"../../simple/de-mo/{known.filename}",
        "requires_python": ">=3.11",
        "yanked": True,
        "yanked_reason": "broken badly",
    }


def test_an_sdist_is_for_source_and_what_is_not_known_of_it_is_null():
    (entry,) = written(page(sdist()))["urls"]
    assert entry["packagetype"] == "sdist"
    assert entry["python_version"] == "source"
    assert entry["size"] is entry["upload_time"] is entry["upload_time_iso_8601"] is None
    assert entry["core-metadata"] is False
    assert entry["yanked"] is False


def test_digests_are_told_only_if_they_are_known():
    hashes = {"md5": "11", "sha256": SHA256, "blake2b_256": "22", "sha1": "33"}
    known = File(filename="demo-1.0.tar.gz", version="1.0", hashes=hashes)
    (entry,) = written(page(known))["urls"]
    assert entry["digests"] == {"md5": "11", "sha256": SHA256, "blake2b_256": "22"}
    assert entry["md5_digest"] == "11"


@pytest.mark.parametrize(
    ("document", "rest"), [("pypi/de-mo/json", ()), ("pypi/de-mo/1.0+a/json", ("1.0+a",))]
)
@pytest.mark.parametrize("base", [None, "https://index.test/python/", "https://index.test/python"])
def test_urls_lead_to_the_files_wherever_the_index_is_mounted(
    document: str, rest: tuple[str, ...], base: str | None
):
    found = written(page(sdist("1.0+a")), None, *rest, base_url=base)
    here = f"https://index.test/python/{document}"
    expected = "https://index.test/python/simple/de-mo/demo-1.0%2Ba.tar.gz"
    assert urljoin(here, found["urls"][0]["url"]) == expected
    assert urljoin(here, found["info"]["package_url"]) == "https://index.test/python/project/de-mo/"
    if base is not None:
        assert found["urls"][0]["url"] == expected


@pytest.mark.parametrize(
    ("files", "latest"),
    [
        ([sdist("1.9"), sdist("1.10")], "1.10"),
        ([sdist("1.0"), sdist("2.0rc1"), sdist("2.0.dev3")], "1.0"),
        ([sdist("2.0a1"), sdist("2.0rc1")], "2.0rc1"),
        ([sdist("1.0"), sdist("2.0", yanked=Yanked())], "1.0"),
        ([sdist("1.0rc1"), sdist("2.0", yanked=Yanked())], "1.0rc1"),
        ([sdist("1.0", yanked=Yanked()), sdist("2.0", yanked=Yanked())], "2.0"),
        ([sdist("1.0"), sdist("2.0", yanked=Yanked()), wheel("2.0")], "2.0"),
        ([sdist("1.0"), sdist("not-a-version")], "1.0"),
        ([sdist("not-a-version")], "not-a-version"),
        ([], None),
    ],
)
def test_the_latest_release_is_chosen_as_pypi_does(files: list[File], latest: str | None):
    assert latest_version(page(*files)) == latest
    if latest is not None:
        assert written(page(*files))["info"]["version"] == latest


def test_a_release_is_yanked_if_all_its_files_are():
    one, other = sdist(yanked=Yanked()), wheel(yanked=Yanked(reason="broken"))
    info = written(page(one, other))["info"]
    assert (info["yanked"], info["yanked_reason"]) == (True, "broken")
    info = written(page(sdist(), other))["info"]
    assert (info["yanked"], info["yanked_reason"]) == (False, None)


def test_only_a_project_has_releases_and_a_release_has_only_its_files():
    files = page(sdist("1.0"), wheel("1.0"), sdist("2.0"))
    project, release = written(files), written(files, None, "1.0")
    assert {version: len(entries) for version, entries in project["releases"].items()} == {"1.0": 2, "2.0": 1}
    assert [entry["filename"] for entry in project["urls"]] == ["demo-2.0.tar.gz"]
    assert "releases" not in release
    assert release["info"]["version"] == "1.0"
    assert len(release["urls"]) == 2


@pytest.mark.parametrize("version", ["1.0", "1", "1.0.0", "v1.0", "0!1"])
def test_a_version_is_found_in_any_spelling(version: str):
    assert find_version(page(sdist("1.0"), sdist("2.0")), version) == "1.0"


@pytest.mark.parametrize("version", ["", "3.0", "1.0.1", "../1.0", "latest"])
def test_a_version_that_is_not_there_is_not_found(version: str):
    assert find_version(page(sdist("1.0")), version) is None


def test_a_quarantined_project_offers_nothing():
    hidden = page(sdist(), status=ProjectStatus(status=Status.QUARANTINED))
    assert latest_version(hidden) is None
    assert find_version(hidden, "1.0") is None


def test_of_a_field_that_is_there_too_often_the_first_counts():
    fields = parse_core_metadata(
        b"Metadata-Version: 2.1\nName: demo\nSummary: one\nSummary: two\nHome-page: a\nHome-page: b\n"
    )
    assert fields["summary"] == "one"
    assert fields["home_page"] == "a"


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\xff\xfe\x00",
        b"Name: caf\xe9\nSummary: \xe9\nVersion: 1.0\n\n\xe9",
        b"Project-URL: no comma\nProject-URL: a, b\nProject-URL: a, c\n",
        b"Description: one\n\ntwo\n",
        b"Keywords\nVersion: 1.0",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhello\n--x--\n",
    ],
)
def test_odd_metadata_costs_what_is_odd_and_not_the_page(metadata: bytes):
    document = written(page(wheel()), metadata)
    assert set(document["info"]) == INFO
    assert len(document["urls"]) == 1


_LINES = st.builds(
    lambda name, value: name + b": " + value + b"\n",
    st.sampled_from(
        [
            b"Name",
            b"Version",
            b"Summary",
            b"Keywords",
            b"Project-URL",
            b"Description",
            b"Content-Type",
            b"Dynamic",
        ]
    ),
    st.binary(max_size=20),
)


@given(st.lists(_LINES | st.binary(max_size=20), max_size=8).map(b"".join), st.binary(max_size=40))
def test_no_metadata_at_all_costs_the_page(head: bytes, body: bytes):
    assert set(written(page(wheel()), head + b"\n" + body)["info"]) == INFO


VERSIONS = st.lists(
    st.sampled_from(["1.0", "1.0.0", "1.1rc1", "2.0", "2.0.dev1", "junk", "3.0"]), min_size=1, unique=True
)


@given(VERSIONS, st.sets(st.sampled_from(["1.0", "2.0", "junk", "3.0"])))
def test_every_version_that_a_page_has_can_be_written(versions: list[str], yanked: set[str]):
    files = page(*(sdist(one, yanked=Yanked() if one in yanked else None) for one in versions))
    for version in versions:
        found = find_version(files, version)
        assert found is not None
        assert written(files, None, found)["urls"]


@given(VERSIONS, st.sets(st.sampled_from(["1.0", "2.0", "junk", "3.0"])))
def test_a_release_with_a_file_that_is_not_yanked_comes_before_all_that_have_none(versions, yanked):
    """1.0 and 1.0.0 are one release."""
    files = page(*(sdist(one, yanked=Yanked() if one in yanked else None) for one in versions))
    good = {one.replace("1.0.0", "1.0") for one in versions if one not in yanked}

    latest = latest_version(files)

    assert latest is not None
    assert not good or latest.replace("1.0.0", "1.0") in good
