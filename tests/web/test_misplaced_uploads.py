"""A file that is sent to a wrong URL: the answer says which is right, where clients show it."""

from __future__ import annotations

import json
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.kit.uploads import CONTENT_TYPE, NAME, MemoryAccess, MemoryStore, fields_of, head, upload_form
from twisted_index.config.settings import UploadSettings
from twisted_index.testing import IndexInMemory, MemorySource, make_wheel
from twisted_index.testing.in_memory import SiteInMemory
from twisted_index.web.requests.routes import UPLOAD_PATHS
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

WRONG = [
    "/pypi",
    "/pypi/",
    "/upload",
    "/upload/",
    "/simple/demo",
    "/simple/demo/",
    "/demo/",
    "/legacy//",
    "//legacy/",
    "/legacy/x",
    "/api/upload?:action=file_upload",
    "/packages",
    "/packages/demo-1.0-py3-none-any.whl",
    "/pypi/demo/json",
    "/%2Flegacy/",
    "/project/demo/",
    "http://index.test:81/pypi/",
    "/-/upload",
    "/-/",
]
SENTENCE = "Upload to http://index.test:81/legacy/ instead: this URL accepts no uploads."


@pytest.fixture
def index(tmp_path: Path) -> IndexInMemory:
    make_wheel("demo", "1.0").write_to(tmp_path)
    return IndexInMemory.of_folders(tmp_path, overwrite=())


def send(site: SiteInMemory, path: str, method: str = "POST", **more: str):
    headers = {"Content-Type": CONTENT_TYPE, "Host": "index.test:81"} | more
    return site.get(path, method=method, headers=headers, body=upload_form())


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_url_is_told_the_right_one(index: IndexInMemory, path: str):
    reply = send(index, path)
    assert (reply.status, reply.text) == (405, f"{SENTENCE}\n")
    assert "GET" in reply.headers["Allow"]


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_url_is_told_before_the_file_has_come(index: IndexInMemory, path: str):
    connection = index.connect()
    fields = fields_of({"Host": "index.test:81", "Content-Length": "50000000"}, None)
    connection.send(head(fields.items(), path).replace(b"Host: index.test\r\n", b""))
    assert connection.received.startswith(f"HTTP/1.1 405 {SENTENCE}\r\n".encode())


@pytest.mark.parametrize("path", ["/simple/demo/", "/packages/demo-1.0.tar.gz", "/demo-1.0.tar.gz", "/x/y/z"])
def test_a_file_that_is_put_is_told_too(index: IndexInMemory, path: str):
    assert send(index, path, "PUT").text == f"{SENTENCE}\n"


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/", "/simple/"])
def test_a_file_that_is_put_at_the_right_url_is_told_how(index: IndexInMemory, path: str):
    reply = send(index, path, "PUT")
    assert reply.status == 405
    assert reply.text == "Upload by POST here, as twine and uv do.\n"
    assert "POST" in reply.headers["Allow"]


def test_uv_reads_it_as_json(index: IndexInMemory):
    reply = send(index, "/simple/demo/", Accept="application/json;q=0.9, text/plain;q=0.8")
    assert json.loads(reply.body) == {
        "message": SENTENCE,
        "code": f"405 {SENTENCE}",
        "title": "Method Not Allowed",
    }


@pytest.mark.parametrize("host", ["evil.test/x?", "a b", "a\x7fb", "a@b", '"><script>'])
def test_a_host_that_is_none_is_not_repeated(index: IndexInMemory, host: str):
    reply = send(index, "/pypi", Host=host)
    assert reply.status in (400, 405)
    assert host not in reply.text


def test_changing_other_things_is_not_taken_for_an_upload(index: IndexInMemory):
    assert "legacy" not in send(index, "/-/health").text
    values = {"Content-Type": "application/x-www-form-urlencoded"}
    assert "legacy" not in send(index, "/-/nothing", **values).text
    assert send(index, "/-/yank").status == 415


SEARCH = xmlrpc.client.dumps(({"name": ["demo"], "summary": ["demo"]}, "or"), "search").encode()


@pytest.mark.parametrize("path", ["/pypi", "/RPC2", "/pypi/", "/simple/demo/", "/", "/simple/", "/simple"])
def test_a_search_gets_a_fault_that_says_where_the_projects_are(index: IndexInMemory, path: str):
    """`pip search` shows the sentence of a fault, and a traceback for anything else."""
    fields = {"Content-Type": "text/xml", "Host": "index.test:81"}
    reply = index.get(path, method="POST", headers=fields, body=SEARCH)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    with pytest.raises(xmlrpc.client.Fault, match=r"Open http://index\.test:81/ in a browser"):
        xmlrpc.client.loads(reply.body)


def test_a_search_whose_host_has_the_characters_of_markup_gets_a_fault_that_can_be_read(index: IndexInMemory):
    fields = {"Content-Type": "text/xml", "Host": "a&b'c"}
    reply = index.get("/", method="POST", headers=fields, body=SEARCH)
    with pytest.raises(xmlrpc.client.Fault, match="browser"):
        xmlrpc.client.loads(reply.body)


def test_a_request_for_a_change_that_is_xml_is_no_search(index: IndexInMemory):
    assert send(index, "/-/yank", **{"Content-Type": "text/xml"}).status == 415


@pytest.mark.parametrize("path", WRONG[:8])
def test_where_uploads_are_off_it_says_only_that(path: str):
    reading = IndexInMemory(MemorySource())
    assert send(reading, path).text.startswith("This index can only be read; to publish, put the file into")
    off = IndexInMemory(MemorySource(), store=MemoryStore(), upload_settings=UploadSettings(upload=False))
    assert (
        send(off, path).text
        == "Uploads are turned off here; start the server with --upload to accept them.\n"
    )


@pytest.mark.parametrize(("public", "url"), [(None, "http://index.test:81/py/x"), ("https://p.test/y/",) * 2])
def test_the_url_is_the_one_by_which_the_client_came_or_that_is_made_public(public: str | None, url: str):
    resource = IndexResource(
        MemorySource(),
        store=MemoryStore(),
        access=MemoryAccess(),
        upload_settings=UploadSettings(upload=True),
        public_url=public,
    )
    root, inner = Resource(), Resource()
    root.putChild(b"py", inner)
    inner.putChild(b"x", resource)
    clock = Clock()
    site = SiteInMemory(IndexSite(root, reactor=clock), clock)
    assert (
        send(site, "/py/x/pypi").text
        == f"Upload to {url.rstrip('/')}/legacy/ instead: this URL accepts no uploads.\n"
    )


def test_a_form_for_another_resource_of_the_site_is_left_to_it():
    class Counting(Resource):
        def render_POST(self, request: Any) -> bytes:
            return b"%d" % len(request.content.read())

    root = Resource()
    root.putChild(b"py", IndexResource(MemorySource(), store=MemoryStore(), access=MemoryAccess()))
    root.putChild(b"elsewhere", Counting())
    clock = Clock()
    site = SiteInMemory(IndexSite(root, reactor=clock), clock)
    assert send(site, "/elsewhere").text == str(len(upload_form()))


@pytest.mark.parametrize("prefix", ["", "/py", "/deep/er/"])
@pytest.mark.parametrize("path", UPLOAD_PATHS, ids=lambda path: "/" + b"/".join(path).decode())
def test_what_the_resource_takes_for_an_upload_the_request_has_received_as_one(
    path: list[bytes], prefix: str
):
    """Else its body would be cut at what a small body may have."""
    store = MemoryStore()
    settings = UploadSettings(upload=True)
    resource = IndexResource(
        MemorySource(), store=store, access=MemoryAccess(anyone=True), upload_settings=settings
    )
    root: Resource = resource
    for segment in reversed(prefix.strip("/").split("/") if prefix else []):
        outer = Resource()
        outer.putChild(segment.encode(), root)
        root = outer
    clock = Clock()
    site = SiteInMemory(IndexSite(root, reactor=clock, uploads=resource), clock)
    content = bytes(range(256)) * 9000
    below = b"/".join(path).decode()
    url = f"{prefix.rstrip('/')}/{below}"
    for spelled in (url, url.replace("e", "%65")):
        reply = site.get(
            spelled, method="POST", headers={"Content-Type": CONTENT_TYPE}, body=upload_form(content)
        )
        assert (reply.status, store.files) == (200, {NAME: content})


def test_a_form_at_the_mount_point_without_its_slash_is_told_the_right_url():
    resource = IndexResource(
        MemorySource(),
        store=MemoryStore(),
        access=MemoryAccess(),
        upload_settings=UploadSettings(upload=True),
    )
    root = Resource()
    root.putChild(b"py", resource)
    clock = Clock()
    site = SiteInMemory(IndexSite(root, reactor=clock, uploads=resource), clock)
    reply = send(site, "/py")
    assert reply.text == "Upload to http://index.test:81/py/legacy/ instead: this URL accepts no uploads.\n"
