"""A scope is the whole tree of URLs again, as if another index were mounted there."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.uploads import ALICE, CAROL, CONTENT_TYPE, NAME, MemoryAccess, MemoryStore, upload_form
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import BadRequest, Unavailable
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.interfaces import Action
from twisted_index.testing import IndexInMemory, MemorySource, SiteInMemory, make_sdist, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

HERE, DEV, PAST = make_wheel("here", "1.0"), make_wheel("demo", "2.0.dev1"), make_wheel("demo", "1.0")
WHEN = "2026-11-01"
#: The URL of an index, and the name of the project that it has.
SCOPES = [
    ("/", "here"),
    ("/+dev/", "demo"),
    ("/%2Bdev/", "demo"),
    (f"/+at/{WHEN}/", "demo"),
    (f"/+dev/+at/{WHEN}/", "demo"),
]


@pytest.fixture
def indexes() -> MemoryIndexes:
    made = MemoryIndexes()
    made.set(MemorySource(HERE))
    made.set(MemorySource(DEV), "dev")
    made.set(MemorySource(PAST), Scope(as_of=WHEN))
    made.set(MemorySource(PAST), Scope(index="dev", as_of=WHEN))
    return made


@pytest.fixture
def index(indexes: MemoryIndexes) -> IndexInMemory:
    return IndexInMemory(indexes.find(PLAIN).source, indexes=indexes)


@pytest.mark.parametrize(("prefix", "project"), SCOPES)
def test_every_url_is_there_again_below_a_scope(index: IndexInMemory, prefix: str, project: str):
    file = {"here": HERE, "/+dev/": DEV, "/%2Bdev/": DEV}.get(prefix if prefix != "/" else "here", PAST)
    assert f'href="{project}/"' in index.get(f"{prefix}simple/").text
    assert f'href="{file.filename}#' in index.get(f"{prefix}simple/{project}/").text
    assert f'href="{file.filename}#' in index.get(f"{prefix}{project}/").text
    assert index.get(f"{prefix}simple/{project}/{file.filename}").body == file.content
    assert index.get(f"{prefix}simple/{project}/{file.filename}.metadata").body == file.metadata
    assert index.get(f"{prefix}pypi/{project}/json").status == 200
    assert index.get(f"{prefix}packages/").status == 200
    assert index.get(f"{prefix}legacy/+simple/{project}/").status == 200
    assert index.get(f"{prefix}+simple/{project}/").status == 200
    assert index.get(f"{prefix}-/health").status == 200
    assert index.get(f"{prefix}simple/none/").status == 404
    assert index.get(f"{prefix}", headers={"Accept": "text/html"}).status == 200


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/+dev", "+dev/"),
        ("/%2Bdev?q=1", "+dev/?q=1"),
        (f"/+dev/+at/{WHEN}", f"{WHEN}/"),
        ("/+dev/simple", "simple/"),
        ("/+dev/simple/Demo/", "../demo/"),
        (f"/+dev/packages/{DEV.filename}", f"../simple/demo/{DEV.filename}"),
        ("/+dev//simple/demo/", "/+dev/simple/demo/"),
        ("//+dev/simple//demo/", "/+dev/simple/demo/"),
    ],
)
def test_redirects_stay_in_the_scope(index: IndexInMemory, path: str, location: str):
    reply = index.get(path)
    assert reply.status in (301, 302)
    assert reply.headers["Location"] == location


@pytest.mark.parametrize(
    "path",
    ["/+dev/+other/", "/+at/", "/+at", "/+dev/+dev/simple/", "/+-x/simple/", "/+/x/", "/x/+dev/simple/"],
)
def test_what_looks_like_a_scope_and_can_be_none_is_404(index: IndexInMemory, path: str):
    assert index.get(path).status == 404


def test_without_a_registry_a_plus_means_what_it_did():
    plain = IndexInMemory(MemorySource(HERE))
    assert plain.get("/+dev/simple/").status == 404
    assert plain.get("/+simple/here/").status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, 404), (Unavailable("Its bases go in circles."), 503), (BadRequest("No."), 400)],
)
def test_what_the_registry_says_of_an_index_is_what_clients_get(
    index: IndexInMemory, indexes: MemoryIndexes, error: Any, status: int
):
    if error is not None:
        indexes.fail("new", error)
    for path in ("simple/", "simple/demo/", "", "pypi/demo/json", "-/health", "nothing/here/at/all"):
        reply = index.get(f"/+new/{path}")
        assert reply.status == status
        assert reply.text == ("There is no index new here.\n" if error is None else f"{error.message}\n")


def test_an_index_is_there_from_the_next_request_on_and_gone_with_its_folder(
    index: IndexInMemory, indexes: MemoryIndexes
):
    assert index.get("/+new/simple/").status == 404
    indexes.set(MemorySource(DEV), "new")
    assert index.get("/+new/simple/demo/").status == 200
    indexes.remove("new")
    assert index.get("/+new/simple/demo/").status == 404


def test_pages_of_what_an_index_was_are_not_shown_of_what_it_is_now(
    index: IndexInMemory, indexes: MemoryIndexes
):
    """Both pages are current, as far as their sources know."""
    assert DEV.filename in index.get("/+dev/simple/demo/").text
    indexes.set(MemorySource(PAST), "dev")
    assert PAST.filename in index.get("/+dev/simple/demo/").text
    assert DEV.filename not in index.get("/+dev/simple/demo/").text
    assert index.get(f"/+dev/simple/demo/{DEV.filename}").status == 404


def test_reloaded_settings_leave_no_page_of_any_index(index: IndexInMemory, indexes: MemoryIndexes):
    resource = index.site.resource
    assert index.get("/+dev/simple/demo/").status == 200
    resource.serve(indexes.find(PLAIN).source, MemoryAccess(), UploadSettings())
    assert resource.caches(Scope(index="dev")) is None


def test_indexes_are_forgotten_in_the_order_of_their_use(index: IndexInMemory, indexes: MemoryIndexes):
    resource = index.site.resource
    for number in range(258):
        indexes.set(MemorySource(), f"i{number}")
        index.get(f"/+i{number}/simple/")
        index.get("/+i0/simple/")
    index.get("/simple/")
    assert resource.caches(Scope(index="i1")) is None
    assert resource.caches(Scope(index="i0")) is not None
    assert resource.caches() is not None


# -- Rights


class Reading(MemoryAccess):
    """Alice reads everything, carol what is in `open`, everyone nothing."""

    def permits(self, identity, action, project="", *, index=""):
        reads = action is Action.READ and identity.user == "carol" and index == "open"
        return identity.user == "alice" or reads


PATHS = [
    "",
    "simple/",
    "simple/demo/",
    f"simple/demo/{DEV.filename}",
    "demo/",
    "pypi/demo/json",
    "packages/",
    "-/health",
    "-/problems",
    "-/history",
    "-/metrics",
    "-/wanted",
    "-/changes",
    "-/",
    "-/none",
    "a/b/c/d",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": CAROL}, {"Authorization": "Basic eDp5"}])
def test_those_without_rights_cannot_tell_which_indexes_there_are(
    indexes: MemoryIndexes, method: str, path: str, headers: dict[str, str]
):
    store = MemoryStore()
    indexes.set(MemorySource(HERE), store=store)
    indexes.set(MemorySource(DEV), "dev", store=store)
    index = IndexInMemory(
        indexes.find(PLAIN).source, indexes=indexes, access=Reading(public_read=False), store=store
    )
    there, not_there = (
        index.get(f"/+{name}/{path}", method=method, headers=headers) for name in ("dev", "not")
    )
    assert there.status == not_there.status
    assert there.status in (401, 403, 405) or method == "OPTIONS"
    assert there.text.replace("dev", "not") == not_there.text
    one, other = (
        sorted(item for item in reply.headers.items() if item[0] != "date") for reply in (there, not_there)
    )
    assert one == other


def test_a_page_is_for_those_who_may_read_in_every_index_of_the_line(indexes: MemoryIndexes):
    indexes.set(MemorySource(DEV), "open", bases=("closed",))
    index = IndexInMemory(indexes.find(PLAIN).source, indexes=indexes, access=Reading(public_read=False))
    carol = {"Authorization": CAROL}
    assert index.get("/+open/simple/demo/", headers={"Authorization": ALICE}).status == 200
    assert index.get("/+open/simple/demo/", headers=carol).status == 403
    indexes.set(MemorySource(DEV), "open")
    assert index.get("/+open/simple/demo/", headers=carol).status == 200


# -- Uploads


def uploaded(site: SiteInMemory, path: str, content: bytes = b"x" * 2_000_000) -> Any:
    headers = {"Content-Type": CONTENT_TYPE, "Authorization": ALICE}
    return site.get(path, method="POST", headers=headers, body=upload_form(content))


@pytest.mark.parametrize("mount", ["", "py/"])
@pytest.mark.parametrize("path", ["+dev/legacy/", "+dev/", "%2Bdev/simple/"])
def test_an_upload_goes_to_the_index_of_its_url(indexes: MemoryIndexes, mount: str, path: str):
    plain, dev = MemoryStore(), MemoryStore()
    indexes.set(MemorySource(), store=plain)
    indexes.set(MemorySource(), "dev", store=dev)
    resource = IndexResource(MemorySource(), indexes=indexes, store=plain, access=MemoryAccess())
    root: Resource = resource
    if mount:
        root = Resource()
        root.putChild(b"py", resource)
    clock = Clock()
    site = SiteInMemory(IndexSite(root, reactor=clock, uploads=resource), clock)
    content = b"x" * 2_000_000
    assert uploaded(site, f"/{mount}{path}", content).status == 200
    assert (plain.files, dev.files) == ({}, {NAME: content})
    assert uploaded(site, f"/{mount}legacy/", content).status == 200
    assert plain.files == {NAME: content}


def test_a_form_at_a_url_that_takes_none_is_told_the_url_of_its_index(indexes: MemoryIndexes):
    store = MemoryStore()
    indexes.set(MemorySource(), "dev", store=store)
    index = IndexInMemory(MemorySource(), indexes=indexes, store=store, access=MemoryAccess())
    assert uploaded(index, "/+dev/pypi/").text == (
        "Upload to http://index.test/+dev/legacy/ instead: this URL accepts no uploads.\n"
    )


def test_an_upload_to_an_index_that_is_not_there_is_404_for_those_who_may_upload(indexes: MemoryIndexes):
    store = MemoryStore()
    index = IndexInMemory(MemorySource(), indexes=indexes, store=store, access=MemoryAccess())
    assert uploaded(index, "/+new/legacy/").status == 404
    anonymous = index.get(
        "/+new/legacy/", method="POST", headers={"Content-Type": CONTENT_TYPE}, body=upload_form()
    )
    assert anonymous.status == 401
    assert store.left == 0


def test_in_the_past_nothing_can_be_changed(indexes: MemoryIndexes):
    store = MemoryStore()
    index = IndexInMemory(MemorySource(), indexes=indexes, store=store, access=MemoryAccess())
    assert uploaded(index, f"/+dev/+at/{WHEN}/legacy/").status == 405


# -- URLs


def test_the_front_page_has_the_url_of_its_index(indexes: MemoryIndexes):
    index = IndexInMemory(MemorySource(), indexes=indexes)
    html = {"Accept": "text/html"}
    assert "http://index.test/+dev/simple/" in index.get("/+dev/", headers=html).text
    public = IndexInMemory(MemorySource(), indexes=indexes, public_url="https://p.test/py")
    assert "https://p.test/py/+dev/simple/" in public.get("/+dev/", headers=html).text
    at = public.get(f"/+dev/+at/{WHEN}/", headers=html).text
    assert f"https://p.test/py/+dev/+at/{WHEN}/simple/" in at


@pytest.mark.parametrize("public", [None, "https://p.test/py"])
def test_legacy_documents_link_below_the_scope(indexes: MemoryIndexes, public: str | None):
    index = IndexInMemory(MemorySource(), indexes=indexes, public_url=public)
    url = f"{public or 'http://index.test'}/+dev/simple/demo/{DEV.filename}"
    assert f'"url":"{url}"' in index.get("/+dev/pypi/demo/json").text


def test_a_sdist_of_one_index_is_no_file_of_another(indexes: MemoryIndexes):
    """The small files of all indexes are in one cache."""
    sdist = make_sdist("demo", "3.0")
    indexes.set(MemorySource(sdist), "one")
    indexes.set(MemorySource(), "two")
    index = IndexInMemory(MemorySource(), indexes=indexes)
    for _ in range(2):
        assert index.get(f"/+one/simple/demo/{sdist.filename}").status == 200
        assert index.get(f"/+two/simple/demo/{sdist.filename}").status == 404


# -- Indexes that are looked at for a while


def test_a_response_waits_until_its_index_was_looked_at(indexes: MemoryIndexes):
    index = IndexInMemory(MemorySource(), indexes=indexes)
    looking = indexes.looking = Deferred()
    found = len(indexes.found)
    index.connect().send(b"GET /+dev/simple/demo/ HTTP/1.1\r\nHost: index.test\r\n\r\n")
    assert len(indexes.found) == found
    looking.callback(None)
    assert indexes.found[found:] == [Scope(index="dev")]


def test_an_index_that_cannot_be_looked_at_is_unavailable(indexes: MemoryIndexes):
    indexes.set(MemorySource(DEV), "dev")
    indexes.looking = fail(Unavailable("The object store does not answer."))
    reply = IndexInMemory(MemorySource(), indexes=indexes).get("/+dev/simple/demo/")
    assert (reply.status, reply.text) == (503, "The object store does not answer.\n")


def test_an_upload_whose_index_has_changed_has_to_be_repeated(
    indexes: MemoryIndexes, monkeypatch: pytest.MonkeyPatch
):
    old, new = MemoryStore(), MemoryStore()
    indexes.set(MemorySource(), "dev", store=old)
    index = IndexInMemory(MemorySource(), indexes=indexes, store=old, access=MemoryAccess())

    def look(_scope: Scope) -> Deferred[None]:
        monkeypatch.undo()
        indexes.set(MemorySource(), "dev", store=new)
        return succeed(None)

    monkeypatch.setattr(indexes, "look", look)
    assert uploaded(index, "/+dev/legacy/").status == 503
    assert uploaded(index, "/+dev/legacy/").status == 200
    assert (list(old.files), list(new.files)) == ([], [NAME])
