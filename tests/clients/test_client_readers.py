"""Libraries that read the simple API agree with the folder, in both formats."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime

import pytest

from twisted_index.testing import make_sdist, make_wheel

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"


@pytest.fixture
def files(folder):
    made = [
        make_wheel("de.mo", "1.0", requires_python=">=3.8"),
        make_sdist("de.mo", "1.0"),
        make_wheel("de.mo", "1.0+loc.1"),
        make_wheel("de.mo", "0.9"),
    ]
    for file in made:
        file.write_to(folder / "De.Mo")
    (folder / "De.Mo" / f"{made[3].filename}.yanked").write_text("old")
    (folder / "De.Mo" / ".archived").write_text("done")
    return {file.filename: file for file in made}


@pytest.mark.parametrize("accept", [JSON, HTML])
def test_pypi_simple_reads_all_there_is(server, files, accept):
    pypi_simple = pytest.importorskip("pypi_simple")
    with pypi_simple.PyPISimple(server.simple, accept=accept) as client:
        page = client.get_project_page("De_Mo")
        names = client.get_index_page().projects
        by_name = {package.filename: package for package in page.packages}
        wheel = by_name["de_mo-1.0-py3-none-any.whl"]
        metadata = client.get_package_metadata(wheel)

    assert names == ["de-mo"]
    assert page.repository_version == "1.4"
    assert page.status == "archived"
    assert page.status_reason == "done"
    assert set(by_name) == set(files)
    for name, package in by_name.items():
        assert package.digests == {"sha256": files[name].sha256}
        assert bool(package.has_metadata) is name.endswith(".whl")
        assert package.is_yanked is (package.version == "0.9")
        assert server.get(package.url.removeprefix(server.origin)).body == files[name].content
    assert by_name["de_mo-0.9-py3-none-any.whl"].yanked_reason == "old"
    assert wheel.requires_python == ">=3.8"
    assert metadata.encode() == files[wheel.filename].metadata
    if accept == JSON:
        assert all(package.size == files[name].size for name, package in by_name.items())
        assert all(package.upload_time.tzinfo is not None for package in by_name.values())


@pytest.mark.filterwarnings("ignore:Unsupported API minor version")  # it knows 1.1
@pytest.mark.parametrize("accept", [JSON, HTML])
def test_mousebender_reads_all_there_is(server, files, accept):
    simple = pytest.importorskip("mousebender.simple")

    def read(target, parse):
        url = server.origin + target
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Accept": accept}), timeout=20
        ) as reply:
            return parse(reply.read().decode(), reply.headers["Content-Type"])

    projects = read("/simple/", simple.parse_project_index)
    details = read(
        "/simple/de-mo/", lambda text, media_type: simple.parse_project_details(text, media_type, "de-mo")
    )

    assert [project["name"] for project in projects["projects"]] == ["de-mo"]
    assert details["name"] == "de-mo"
    assert {entry["filename"]: entry["hashes"] for entry in details["files"]} == {
        name: {"sha256": file.sha256} for name, file in files.items()
    }
    yanked = {entry["filename"] for entry in details["files"] if entry.get("yanked")}
    assert yanked == {"de_mo-0.9-py3-none-any.whl"}


def test_no_upload_time_is_in_the_future(server, files):
    pypi_simple = pytest.importorskip("pypi_simple")
    with pypi_simple.PyPISimple(server.simple) as client:
        packages = client.get_project_page("de-mo").packages

    assert all(package.upload_time <= datetime.now(UTC) for package in packages)
