"""What a resource serves is replaced as a whole: no response is made of two states, and none outlives one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.kit.uploads import MemoryAccess
from twisted_index.config.settings import UploadSettings
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel

ONE, TWO = make_wheel("demo", "1.0"), make_wheel("demo", "2.0")
PAGE = "/simple/demo/"


class Reopening(MemorySource):
    """Its files can be opened again, so that they are cached."""

    def open_file(self, *args: Any) -> Any:
        body = super().open_file(*args)
        return None if body is None else replace(body, reopen=lambda: body)


class Late(Reopening):
    """Its pages come when the test says so."""

    def __init__(self, *files: Any) -> None:
        super().__init__(*files)
        self.waiting: list[Deferred[None]] = []

    async def project_page(self, project: str) -> Any:
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return super().project_page(project)


class UsersOnly(MemoryAccess):
    """Lets no client in without a password."""

    def permits(self, identity: Any, *_args: Any, **_more: Any) -> bool:
        return identity.is_authenticated


def serve(index: IndexInMemory, source: MemorySource, access: Any = None) -> None:
    index.site.resource.serve(source, access, UploadSettings())


@pytest.mark.parametrize("is_fast", [True, False])
def test_the_next_request_is_answered_from_the_new_source(is_fast: bool):
    index = IndexInMemory(Reopening(ONE))
    if not is_fast:
        index.site.fast_path = None
    paths = ["/simple/", PAGE, f"{PAGE}{ONE.filename}", f"{PAGE}{TWO.filename}", "/simple/other/"]
    for _again in range(2):
        assert [index.get(path).status for path in paths] == [200, 200, 200, 404, 404]
    serve(index, Reopening(TWO, make_wheel("other", "1.0")))
    for _again in range(2):
        assert [index.get(path).status for path in paths] == [200, 200, 404, 200, 200]
    assert b"other" in index.get("/simple/").body


def test_a_request_that_runs_ends_with_what_it_began_with_and_leaves_nothing_cached():
    late = Late(ONE)
    index = IndexInMemory(late)
    connection = index.connect()
    connection.send(b"GET /simple/demo/ HTTP/1.1\r\nHost: a\r\n\r\n")
    serve(index, Reopening(TWO))
    late.waiting[0].callback(None)
    index.settle()
    assert ONE.filename.encode() in connection.received
    body = index.get(PAGE).body
    assert TWO.filename.encode() in body
    assert ONE.filename.encode() not in body


def test_rights_that_close_an_index_hold_for_what_was_cached():
    source = Reopening(ONE)
    index = IndexInMemory(source)
    paths = ["/simple/", PAGE, f"{PAGE}{ONE.filename}"]
    for _again in range(2):
        assert [index.get(path).status for path in paths] == [200] * 3
    serve(index, source, UsersOnly(public_read=False))
    for _again in range(2):
        assert [index.get(path).status for path in paths] == [401] * 3


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_change_is_looked_for_before_each_request(is_fast: bool):
    index = IndexInMemory(Reopening(ONE))
    if not is_fast:
        index.site.fast_path = None
    assert [index.get(PAGE).status for _again in range(2)] == [200, 200]
    index.site.resource.poll = lambda: serve(index, MemorySource())
    assert index.get(PAGE).status == 404
