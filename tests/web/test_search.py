"""The search as people and scripts get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.kit.rights import GuardedIndex, as_user
from twisted_index.testing import IndexInMemory, make_wheel

JSON, HTML = {"Accept": "application/json"}, {"Accept": "text/html"}


@pytest.fixture
def index(tmp_path: Path):
    make_wheel(
        "Pillow", "2.0", files={"PIL/__init__.py": ""}, extra_metadata=["Summary: <b>Imaging</b>"]
    ).write_to(tmp_path)
    for number in range(4):
        make_wheel(f"tool-{number}", "1.0").write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        yield index


def found(index: IndexInMemory, query: str, **headers: str) -> dict[str, Any]:
    response = index.get(f"/-/search?q={quote(query)}", headers=JSON | headers)
    assert response.status == 200
    document: dict[str, Any] = json.loads(response.body)
    return document


def test_the_document_has_the_results_first_and_no_other_list(index: IndexInMemory):
    document = found(index, "PIL")
    assert list(document) == ["results", "total", "known", "projects", "suggestion"]
    (result,) = document["results"]
    assert result == {"name": "pillow", "version": "2.0", "summary": "<b>Imaging</b>", "why": "imports PIL"}
    assert (document["total"], document["known"], document["projects"]) == (1, 5, 5)


def test_what_has_the_module_comes_before_what_has_the_package_above_it(tmp_path: Path):
    make_wheel("a", "1.0", files={"shared/__init__.py": ""}).write_to(tmp_path)
    make_wheel("b", "1.0", files={"shared/part.py": ""}).write_to(tmp_path)
    with IndexInMemory.of_folders(tmp_path) as index:
        names = [result["name"] for result in found(index, "shared.part")["results"]]
    assert names == ["b", "a"]


def test_a_limit_cuts_the_results_and_not_the_total(index: IndexInMemory):
    document = found(index, "tool")
    assert (len(document["results"]), document["total"]) == (4, 4)
    document = json.loads(index.get("/-/search?limit=3&q=tool", headers=JSON).body)
    assert (len(document["results"]), document["total"]) == (3, 4)


@pytest.mark.parametrize("limit", ["", "-1", "x", "1e9", "999999999999999999999", "%00"])
def test_an_odd_limit_is_the_default(index: IndexInMemory, limit: str):
    assert len(json.loads(index.get(f"/-/search?q=tool&limit={limit}", headers=JSON).body)["results"]) == 4


@pytest.mark.parametrize(
    "query",
    [
        "",
        "x" * 2000,
        "\0\x1b[2J",
        '"',
        "*",
        "NEAR(",
        "AND",
        "' OR 1=1 --",
        "<script>alert(1)</script>",
        "a\tb",
    ],
)
@pytest.mark.parametrize("accept", [JSON, HTML])
def test_no_query_is_an_error(index: IndexInMemory, query: str, accept: dict[str, str]):
    response = index.get(f"/-/search?q={quote(query)}", headers=accept)
    assert response.status == 200
    assert b"<script>alert" not in response.body


def test_a_query_that_is_no_utf_8_is_no_error(index: IndexInMemory):
    assert index.get("/-/search?q=%ff%fe&q=again", headers=HTML).status == 200
    assert index.get("/-/search", headers=HTML).status == 200


def test_the_page_leads_to_projects_and_says_why(index: IndexInMemory):
    response = index.get("/-/search?q=PIL", headers=HTML)
    page = response.body.decode()
    assert '<a href="../project/pillow/">Pillow</a>' in page
    assert "imports PIL" in page
    assert "&lt;b&gt;Imaging&lt;/b&gt;" in page
    assert 'value="PIL"' in page
    assert b"default-src 'none'" in response.headers["Content-Security-Policy"].encode()


def test_where_nothing_is_found_the_examples_are_links_and_no_results(index: IndexInMemory):
    page = index.get("/-/search?q=zzzqq", headers=HTML).body.decode()
    assert "<h1>Nothing found for “zzzqq”</h1>" in page
    assert '<a href="../-/search?q=module%3Ayaml"><code>module:yaml</code></a>' in page
    assert 'There are <a href="../simple/">5 projects</a> here.' in page


def test_the_page_suggests_what_may_have_been_meant(index: IndexInMemory):
    page = index.get("/-/search?q=pilow", headers=HTML).body.decode()
    assert 'Did you mean <a href="../-/search?q=pillow">pillow</a>?' in page


def test_a_guarded_answer_is_for_its_client_alone(tmp_path: Path):
    index = guarded(tmp_path, {"secret-lib": True, "open-lib": False})
    assert index.get("/-/search?q=lib", headers=JSON).headers["Cache-Control"].startswith("private")


def test_rights_that_change_count_in_the_next_search(tmp_path: Path):
    index = guarded(tmp_path, {"secret-lib": True, "open-lib": False})
    closed, bob = index.rights.read_text(), as_user("bob")
    totals = []
    for rights in (closed, closed.replace("alice", "bob"), closed):
        index.set_rights(rights)
        totals.append([found(index, "lib", **who)["total"] for who in (bob, as_user("alice"))])
    assert totals == [[1, 2], [2, 1], [1, 2]]


def test_a_token_that_is_made_again_has_its_own_rights(tmp_path: Path):
    index = guarded(tmp_path, {"secret-lib": True, "open-lib": False})
    totals = []
    for read in ("secret-*", "other-*"):
        totals.append(found(index, "lib", **index.token("same", read=read))["total"])
        index.tokens.revoke("same")
    assert totals == [2, 1]


def test_rights_to_a_project_are_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = guarded(tmp_path, {"secret-lib": True, "open-lib": False})
    asked: list[str] = []
    permits = index.access.permits

    def note(identity: Any, action: Any, project: str = "", *, index: str = "") -> bool:
        asked.append(project)
        return permits(identity, action, project, index=index)

    monkeypatch.setattr(index.access, "permits", note)
    for _search in range(3):
        assert found(index, "lib", **as_user("bob"))["total"] == 1
    assert sorted(filter(None, asked)) == ["open-lib", "secret-lib"]


PROJECTS = ["alpha", "alpha-beta", "beta", "betas", "gamma"]


@given(
    st.dictionaries(st.sampled_from(PROJECTS), st.booleans(), min_size=2),
    st.sampled_from([*PROJECTS, "alpa", "bet", "a", "module:beta", "requires:gamma", "summary", ""]),
    st.sampled_from(["", "alice", "bob"]),
)
@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_answer_names_what_a_client_may_not_read(
    tmp_path_factory: pytest.TempPathFactory, closed: dict[str, bool], query: str, user: str
):
    index = guarded(tmp_path_factory.mktemp("guarded"), closed)
    unreadable = [name for name, is_closed in closed.items() if is_closed and user != "alice"]
    headers = as_user(user) if user else {}
    for accept in (JSON, HTML):
        body = index.get(f"/-/search?q={quote(query)}", headers=headers | accept).body.decode()
        shown = body.partition("<main")[2].replace(f"“{query}”", "") if accept is HTML else body
        document = shown.partition("<dl>")[0]
        assert [name for name in unreadable if f'"{name}"' in document or f">{name}<" in document] == []
    document = found(index, query, **headers)
    assert document["projects"] == len(closed) - len(unreadable)
    assert document["known"] <= document["projects"]
    assert document["total"] <= document["projects"]


def guarded(folder: Path, closed: dict[str, bool]) -> GuardedIndex:
    """Serve projects of which some are Alice's alone."""
    packages = folder / "packages"
    packages.mkdir()
    for name in closed:
        make_wheel(name, "1.0", requires=["gamma"], extra_metadata=["Summary: a summary"]).write_to(packages)
    rules = [
        f'[[rule]]\nprojects = "{name}"\nallow = ["read"]\nto = "{"alice" if is_closed else "everyone"}"\n'
        for name, is_closed in closed.items()
    ]
    return GuardedIndex(folder, "".join(rules), source=IndexInMemory.of_folders(packages).source)
