"""What installers could not get: who is counted, on both ways, and who may see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.rights import GuardedIndex, as_user
from twisted_index.metrics.wanted import Askers, Lack, WantedProjects
from twisted_index.simple.interpreters import Interpreter, Offer
from twisted_index.testing import IndexInMemory, MemorySource, make_sdist, make_wheel

JSON = "application/json"
CP311 = (
    'pip/26 {"python":"3.11.7","implementation":{"name":"CPython"},"system":{"name":"Linux"},"cpu":"x86_64",'
    '"distro":{"libc":{"lib":"glibc","version":"2.36"}}}'
)
CP313 = (
    'uv/0.13 {"python":"3.13.0","implementation":{"name":"CPython"},"system":{"name":"Windows"},'
    '"cpu":"AMD64"}'
)
WINDOWS = make_wheel("markupsafe", "3.0", tag="cp313-cp313-win_amd64")
NAME = "cp311 linux x86_64 glibc 2.36"


@pytest.fixture(params=["fast", "ordinary"])
def index(request: pytest.FixtureRequest) -> IndexInMemory:
    index = IndexInMemory(MemorySource(WINDOWS, make_wheel("demo", "1.0")))
    if request.param == "ordinary":
        index.site.fast_path = None
    return index


def ask(index: IndexInMemory, project: str, agent: str = CP311, times: int = 1, **more: str) -> None:
    connection = index.connect()
    for _ in range(times):
        connection.ask(f"/simple/{project}/", headers={"User-Agent": agent, "Accept": "*/*"} | more)
    assert len(connection.responses()) == times


def wanted(index: IndexInMemory, **headers: str) -> list[dict[str, object]]:
    found = json.loads(index.get("/-/wanted", headers={"Accept": JSON} | headers).body)["wanted"]
    for project in found:
        assert project.pop("last").endswith("Z")
    return found


def test_a_name_that_is_absent_is_counted_at_each_request(index: IndexInMemory):
    ask(index, "numpy", times=3)
    ask(index, "numpy", CP313)
    assert wanted(index) == [
        {
            "project": "numpy",
            "reason": "absent",
            "requests": {NAME: 3, "cp313 windows x86_64": 1},
            "offers": [],
        }
    ]


def test_a_project_without_a_file_that_fits_is_counted_for_those_that_it_does_not_fit(index: IndexInMemory):
    ask(index, "markupsafe", CP313, times=2)
    ask(index, "markupsafe", times=12)
    assert wanted(index) == [
        {
            "project": "markupsafe",
            "reason": "no_file_fits",
            "requests": {NAME: 12},
            "offers": ["cp313-cp313-win_amd64"],
        }
    ]


def test_what_fits_and_what_others_than_installers_ask_for_is_not_wanted(index: IndexInMemory):
    ask(index, "demo", times=2)
    ask(index, "numpy", "Mozilla/5.0")
    ask(index, "markupsafe", "")
    index.get("/simple/Not%20a%20name/", headers={"User-Agent": CP311})
    index.get("/favicon.ico", headers={"User-Agent": CP311})
    assert wanted(index) == []


def test_a_request_that_needs_no_body_is_counted_too(index: IndexInMemory):
    ask(index, "markupsafe")
    etag = index.get("/simple/markupsafe/").headers["ETag"]
    ask(index, "markupsafe", **{"If-None-Match": etag})
    assert wanted(index)[0]["requests"] == {NAME: 2}


def test_a_file_that_comes_and_fits_ends_the_want(tmp_path: Path):
    WINDOWS.write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        ask(index, "markupsafe")
        ask(index, "numpy")
        assert len(wanted(index)) == 2
        make_sdist("markupsafe", "3.0").write_to(tmp_path)
        make_wheel("numpy", "2.0").write_to(tmp_path)
        assert [project["project"] for project in wanted(index)] == ["markupsafe"]
        ask(index, "markupsafe")
        assert wanted(index) == []


def test_a_name_that_a_client_may_not_read_is_neither_absent_nor_shown(tmp_path: Path):
    index = GuardedIndex(tmp_path)
    agent = {"User-Agent": CP311}
    assert index.get("/simple/secret-nothing/", headers=agent).status == 401
    assert index.get("/-/wanted").status == 401
    assert index.get("/-/wanted", headers=as_user("bob")).status == 403
    assert wanted(index, **as_user("alice")) == []
    assert index.get("/simple/secret-nothing/", headers=agent | as_user("alice")).status == 404
    assert [project["project"] for project in wanted(index, **as_user("alice"))] == ["secret-nothing"]


def test_an_operator_sees_only_names_that_it_may_read(tmp_path: Path):
    rights = """
[[rule]]
projects = "secret-*"
allow = ["read"]
to = "alice"

[[rule]]
allow = ["operate"]
to = "bob"
"""
    index = GuardedIndex(tmp_path, rights)
    index.get("/simple/secret-nothing/", headers={"User-Agent": CP311} | as_user("alice"))
    assert wanted(index, **as_user("bob")) == []
    metrics = index.get("/-/metrics", headers=as_user("bob")).body.decode()
    assert 'twisted_index_wanted_projects{reason="absent"} 1.0' in metrics
    assert "secret-nothing" not in metrics


def test_it_is_text_for_terminals_and_a_table_for_browsers():
    index = IndexInMemory(MemorySource(WINDOWS))
    text = index.get("/-/wanted").body.decode()
    assert text == (
        "Every installer found what it asked for.\n"
        "Requests since the server started. Files that are there, but left out, are at /-/problems.\n"
    )
    ask(index, "markupsafe", times=2)
    reply = index.get("/-/wanted")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    line = f"markupsafe: 2 \u00d7 {NAME}; no file fits; here: cp313-cp313-win_amd64"
    assert line in reply.body.decode()
    page = index.get("/-/wanted", headers={"Accept": "text/html"}).body.decode()
    assert '<a href="../-/why/markupsafe"><code>markupsafe</code></a>' in page
    assert '<td data-label="Requests">2 \u00d7 cp311 linux' in page


# -- What is remembered

LINUX = Interpreter(implementation="cp", version=(3, 11, 7), system="linux")


def notice(wanted: WantedProjects, project: str, now: float = 0.0, of: Interpreter = LINUX) -> None:
    wanted.notice(project, of, Askers(), now)


def test_inventing_names_pushes_out_invented_names():
    projects = WantedProjects()
    for now in range(2):
        notice(projects, "numpy", now)
    for number in range(20_000):
        notice(projects, f"invented-{number}", 10 + number)
    names = [project.name for project in projects.projects()]
    assert names[0] == "numpy"
    assert len(names) <= 1000
    assert "invented-19999" in names


def test_inventing_interpreters_fills_no_memory():
    projects, askers = WantedProjects(), Askers((Offer("cp27-cp27m-win32", ""),))
    for minor in range(10_000):
        of = Interpreter(implementation="cp", version=(3, minor, 0), system="linux")
        projects.notice("numpy", of, askers, 0.0)
    (numpy,) = projects.projects()
    assert len(numpy.requests) == 8
    assert sum(numpy.requests.values()) == 10_000
    assert len(askers.tallies) <= 64


def test_a_project_that_was_forgotten_is_counted_again_through_the_page_that_still_holds_its_tally():
    projects, askers = WantedProjects(), Askers()
    projects.notice("numpy", LINUX, askers, 0.0)
    for number in range(2000):
        for now in (1.0, 2.0):
            notice(projects, f"other-{number}", now)
    assert "numpy" not in [project.name for project in projects.projects()]
    assert askers.tallies[LINUX].until <= 3.0
    projects.notice("numpy", LINUX, askers, 3.0)
    assert "numpy" in [project.name for project in projects.projects()]


def test_a_project_is_logged_once_an_hour_and_a_flood_of_names_a_hundred_times(log: list[str]):
    projects, askers = WantedProjects(), Askers()
    for now in (0.0, 1.0, 3599.0, 3600.0, 3601.0):
        projects.notice("numpy", LINUX, askers, now)
    assert log == ["numpy was asked for (cp311 linux) and is not here."] * 2
    for number in range(1000):
        notice(projects, f"other-{number}", 3602.0)
    assert len(log) == 2 + 99 + 1
    assert log[-1].startswith("Further projects")


def test_the_log_names_what_is_there(log: list[str]):
    offers = tuple(Offer(f"cp3{minor}-cp3{minor}-win32", "") for minor in range(20, 27))
    WantedProjects().notice("numpy", LINUX, Askers(offers), 0.0)
    WantedProjects().notice("empty", LINUX, Askers(()), 0.0)
    assert log == [
        "numpy has no file for cp311 linux; here: " + ", ".join(map(str, offers[:5])) + " and 2 more.",
        "empty has no file for cp311 linux; here: no file that is listed (/-/problems may say why).",
    ]


def test_what_is_served_now_is_forgotten_for_that_interpreter_alone():
    projects = WantedProjects()
    other = Interpreter(implementation="cp", version=(3, 12, 0), system="linux")
    for of in (LINUX, other):
        projects.notice("numpy", of, Askers((Offer("cp310-cp310-linux_x86_64", ""),)), 0.0)
    projects.notice("numpy", other, Askers((Offer("cp312-cp312-linux_x86_64", ""),)), 1.0)
    (numpy,) = projects.projects()
    assert numpy.requests == {"cp311 linux": 1}
    projects.notice("numpy", LINUX, Askers((Offer("", ""),)), 2.0)
    assert projects.projects() == []


def test_the_metrics_count_requests_that_are_forgotten_too():
    projects = WantedProjects()
    notice(projects, "numpy")
    projects.notice("numpy", LINUX, Askers((Offer("", ""),)), 1.0)
    notice(projects, "scipy")
    samples = {
        (sample.name, sample.labels["reason"]): sample.value
        for family in projects.collect()
        for sample in family.samples
    }
    assert samples == {
        ("twisted_index_wanted_projects", Lack.ABSENT.value): 1,
        ("twisted_index_wanted_projects", Lack.NO_FILE_FITS.value): 0,
        ("twisted_index_wanted_requests_total", Lack.ABSENT.value): 2,
        ("twisted_index_wanted_requests_total", Lack.NO_FILE_FITS.value): 0,
    }
