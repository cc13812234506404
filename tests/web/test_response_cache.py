"""Finished answers, by the index and the project that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.uploads import MemoryAccess
from twisted_index.interfaces import ANONYMOUS, Action, Snapshot
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import MemorySource, SiteInMemory, make_wheel
from twisted_index.web.requests.authorization import Authorizer
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.resource import IndexResource
from twisted_index.web.responses.error_pages import message_response
from twisted_index.web.responses.response_cache import (
    ResponseCache,
    negotiate_representation,
    page_key,
    render_project_page,
)
from twisted_index.web.server.site import IndexSite


def test_the_key_of_the_only_index_is_the_name_of_the_project():
    """The list of projects has the empty key."""
    assert page_key("demo") == "demo"
    assert page_key("") == ""


def test_answers_about_one_project_in_two_indexes_are_kept_apart():
    """A page that an index has prepared is never given for another."""
    answers, form = ResponseCache(1 << 20, ()), negotiate_representation(None, None)
    made = {}
    for prefix in ("", "1/"):
        page = ProjectPage(name="demo")
        made[prefix] = render_project_page(page, form, None)
        snapshot = Snapshot(value=page, is_current=lambda: True)
        answers.beginning(prefix).put(page_key("demo"), snapshot, form, made[prefix])
    for prefix, response in made.items():
        ready = answers.beginning(prefix).get(page_key("demo"), form)
        assert ready is not None
        assert ready.response is response
    assert answers.beginning("2/").get(page_key("demo"), form) is None


def test_rights_are_asked_for_by_the_index_too():
    """Access learns which index a project is in."""

    class Noting(MemoryAccess):
        def permits(self, identity, action, project="", *, index=""):
            seen.append((project, index))
            return True

    seen: list[tuple[str, str]] = []
    assert Authorizer(Noting(), ClientInfoReader()).permits(ANONYMOUS, Action.READ, "demo", index="dev")
    assert seen == [("demo", "dev")]


def test_an_absence_that_is_prepared_again_holds_as_long_as_the_new_one():
    absent, form = ResponseCache(1 << 20, ()), "text"
    response = message_response(404, "There is no project demo here.", None)
    absent.put("demo", Snapshot(value=None, is_current=lambda: False), form, response)
    assert absent.get("demo", form) is None
    absent.put("demo", Snapshot(value=None, is_current=lambda: True), form, response)
    assert absent.get("demo", form) is not None


def test_a_large_page_is_written_once_for_all_who_wait_for_it():
    held: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    class Held:
        def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            held.append((Deferred(), lambda: function(*args)))
            return held[-1][0]

    source = MemorySource(*(make_wheel("demo", f"{number}.0") for number in range(501)))
    clock = Clock()
    site = SiteInMemory(IndexSite(IndexResource(source, worker=Held()), reactor=clock), clock)
    connections = [site.connect() for _ in range(3)]
    for connection in connections:
        connection.ask("/simple/demo/")
    assert len(held) == 1
    waiting, write = held[0]
    waiting.callback(write())
    site.settle()
    bodies = {connection.responses()[0].body for connection in connections}
    assert len(bodies) == 1
    assert bodies.pop().count(b"<a ") == 501
    site.disconnect_all()
