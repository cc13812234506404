"""The index that a folder is filled from: lists of projects, and pages that are not asked for again."""

from __future__ import annotations

import json

import pytest

from tests.kit.hostile_upstream import JSON, HostileUpstream, answer, page
from tests.kit.pulls import Pulls
from twisted_index.backends.upstream.project_list_parser import parse_project_list
from twisted_index.errors import BadGateway
from twisted_index.mirror.pull_run import PullRun
from twisted_index.testing import RunningIndex, make_wheel

HTML = "text/html"


def _parse(body: bytes, content_type: str = JSON, **more: bool) -> dict[str, int | None]:
    return parse_project_list(body, content_type=content_type, url="https://one.example/simple/", **more)


def test_a_json_list_gives_names_with_their_serials():
    projects = [{"name": "Foo.Bar", "_last-serial": 7}, {"name": "b"}, {"name": "../c"}, 3]
    assert _parse(json.dumps({"projects": projects}).encode()) == {"foo-bar": 7, "b": None}


def test_an_html_list_gives_the_names_in_its_links():
    body = b'<title>Simple index</title><a href="/simple/Foo_Bar/">Foo_B..</a><a href="../">up</a>'
    assert _parse(body, HTML) == {"foo-bar": None}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", JSON),
        (b"[" * 100_000, JSON),
        (b"<html><title>Sign in</title><a href='https://else.example/login'>Sign in</a></html>", HTML),
        (b"projects", "text/plain"),
    ],
)
def test_what_is_no_list_is_refused(body: bytes, content_type: str):
    with pytest.raises(BadGateway):
        _parse(body, content_type)


def test_a_cut_list_is_refused():
    with pytest.raises(BadGateway):
        _parse(b'<html><title>Simple index</title><a href="foo/">foo</a>', HTML, whole=False)


def test_a_large_list_is_parsed():
    body = b"<html><title>Simple index</title>" + b'<a href="/simple/foo/">foo</a>\n' * 400_000
    assert _parse(body, HTML) == {"foo": None}


def test_a_list_with_a_tag_without_an_end_takes_one_pass():
    assert _parse(b"<html>" + b"<a href=" * 200_000 + b"<title>Simple index</title>", HTML) == {}


async def _projects(run: PullRun) -> dict[str, int | None]:
    return dict(await run.index.projects())


def test_the_list_of_a_real_index_is_read(pulls: Pulls, source: RunningIndex):
    source.add_wheel("one", "1.0")
    source.add_wheel("two", "1.0")
    assert pulls.run(_projects, source.url).keys() == {"one", "two"}


def _serve(hostile: HostileUpstream, listed: int, stated: int) -> None:
    wheel = make_wheel("demo", "1.0")
    hostile.on(f"/simple/demo/{wheel.filename}", answer(200, wheel.content))
    projects = {"projects": [{"name": "demo", "_last-serial": listed}]}
    hostile.on("/simple/", answer(200, json.dumps(projects).encode(), Content_Type=JSON))
    files = [{"filename": wheel.filename, "url": wheel.filename, "hashes": {"sha256": wheel.sha256}}]
    hostile.on("/simple/demo/", page(json.dumps({"files": files}).encode(), X_PyPI_Last_Serial=str(stated)))


def _ask_again(pulls: Pulls, hostile: HostileUpstream) -> list[str]:
    pulls.pull(f"{hostile.origin}/simple/", "demo", lists=True)
    before = len(hostile.asked)
    pulls.pull(f"{hostile.origin}/simple/", "demo", lists=True)
    return hostile.targets()[before:]


def test_a_page_whose_serial_did_not_move_is_not_asked_for_again(pulls: Pulls, hostile: HostileUpstream):
    _serve(hostile, listed=7, stated=7)
    assert _ask_again(pulls, hostile) == ["/simple/"]


def test_a_page_that_is_older_than_the_list_says_is_asked_for_again(pulls: Pulls, hostile: HostileUpstream):
    _serve(hostile, listed=8, stated=7)
    assert _ask_again(pulls, hostile) == ["/simple/", "/simple/demo/"]
