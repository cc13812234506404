"""The response to a change has a serial that a replica waits for: that of the change, or a later one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.folder_store import Shop
from tests.web import test_drafts, test_promote
from tests.web.test_drafts import NEW, NEW_OPEN, OPEN, Answer
from tests.web.test_promote import RELEASES
from twisted_index.simple.entry_listing import parse_listing
from twisted_index.testing import make_wheel


@pytest.fixture
def server(tmp_path: Path) -> Iterator[test_drafts.Server]:
    server = test_drafts.Server(tmp_path)
    yield server
    server.stop()


def noted(server: test_drafts.Server, project: str, prefix: str = "") -> int:
    listing = server.answer(f"{prefix}/-/entries/{project}", user="alice")
    assert listing.status == 200, listing.text
    return parse_listing(listing.body).serial


def told(answer: Answer) -> int:
    assert answer.status == 200, answer.text
    return int(answer.headers["X-Index-Serial"])


def test_each_change_tells_its_serial(server: test_drafts.Server):
    before = 0
    for change in (
        lambda: server.upload("", NEW_OPEN),
        lambda: server.post("/-/yank", {"project": "open-lib", "version": "2.0"}),
        lambda: server.post("/-/yank", {"project": "open-lib", "version": "2.0", "yanked": False}),
        lambda: server.post("/-/status", {"project": "Open_Lib", "status": "archived"}),
        lambda: server.answer(f"/simple/open-lib/{NEW_OPEN.filename}", "DELETE", "alice"),
        lambda: server.answer(f"/simple/open-lib/{OPEN.filename}", "DELETE", "alice"),
    ):
        serial = told(change())
        assert serial > before
        assert serial == noted(server, "open-lib")
        before = serial


def test_what_is_there_already_tells_its_serial_too(server: test_drafts.Server):
    """The response to the first upload may have been lost on its way."""
    serial = told(server.upload("", NEW_OPEN))
    assert told(server.upload("", NEW_OPEN)) == serial


def test_one_that_is_refused_has_none(server: test_drafts.Server):
    server.upload("", NEW_OPEN)
    refused = server.upload("", make_wheel("open-lib", "2.0", files={"open_lib/other.py": ""}))
    assert refused.status >= 400
    assert "X-Index-Serial" not in refused.headers


def test_what_is_in_a_draft_is_waited_for_by_nobody_until_it_is_published(server: test_drafts.Server):
    prefix = server.create()
    uploaded = server.upload(prefix, NEW)
    assert (uploaded.status, "X-Index-Serial" in uploaded.headers) == (200, False)
    assert server.answer("/-/entries/new-lib", user="alice").status == 404
    published = server.answer("/-/drafts/v1/publish", "POST", "alice")
    assert told(published) == noted(server, "new-lib")


def test_a_draft_has_no_entries_for_those_who_have_only_its_token(server: test_drafts.Server):
    prefix = server.create()
    server.upload(prefix, NEW)
    assert server.answer(f"{prefix}/-/entries/new-lib").status in (401, 403, 404)


def test_the_past_has_no_entries(server: test_drafts.Server):
    assert server.answer("/+at/2020-01-01/-/entries/open-lib", user="alice").status == 404


def test_a_promotion_tells_the_greatest_serial_of_its_target(tmp_path: Path, open_shop: Callable[..., Shop]):
    server = test_promote.Server(tmp_path, open_shop)
    answer = server.promote()
    serials = server.shops["prod"].source.serials
    assert RELEASES == ["acme==1.2", "Acme_Extras==1.2"]
    greatest = max(serials.serial_of(name) or 0 for name in ("acme", "acme-extras"))
    assert int(answer.headers["X-Index-Serial"]) == greatest > 0


def test_all_indexes_of_a_server_are_in_one_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A replica that follows one of them sends changes on in that."""
    rule = '[[rule]]\nindexes = "*"\nallow = "{}"\nto = "alice"\n'
    rules = rule.format("follow") + rule.format("read") + 'projects = "*"\n'
    monkeypatch.setattr(test_drafts, "RIGHTS", test_drafts.RIGHTS + rules)
    (tmp_path / "indexes" / "dev").mkdir(parents=True)
    server = test_drafts.Server(tmp_path, 'indexes = "indexes"')
    try:
        feeds = [server.answer(f"{prefix}/-/changes", user="alice") for prefix in ("", "/+dev")]
        states = [server.answer(f"{prefix}/-/replication", user="alice") for prefix in ("", "/+dev")]
    finally:
        server.stop()
    assert [feed.status for feed in feeds] == [200, 200]
    assert feeds[0].body.split()[0] != feeds[1].body.split()[0]
    [epoch] = {feed.headers["X-Index-Epoch"] for feed in feeds}
    assert {" ".join(map(str, state.json["epoch"])) for state in states} == {epoch}
