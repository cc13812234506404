"""The URLs of the legacy JSON API: PyPI's own, and what tools make of an index URL."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests.kit.rights import SHARED, GuardedIndex, as_user
from twisted_index.testing import IndexInMemory, MemorySource, make_sdist, make_wheel


@pytest.fixture
def index(tmp_path: Path) -> GuardedIndex:
    return GuardedIndex(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/pypi/shared-lib/json",
        "/pypi/shared-lib/json/",
        "/pypi/shared-lib/1.0/json",
        "/pypi/shared-lib/1.0.0/json",
        "/shared-lib/json",
        "/shared-lib/json/",
        "/simple/shared-lib/json",
    ],
)
def test_the_legacy_documents_are_there_for_whoever_may_read(index: GuardedIndex, path: str):
    """Below the name alone too, where pip-tools looks for digests."""
    reply = index.get(path)
    assert reply.headers["Content-Type"] == "application/json"
    (file,) = json.loads(reply.body)["urls"]
    assert file["url"] == f"http://index.test/simple/shared-lib/{SHARED.filename}"
    assert file["digests"]["sha256"] == SHARED.sha256
    head = index.head(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == reply.headers["Content-Length"]


def test_bandersnatch_finds_links_below_packages_that_lead_to_the_files_of_their_projects():
    """It takes no others. The name of one of these files alone could be that of another project."""
    sdist = make_sdist("demo-1", "2.0", extension=".zip")
    index = IndexInMemory(MemorySource(sdist, SHARED))
    for project, made in (("demo-1", sdist), ("shared-lib", SHARED)):
        document = index.get(f"/pypi/{project}/json", headers={"User-Agent": "bandersnatch/8.2.0"})
        assert document.headers["Vary"] == "User-Agent"
        (file,) = json.loads(document.body)["urls"]
        url = urlsplit(file["url"]).path
        assert url.startswith("/packages/")
        reply = index.get(url)
        assert reply.status == 302
        assert index.get(urljoin(url, reply.headers["Location"])).body == made.content


@pytest.mark.parametrize(
    "path", ["/pypi/none/json", "/none/json", "/simple/none/json", "/none/json/", "/pypi/shared-lib/2.0/json"]
)
def test_of_what_is_not_there_is_no_legacy_document(index: GuardedIndex, path: str):
    reply = index.get(path)
    assert (reply.status, reply.body) == (404, b'{"message": "Not Found"}\n')


@pytest.mark.parametrize("path", ["/secret-lib/json", "/simple/secret-lib/json", "/Secret.Lib/json"])
def test_a_legacy_document_needs_the_right_to_read(index: GuardedIndex, path: str):
    """Whether the project is there or not."""
    for name in (path, path.replace("ecret", "ecret-none")):
        reply = index.get(name)
        if reply.status == 301:
            reply = index.get(urljoin(name, reply.headers["Location"]))
        assert reply.status == 401
    assert (
        index.get("/secret-lib/json", headers=as_user("alice")).headers["Cache-Control"].startswith("private")
    )


@pytest.mark.parametrize("path", ["/-/json", "/legacy/json", "/packages/json", "/pypi/pypi", "/%20/json"])
def test_names_of_our_own_are_no_projects_with_a_document(index: GuardedIndex, path: str):
    reply = index.get(path)
    assert reply.headers["Content-Type"] != "application/json"


def test_a_project_called_json_is_a_project():
    index = IndexInMemory(MemorySource(made := make_wheel("json", "1.0")))
    for path in ("/json/", "/simple/json/", f"/json/{made.filename}", "/json/json", "/pypi/json/json"):
        assert index.get(path).status == 200, path
    assert index.get("/simple/json").headers["Location"] == "json/"
    assert index.get("/pypi/json").headers["Location"] == "../project/json/"
