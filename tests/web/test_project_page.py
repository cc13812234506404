"""The page of a project for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import html5lib
import pytest

from tests.kit.rights import SECRET, GuardedIndex, as_user
from twisted_index.errors import Unavailable
from twisted_index.simple.legacy_json import latest_version
from twisted_index.simple.model import Sidecar, Status
from twisted_index.testing import IndexInMemory, MemorySource, make_sdist, make_wheel
from twisted_index.web.pages.front import write_front_page
from twisted_index.web.pages.project import write_project_page

HOSTILE = "<script>alert(1)</script>"
LINES = [
    "Summary: A demo",
    "Author: Ada",
    "License-Expression: MIT",
    "Classifier: Typing :: Typed",
    "Project-URL: Home, https://x.test/home",
    f"Project-URL: {HOSTILE}, javascript:alert(1)",
    "Provides-Extra: dev",
    'Requires-Dist: hidden ; extra == "dev"',
    "Description-Content-Type: text/markdown",
    "",
    f"# Usage\n\n[file](x.md) {HOSTILE}\n",
]
OLD = make_wheel("de.mo", "1.0", extra_metadata=LINES)
NEW = make_wheel("de.mo", "2.0", requires=["Base_Lib>=1", "nowhere"], extra_metadata=LINES)
SDIST = make_sdist("de.mo", "2.0")
BASE = make_wheel("base-lib", "1.0")
HTML = {"Accept": "text/html"}


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource(NEW, SDIST, BASE)
    source.add(OLD, yanked="It was broken")
    return source


@pytest.fixture
def index(source: MemorySource) -> IndexInMemory:
    return IndexInMemory(source)


def page(index, path: str, **headers: str):
    """Get a page, and parse it as browsers do, refusing all that is no HTML."""
    reply = index.get(path, headers={**HTML, **headers})
    assert reply.status == 200, reply.text
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(reply.body, transport_encoding="utf-8").find(".//main")


def text(element) -> str:
    return " ".join("".join(element.itertext()).split())


def links(element) -> dict[str, str]:
    return {text(link): link.get("href") for link in element.iter("a")}


def test_it_shows_the_latest_release(index: IndexInMemory):
    main = page(index, "/project/de-mo/")
    assert text(main.find("h1")) == "de.mo 2.0"
    shown = text(main)
    for part in ("A demo", "Ada", "MIT", "Typing :: Typed", "2020-01-01 00:00", NEW.sha256, SDIST.sha256):
        assert part in shown
    assert "pip install --index-url http://index.test/simple/ --trusted-host index.test de-mo" in shown
    assert "uv pip install --default-index http://index.test/simple/ de-mo" in shown


def test_a_release_without_a_wheel_is_described_by_its_sdist():
    index = IndexInMemory(MemorySource(make_sdist("de.mo", "2.0", extra_metadata=LINES)))
    main = page(index, "/project/de-mo/")
    assert "A demo" in text(main)
    assert "Usage" in text(main.find(".//div[@class='description']"))


def test_its_links_lead_to_files_requirements_and_releases(index: IndexInMemory):
    found = links(page(index, "/project/de-mo/"))
    assert found[NEW.filename] == f"../../simple/de-mo/{NEW.filename}"
    assert found["metadata"] == f"../../simple/de-mo/{NEW.filename}.metadata"
    assert found["Base_Lib"] == "../../project/base-lib/"
    assert "nowhere" not in found
    assert "nowhere (not here)" in text(page(index, "/project/de-mo/"))
    assert found["Feed"] == "../../-/feed.atom?project=de-mo"
    assert "Downloads" not in found
    assert found["1.0"] == "../../project/de-mo/1.0/"
    assert found["Home"] == "https://x.test/home"
    assert found["Simple API page"] == "../../simple/de-mo/"
    assert found["Why are these files listed?"] == "../../-/why/de-mo"
    for place in found.values():
        assert not place.startswith(("javascript:", "//"))
        if place.startswith("../../") and "-/" not in place:
            assert index.get("/" + place[6:]).status == 200


def test_who_requires_it_is_shown(tmp_path: Path):
    for file in (NEW, BASE):
        file.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        assert links(page(index, "/project/base-lib/"))["de-mo"] == "../../project/de-mo/"


def test_a_release_has_a_page_under_every_spelling_of_its_version(index: IndexInMemory):
    for version in ("1.0", "1", "v1.0.0", "1.0.0"):
        main = page(index, f"/project/de-mo/{version}/")
        assert text(main.find("h1")) == "de.mo 1.0"
        assert "de-mo==1.0" in text(main)
        assert "The latest release is 2.0." in text(main)
        assert links(main)[OLD.filename] == f"../../../simple/de-mo/{OLD.filename}"


def test_files_that_are_left_out_are_said_with_a_link_to_why(tmp_path: Path):
    for file in (NEW, OLD):
        file.write_to(tmp_path)
    (tmp_path / OLD.filename).write_bytes(OLD.content[:-20])
    with IndexInMemory.of_folders(tmp_path) as index:
        for path in ("/project/de-mo/", "/project/de-mo/2.0/"):
            main = page(index, path)
            assert "1 file is left out: see why." in text(main)
            assert links(main)["see why"].endswith("/-/why/de-mo==1.0")
        absent = index.get("/project/de-mo/1.0/", headers=HTML)
        assert absent.status == 404
        assert '<a href="../../../-/why/de-mo==1.0">see why</a>' in absent.text
        assert "see why" not in index.get("/project/de-mo/9/", headers=HTML).text


def test_a_file_that_is_left_out_later_is_said_at_once(tmp_path: Path):
    NEW.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        assert "left out" not in text(page(index, "/project/de-mo/"))
        bad = tmp_path / OLD.filename
        bad.write_bytes(OLD.content[:-20])
        assert "1 file is left out: see why." in text(page(index, "/project/de-mo/"))
        bad.unlink()
        assert "left out" not in text(page(index, "/project/de-mo/"))


def test_a_pre_release_is_said_to_be_one(index: IndexInMemory, source: MemorySource):
    assert "pre-release" not in text(page(index, "/project/de-mo/"))
    source.add(make_wheel("de.mo", "3.0rc1"))
    assert "pre-release" in text(page(index, "/project/de-mo/"))


def wheel_for(version: str, tags: str, needs: str):
    return make_wheel("demo", version, tag=tags, requires_python=needs)


def test_what_all_files_require_of_python_is_said_once_and_what_differs_at_each():
    alike = [wheel_for("1.0", f"cp31{minor}-cp31{minor}-win_amd64", ">=3.11") for minor in (2, 3)]
    shown = text(page(IndexInMemory(MemorySource(*alike)), "/project/demo/"))
    assert shown.count(">=3.11") == 1
    other = wheel_for("1.0", "cp314-cp314-win_amd64", ">=3.14")
    shown = text(page(IndexInMemory(MemorySource(*alike, other)), "/project/demo/"))
    assert "Python 3.13 (>=3.11)" in shown
    assert "Python 3.14 (>=3.14)" in shown


def test_one_wheel_for_all_is_a_sentence_and_others_are_a_grid(index: IndexInMemory):
    main = page(index, "/project/de-mo/")
    assert "There is a wheel for any Python 3 on any platform." in text(main)
    assert main.find(".//table[@class='grid']") is None
    windows = IndexInMemory(MemorySource(wheel_for("1.0", "cp312-cp312-win_amd64", ">=3.11")))
    assert page(windows, "/project/demo/").find(".//table[@class='grid']") is not None


def test_the_top_of_a_page_says_whether_its_release_is_the_latest(index: IndexInMemory):
    assert "Latest of 2 releases" in text(page(index, "/project/de-mo/"))
    assert "Latest of 2 releases" in text(page(index, "/project/de-mo/2.0/"))
    assert "Latest of" not in text(page(index, "/project/de-mo/1.0/"))
    assert "Latest of" not in text(page(index, "/project/base-lib/"))


def test_all_parts_that_the_top_of_a_page_links_are_on_it(tmp_path: Path):
    for file in (NEW, SDIST, make_wheel("fan", "1.0", requires=["de-mo"])):
        file.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        main = page(index, "/project/de-mo/")
    parts = links(main.find(".//nav"))
    assert list(parts) == ["Description", "Requires", "Required by", "Wheels", "Files", "Release history"]
    there = {element.get("id") for element in main.iter()}
    assert {place.removeprefix("#") for place in parts.values()} <= there


def test_browsers_find_the_feed_of_a_project(index: IndexInMemory):
    link = '<link rel="alternate" type="application/atom+xml" title="New releases of de-mo" '
    assert f'{link}href="../../-/feed.atom?project=de-mo">' in index.get("/project/de-mo/", headers=HTML).text
    assert index.get("/-/feed.atom?project=de-mo").status == 200


def test_yanks_and_statuses_come_with_their_reasons(index: IndexInMemory, source: MemorySource):
    main = page(index, "/project/de-mo/1.0/")
    assert "This release is yanked" in text(main)
    assert "The reason given: It was broken" in text(main)
    assert "Yanked: It was broken" in text(page(index, "/project/de-mo/"))
    source.set_status("de-mo", Status.ARCHIVED, HOSTILE)
    assert f"This project is archived: no more releases are expected. The reason given: {HOSTILE}" in text(
        page(index, "/project/de-mo/")
    )


def test_a_quarantined_project_says_so_and_offers_nothing(index: IndexInMemory, source: MemorySource):
    source.set_status("de-mo", Status.QUARANTINED, "Malware")
    main = page(index, "/project/de-mo/")
    assert (
        "This project is quarantined: none of its files can be installed. The reason given: Malware"
        in text(main)
    )
    assert NEW.filename not in links(main)
    assert "pip install" not in text(main)


def test_a_project_without_files_says_so():
    source = MemorySource()
    source.set_status("empty", Status.DEPRECATED)
    assert "This project has no files here." in text(page(IndexInMemory(source), "/project/empty/"))


def test_no_script_of_a_description_runs(index: IndexInMemory):
    main = page(index, "/project/de-mo/")
    assert main.find(".//script") is None
    assert text(main.find(".//h3")) == "Usage"
    assert "file" not in links(main)


@pytest.mark.parametrize("path", ["/project/none/", "/project/none/1.0/"])
def test_a_project_that_is_not_there_is_absent_as_for_installers(index: IndexInMemory, path: str):
    reply = index.get(path)
    assert (reply.status, reply.text.partition(".")[0]) == (404, "There is no project none here")


def test_a_version_that_is_not_there_leads_to_those_that_are(index: IndexInMemory):
    reply = index.get("/project/de-mo/3.0/", headers=HTML)
    assert reply.status == 404
    assert 'href="../../../project/de-mo/1.0/"' in reply.text
    assert index.get("/project/de-mo/3.0/").text.startswith("de-mo has no release 3.0. ")
    hostile = index.get("/project/de-mo/%3Cscript%3E/", headers=HTML)
    assert hostile.status == 404
    assert (
        "<script>" not in hostile.text.replace("<script>\n", "").partition("<main")[2].partition("</main>")[0]
    )


def test_it_is_sent_once_while_nothing_changes(index: IndexInMemory, source: MemorySource):
    first = index.get("/project/de-mo/", headers=HTML)
    again = index.get("/project/de-mo/", headers={**HTML, "If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    source.add(make_wheel("de.mo", "3.0"))
    changed = index.get("/project/de-mo/", headers={**HTML, "If-None-Match": first.headers["ETag"]})
    assert changed.status == 200
    heading = html5lib.parse(changed.body, namespaceHTMLElements=False).find(".//h1")
    assert text(heading).endswith(" 3.0")


def test_metadata_are_read_once_for_a_page(index: IndexInMemory, source: MemorySource):
    for _time in range(3):
        index.get("/project/de-mo/", headers=HTML)
    reads = [call for call in source.calls if call.sidecar is Sidecar.METADATA and call.project == "de-mo"]
    assert len(reads) == 1


def test_the_latest_version_is_sought_once_for_a_page(index: IndexInMemory, monkeypatch: pytest.MonkeyPatch):
    sought = []
    monkeypatch.setattr(
        "twisted_index.web.views.project.latest_version",
        lambda page: sought.append(page.name) or latest_version(page),
    )
    for _time in range(3):
        index.get("/project/de-mo/", headers=HTML)
    assert sought == ["de-mo"]


@pytest.mark.parametrize("view", ["project", "front"])
def test_a_page_is_written_once_for_all_hosts_and_shows_each_its_own(
    index: IndexInMemory, monkeypatch: pytest.MonkeyPatch, view: str
):
    written = []

    def write(*arguments):
        written.append(arguments)
        return (write_project_page if view == "project" else write_front_page)(*arguments)

    monkeypatch.setattr(f"twisted_index.web.views.{view}.write_{view}_page", write)
    path = "/project/de-mo/" if view == "project" else "/"
    for host in ("one.test", "two.test:8080", "one.test"):
        shown = text(page(index, path, Host=host))
        assert f"pip install --index-url http://{host}/simple/ --trusted-host {host}" in shown
        assert shown.count("pip install --index-url") == 1
    assert len(written) == 1


def test_the_releases_of_a_project_do_not_push_its_page_out(
    index: IndexInMemory, monkeypatch: pytest.MonkeyPatch
):
    written = []
    monkeypatch.setattr(
        "twisted_index.web.views.project.write_project_page",
        lambda *arguments: written.append(1) or write_project_page(*arguments),
    )
    for _time in range(3):
        for path in ("/project/de-mo/", "/project/de-mo/2.0/", "/project/de-mo/?versions=all"):
            page(index, path)
    assert len(written) == 3


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown"])
def test_no_description_has_the_place_of_the_commands(kind: str):
    lines = [f"Description-Content-Type: {kind}", "", "a <template></template> b"]
    lines.insert(0, "Summary: <template></template>")
    index = IndexInMemory(MemorySource(make_wheel("demo", "1.0", extra_metadata=lines)))
    main = page(index, "/project/demo/")
    (section,) = main.findall("section")
    assert section.get("class") == "install"
    assert main.find(".//template") is None


class WithoutMetadata(MemorySource):
    """A source that cannot read metadata now."""

    def open_file(self, project, filename, sidecar=None):
        if sidecar is Sidecar.METADATA:
            raise Unavailable("The upstream does not answer.")
        return super().open_file(project, filename, sidecar)


def test_what_cannot_be_read_now_is_said_and_the_rest_is_shown():
    main = page(IndexInMemory(WithoutMetadata(NEW)), "/project/de-mo/")
    assert "The metadata of this release cannot be read now." in text(main)
    assert NEW.filename in links(main)


class FromUpstream(MemorySource):
    """A source whose pages come from an upstream."""

    def project_page(self, project):
        return replace(super().project_page(project), cache_status="hit")


def test_no_sdist_of_an_upstream_is_fetched_to_describe_it():
    source = FromUpstream(make_sdist("de.mo", "2.0", extra_metadata=LINES))
    main = page(IndexInMemory(source), "/project/de-mo/")
    assert "No wheel and no small sdist of this release says more about it." in text(main)
    assert not [call for call in source.calls if call.filename]


def test_a_hundred_releases_are_shown_and_the_rest_on_request():
    wheel = make_wheel("many", "1.0")
    source = MemorySource(*(make_wheel("many", f"1.{number}") for number in range(130)))
    index = IndexInMemory(source)
    main = page(index, "/project/many/")
    assert len(main.findall(".//tbody/tr/th")) < 110
    (rest,) = [link for name, link in links(main).items() if name == "All 130 releases"]
    assert rest == "../../project/many/?versions=all#history"
    assert "1.0" in links(page(index, "/project/many/?versions=all"))
    assert wheel.project == "many"


def test_the_whole_history_has_pages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twisted_index.web.pages.project.RELEASES_A_PAGE", 50)
    index = IndexInMemory(MemorySource(*(make_wheel("many", f"1.{number}") for number in range(130))))
    shown, places = [], [f"/project/many/1.5/?versions=all&page={number}" for number in (1, 2, 3)]
    for place in places:
        main = page(index, place)
        shown.append([text(row[0]) for row in main.findall(".//table")[-1].iter("tr")][1:])
        others = {name: url for name, url in links(main).items() if "–" in name}
        assert set(others.values()) == {f"../../../{each[1:]}#history" for each in places if each != place}
        assert "From the latest: 1–50 51–100 101–130" in text(main)
    assert [each for part in shown for each in part] == [f"1.{number}" for number in reversed(range(130))]
    assert [len(part) for part in shown] == [50, 50, 30]


@pytest.mark.parametrize(
    ("number", "first"), [("0", "1.129"), ("-1", "1.129"), ("x", "1.129"), ("9", "1.29")]
)
def test_a_page_of_the_history_that_is_none_is_the_nearest(
    monkeypatch: pytest.MonkeyPatch, number: str, first: str
):
    monkeypatch.setattr("twisted_index.web.pages.project.RELEASES_A_PAGE", 50)
    index = IndexInMemory(MemorySource(*(make_wheel("many", f"1.{number}") for number in range(130))))
    main = page(index, f"/project/many/?versions=all&page={number}")
    assert text(main.findall(".//table")[-1].find("tbody")[0][0]) == first


def test_the_history_marks_the_latest_release_and_those_before_a_release():
    source = MemorySource(*(make_wheel("demo", version) for version in ("1.0", "2.0", "3.0rc1")))
    rows = page(IndexInMemory(source), "/project/demo/").findall(".//tbody/tr")
    marks = {row[0][0].text: [mark.text for mark in row[3]] for row in rows if row[0].find("a") is not None}
    assert {name: marks[name] for name in ("1.0", "2.0", "3.0rc1")} == {
        "1.0": [],
        "2.0": ["latest"],
        "3.0rc1": ["pre-release"],
    }


# -- Rights

RIGHTS = """
[[rule]]
projects = ["secret-*", "user-lib"]
allow = ["read"]
to = "alice"

[[rule]]
projects = "user-lib"
allow = ["read"]
to = "bob"
"""
USER = make_wheel("user-lib", "1.0", requires=["secret-lib", "open-lib"])
SPY = make_wheel("secret-spy", "1.0", requires=["user-lib"])
OPEN = make_wheel("open-app", "1.0", requires=["secret-lib"])
FAN = make_wheel("secret-fan", "1.0", requires=["open-app"])


@pytest.fixture
def guarded(tmp_path: Path):
    folder = tmp_path / "packages"
    for file in (SECRET, USER, SPY, OPEN, FAN, make_wheel("open-lib", "1.0")):
        file.write_to(folder)
    with IndexInMemory.of_folders(folder) as index:
        yield GuardedIndex(tmp_path, RIGHTS, source=index.source)


@pytest.mark.parametrize("name", ["secret-lib", "secret-none"])
def test_a_client_without_the_right_does_not_learn_whether_a_project_exists(guarded: GuardedIndex, name: str):
    for path in (f"/project/{name}/", f"/project/{name}/1.0/", f"/project/{name}/9/"):
        assert guarded.get(path).status == 401
        assert guarded.get(path, headers=as_user("bob")).status == 403


def test_only_projects_that_a_client_may_read_are_linked(guarded: GuardedIndex):
    bobs, alices = (page(guarded, "/project/user-lib/", **as_user(user)) for user in ("bob", "alice"))
    assert "secret-lib" not in links(bobs)
    assert "secret-spy" not in text(bobs)
    assert links(alices)["secret-lib"] == "../../project/secret-lib/"
    assert "secret-spy" in links(alices)
    reply = guarded.get("/project/user-lib/", headers=as_user("bob"))
    assert reply.headers["Cache-Control"].startswith("private")


def test_a_visitor_who_may_read_one_project_learns_of_no_other(guarded: GuardedIndex):
    shown = page(guarded, "/project/open-app/")
    assert "secret-lib" not in links(shown)
    assert "secret-fan" not in text(shown)
