"""Downloads: which answers count, on both ways, and who sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.properties import examples
from tests.kit.rights import PUBLIC, SECRET, SHARED, GuardedIndex, as_user
from tests.statistics.test_downloads import NOON
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.statistics.downloads import Downloads
from twisted_index.statistics.rows import ANY_CLIENT, Client
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

JSON = {"Accept": "application/json"}
CACHE = ("file_hits", "file_misses", "page_hits", "page_misses", "bytes_saved", "bytes_fetched")
HTML = {"Accept": "text/html"}
PIP = 'pip/24 {"ci":true,"python":"3.13.1","system":{"name":"Linux"}}'
WHEEL = make_wheel("demo", "1.0")
FILE = f"/simple/demo/{WHEEL.filename}"


def in_memory() -> tuple[Clock, Downloads]:
    clock = Clock()
    clock.advance(NOON)
    return clock, Downloads(None, SynchronousRunner(), clock)


@pytest.fixture(params=["fast", "ordinary"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> IndexInMemory:
    path = WHEEL.write_to(tmp_path / "demo")
    for suffix in (".asc", ".provenance"):
        path.with_name(path.name + suffix).write_text("{}")
    clock, downloads = in_memory()
    index = IndexInMemory.of_folders(tmp_path, clock=clock, downloads=downloads)
    if request.param == "ordinary":
        index.site.fast_path = None
    # So that the file is known, and can be sent again.
    index.get("/simple/demo/")
    index.get(FILE)
    return index


def stats(index: Any, path: str = "/-/stats", **headers: str) -> dict[str, Any]:
    reply = index.get(path, headers=JSON | headers)
    assert reply.status == 200
    document: dict[str, Any] = json.loads(reply.body)
    return document


def test_the_page_of_a_project_leads_to_its_downloads(index: IndexInMemory):
    page = index.get("/project/demo/", headers={"Accept": "text/html"})
    assert '<a href="../../-/stats?project=demo">Downloads</a>' in page.text


def test_each_file_that_was_sent_counts(index: IndexInMemory):
    for _ in range(3):
        assert index.get(FILE, headers={"User-Agent": PIP}).body == WHEEL.content
    assert stats(index) == {
        "projects": {"demo": 4},
        "downloads": 4,
        "days": {"2026-11-28": 4},
        "installers": {"pip": 3, "other": 1},
        "pythons": {"3.13": 3, "other": 1},
        "systems": {"Linux": 3, "other": 1},
        "ci": 3,
        "since": "2026-11-28",
        "cache": dict.fromkeys(CACHE, 0),
        "disk": None,
    }


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        (FILE, "HEAD", {}),
        (FILE, "GET", {"If-None-Match": "*"}),
        (FILE, "GET", {"Range": "bytes=0-9"}),
        (FILE, "GET", {"Range": "bytes=1-"}),
        (FILE, "GET", {"Range": "bytes=999999-"}),
        (FILE, "GET", {"If-None-Match": f'"{WHEEL.sha256}"'}),
        (FILE, "GET", {"If-Match": '"other"'}),
        (f"{FILE}.metadata", "GET", {}),
        (f"{FILE}.asc", "GET", {}),
        (f"{FILE}.provenance", "GET", {}),
        ("/simple/demo/", "GET", {}),
        ("/simple/demo/demo-9.9.tar.gz", "GET", {}),
        (f"/packages/{WHEEL.filename}", "GET", {}),
    ],
)
def test_what_is_not_a_whole_file_does_not_count(
    index: IndexInMemory, path: str, method: str, headers: dict[str, str]
):
    index.get(path, method=method, headers=headers)
    assert stats(index)["projects"] == {"demo": 1}


@pytest.mark.parametrize("agent", ["bandersnatch/6.5.0 (linux)", "twisted-index/1.0", "devpi-server/6.14"])
def test_mirrors_count_as_such_and_not_as_installers(index: IndexInMemory, agent: str):
    for _ in range(2):
        index.get(FILE, headers={"User-Agent": agent})
    assert stats(index)["installers"] == {"mirror": 2, "other": 1}
    month = json.loads(index.get("/-/stats/api/packages/demo/recent?period=month").body)
    assert month["data"] == {"last_month": 1}


@pytest.mark.parametrize("span", ["0-", f"0-{len(WHEEL.content) - 1}", "0-999999"])
def test_a_range_of_the_whole_file_counts(index: IndexInMemory, span: str):
    assert index.get(FILE, headers={"Range": f"bytes={span}"}).status == 206
    assert stats(index)["projects"] == {"demo": 2}


def test_a_project_has_its_files_and_versions(index: IndexInMemory):
    document = stats(index, "/-/stats?project=Demo")
    assert document["project"] == "demo"
    assert document["files"] == {WHEEL.filename: {"2026-11-28": 1}}
    page = index.get("/-/stats?project=demo", headers=HTML).body.decode()
    assert "<h1>Downloads of demo</h1>" in page
    assert WHEEL.filename in page


def test_people_see_a_plot_and_the_same_as_a_table(index: IndexInMemory):
    page = index.get("/-/stats", headers=HTML).body.decode()
    assert page.count('class="bar"') == 14
    assert "<title>2026-11-28: 1</title>" in page
    assert '<tr><th scope="row">2026-11-28</th><td class="number" data-label="Downloads">1</td></tr>' in page
    assert '<a href="../-/stats?project=demo">demo</a>' in page
    assert "numbers are in memory" in page
    assert "style=" not in page.replace("<style>", "")


def test_before_the_first_download_the_page_says_so():
    _clock, downloads = in_memory()
    index = IndexInMemory(MemorySource(WHEEL), downloads=downloads)
    assert "Nothing has been downloaded yet." in index.get("/-/stats", headers=HTML).body.decode()
    assert stats(index)["projects"] == {}


def test_where_nothing_is_counted_there_is_nothing():
    reply = IndexInMemory(MemorySource(WHEEL)).get("/-/stats")
    assert reply.status == 404
    assert reply.body == b"No downloads are counted here.\n"


def test_what_is_no_name_of_a_project_is_refused(index: IndexInMemory):
    for name in ("%3Cscript%3E", "..", "a/b", "%FF", "%00"):
        assert index.get(f"/-/stats?project={name}").status == 400


def test_numbers_that_cannot_be_kept_are_a_warning_and_a_problem(tmp_path: Path):
    clock = Clock()
    folder = tmp_path / "downloads"
    folder.write_text("")
    downloads = Downloads(str(folder), SynchronousRunner(), clock)
    index = IndexInMemory(MemorySource(WHEEL), clock=clock, downloads=downloads)
    index.get(FILE)
    assert json.loads(index.get("/-/health").body) == {"status": "ok"}
    clock.advance(60)
    warning = "Downloads are counted but cannot be kept; see the list of problems."
    assert json.loads(index.get("/-/health").body)["warnings"] == [warning]
    (problem,) = json.loads(index.get("/-/problems", headers=JSON).body)["problems"]
    assert problem["reason"] == f"Downloads are counted but cannot be kept: {folder}: Not a directory."
    folder.unlink()
    index.get("/-/stats", headers=HTML)
    index.get(FILE)
    clock.advance(60)
    assert json.loads(index.get("/-/health").body) == {"status": "ok"}


# -- In the shape of pypistats.org


def test_downloads_are_told_in_the_shape_of_pypistats_org(index: IndexInMemory):
    index.get(FILE, headers={"User-Agent": PIP})
    reply = index.get("/-/stats/api/packages/demo/system")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == index.get("/-/stats", headers=JSON).headers["Cache-Control"]
    assert json.loads(reply.body) == {
        "data": [
            {"category": "Linux", "date": "2026-11-28", "downloads": 1},
            {"category": "other", "date": "2026-11-28", "downloads": 1},
        ],
        "package": "demo",
        "type": "system_downloads",
    }
    one = json.loads(index.get("/-/stats/api/packages/demo/system?os=linux").body)["data"]
    assert one == [{"category": "Linux", "date": "2026-11-28", "downloads": 1}]


def test_a_name_that_is_not_normalized_leads_to_the_one_that_is(index: IndexInMemory):
    reply = index.get("/-/stats/api/packages/De_mo/recent?period=day")
    assert reply.status == 301
    assert reply.headers["Location"] == "../de-mo/recent?period=day"


@pytest.mark.parametrize("downloads", [None, in_memory()[1]])
def test_a_project_that_was_never_downloaded_is_404_as_json(downloads: Downloads | None):
    index = IndexInMemory(MemorySource(WHEEL), downloads=downloads)
    for accept in ("*/*", "text/html"):
        reply = index.get("/-/stats/api/packages/demo/recent", headers={"Accept": accept})
        assert (reply.status, json.loads(reply.body)) == (404, {"message": "Not Found"})
    assert index.get("/-/stats/api/packages/demo/nothing").status == 404


# -- Who sees what


def test_the_first_day_tells_nothing_of_a_project_that_its_reader_may_not_read(tmp_path: Path):
    clock, downloads = in_memory()
    for project in ("secret-lib", "open-lib"):
        downloads.count("", project, f"{project}-1.0.tar.gz", ANY_CLIENT, clock.seconds())
        clock.advance(86400)
    rules = (("alice", "open-lib"), ("bob", "*"))
    rights = "".join(f'[[rule]]\nprojects = "{name}"\nallow = ["read"]\nto = "{to}"\n' for to, name in rules)
    source = MemorySource(SECRET, PUBLIC)
    index = GuardedIndex(tmp_path, rights, source=source, clock=clock, downloads=downloads)
    for path in ("/-/stats", "/-/stats?project=open-lib"):
        assert stats(index, path, **as_user("alice"))["since"] == "2026-11-29"
        page = index.get(path, headers=HTML | as_user("alice")).body.decode()
        assert "Downloads since 2026-11-29" in page


TWO_INDEXES = """
[[rule]]
projects = "*"
indexes = "lab"
allow = "read"
to = "alice"

[[rule]]
projects = "*"
allow = "read"
to = "READER"

[[rule]]
allow = "operate"
to = "carol"
"""


@pytest.mark.parametrize("reader", ["everyone", "alice"])
def test_an_answer_is_the_same_whatever_other_indexes_have_counted(tmp_path: Path, reader: str):
    fields = {} if reader == "everyone" else as_user(reader)
    answers = []
    for others in (0, 3):
        clock, downloads = in_memory()
        for _ in range(others):
            downloads.count("lab", "secret-lib", "secret-lib-1.0.tar.gz", Client("uv"), clock.seconds())
        clock.advance(86400)
        downloads.count("", "open-lib", "open-lib-1.0.tar.gz", ANY_CLIENT, clock.seconds())
        indexes = MemoryIndexes()
        indexes.set(MemorySource(PUBLIC))
        indexes.set(MemorySource(SECRET), "lab")
        rights = TWO_INDEXES.replace("READER", reader)
        index = GuardedIndex(tmp_path, rights, clock=clock, downloads=downloads, indexes=indexes)
        answers.append(
            [
                index.get(path, headers=accept | fields).body
                for path in (
                    "/-/stats",
                    "/-/stats?project=open-lib",
                    "/-/stats?project=secret-lib",
                    "/-/stats/api/packages/open-lib/overall",
                    "/-/stats/api/packages/secret-lib/overall",
                )
                for accept in (JSON, HTML)
            ]
        )
    assert answers[0] == answers[1]
    assert stats(index, **fields)["since"] == "2026-11-29"


NAMES = ("open-lib", "secret-lib", "shared-lib")


@examples(20)
@given(
    public=st.sets(st.sampled_from(NAMES)),
    alices=st.sets(st.sampled_from(NAMES)),
    counted=st.dictionaries(st.sampled_from([*NAMES, "-"]), st.integers(1, 5)),
)
def test_no_number_tells_of_a_project_that_its_reader_may_not_read(
    tmp_path_factory: pytest.TempPathFactory,
    public: set[str],
    alices: set[str],
    counted: dict[str, int],
):
    rules = [("everyone", name) for name in sorted(public)] + [("alice", name) for name in sorted(alices)]
    # Of projects without a rule, everyone reads all.
    rules.append(("bob", "*"))
    rights = "".join(f'[[rule]]\nprojects = "{name}"\nallow = ["read"]\nto = "{to}"\n' for to, name in rules)
    clock, downloads = in_memory()
    for name, times in counted.items():
        for _ in range(times):
            downloads.count("", name, f"{name}-1.0.tar.gz", ANY_CLIENT, clock.seconds())
    index = GuardedIndex(
        tmp_path_factory.mktemp("rights"),
        rights + '[[rule]]\nallow = ["operate"]\nto = "carol"\n',
        source=MemorySource(SECRET, PUBLIC, SHARED),
        clock=clock,
        downloads=downloads,
    )
    for fields, readable in (({}, public), (as_user("alice"), public | alices)):
        if not readable and not fields:
            assert index.get("/-/stats").status == 401
            continue
        reply = index.get("/-/stats", headers=JSON | fields)
        if reply.status == 403:
            assert not readable
            continue
        seen = {name: times for name, times in counted.items() if name in readable}
        document = json.loads(reply.body)
        assert document["projects"] == seen
        assert document["downloads"] == sum(document["days"].values()) == sum(seen.values())
        page = index.get("/-/stats", headers=HTML | fields).body.decode()
        for name in NAMES:
            table = index.get(f"/-/stats/api/packages/{name}/overall?mirrors=true", headers=fields)
            if name in seen:
                assert [row["downloads"] for row in json.loads(table.body)["data"]] == [seen[name]]
            else:
                assert (table.status, table.body) == (404, b'{"message": "Not Found"}\n')
            if name not in readable:
                assert name not in page
                assert index.get(f"/-/stats?project={name}", headers=fields).status == (
                    403 if fields else 401
                )
