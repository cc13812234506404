"""The index as a part of other programs: below a Site of theirs, among their services, over their sources."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urljoin

import pytest
from twisted.application.service import Application, IService, IServiceCollection, MultiService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.descriptors import open_files
from tests.kit.front import eventually
from twisted_index.backends.folder.source import FolderSource
from twisted_index.config.settings import Settings
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.interfaces import FileBody, ISource, Snapshot
from twisted_index.service import SimpleIndexService
from twisted_index.tap import makeService
from twisted_index.testing import (
    IndexInMemory,
    MemorySource,
    SiteInMemory,
    SynchronousRunner,
    make_sdist,
    make_wheel,
)
from twisted_index.testing.reactor_thread import BackgroundReactor
from twisted_index.web.resource import IndexResource

WHEEL = make_wheel("demo", "1.0", requires=["other"])
SDIST = make_sdist("demo", "1.0")
PAGE = "/python/simple/demo/"
WHEEL_URL = f"{PAGE}{WHEEL.filename}"


class Greeting(Resource):
    """What the other program is about."""

    isLeaf = True

    def render_GET(self, request):
        return b"hello"


def mounted(source) -> tuple[SiteInMemory, IndexResource]:
    """Put an index at /python of a Site that is not ours."""
    clock = Clock()
    root, index = Resource(), IndexResource(source)
    root.putChild(b"python", index)
    root.putChild(b"hello", Greeting())
    return SiteInMemory(Site(root, reactor=clock), clock), index


@pytest.fixture
def packages(tmp_path):
    folder = tmp_path / "packages"
    for file in (WHEEL, SDIST):
        file.write_to(folder / "demo")
    return folder


class TestBelowAPrefix:
    """IndexResource(DirectorySource(path)) as a child in a plain twisted.web.server.Site."""

    @pytest.fixture
    def site(self, packages):
        at_once = SynchronousRunner()
        site, index = mounted(FolderSource(packages, reactor=Clock(), reader=at_once, cache_thread=at_once))
        yield site
        stopped = []
        Deferred.fromCoroutine(index.close()).addBoth(stopped.append)
        assert stopped == [None]

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/python", "/python/"),
            ("/python/simple", "/python/simple/"),
            ("/python/simple/demo", PAGE),
            ("/python/simple/Demo/", PAGE),
            ("/python/demo", "/python/demo/"),
            ("/python/project/De.Mo/", "/python/project/de-mo/"),
            ("/python/packages", "/python/packages/"),
            (f"/python/packages/{WHEEL.filename}", WHEEL_URL),
            ("/python/simple?format=x", "/python/simple/?format=x"),
        ],
    )
    def test_a_redirect_keeps_the_prefix_and_the_query(self, site, path, target):
        reply = site.get(path)
        assert reply.status in (301, 302)
        assert not reply.headers["Location"].startswith(("/", "http:"))
        assert urljoin(path, reply.headers["Location"]) == target

    @pytest.mark.parametrize("path", [PAGE, "/python/demo/"])
    def test_the_links_of_a_page_lead_to_the_files(self, site, path):
        found = re.findall(r'<a href="([^"#]+)', site.get(path).text)
        assert {site.get(urljoin(path, link)).body for link in found} == {WHEEL.content, SDIST.content}

    def test_pages_come_in_both_formats(self, site):
        json = site.get(PAGE, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        html = site.get(PAGE, headers={"Accept": "text/html"})
        assert [file["hashes"]["sha256"] for file in json.json()["files"]]
        assert WHEEL.sha256 in html.text

    def test_a_file_and_its_metadata_are_served(self, site):
        assert site.get(WHEEL_URL).body == WHEEL.content
        assert site.get(f"{WHEEL_URL}.metadata").body == WHEEL.metadata

    def test_a_part_of_a_file_is_served(self, site):
        reply = site.get(WHEEL_URL, headers={"Range": "bytes=10-19"})
        assert (reply.status, reply.body) == (206, WHEEL.content[10:20])

    @pytest.mark.parametrize("path", ["/python/", "/python/simple/", PAGE, WHEEL_URL, "/python/simple/no/"])
    def test_head_says_what_get_says_without_a_body(self, site, path):
        head, get = site.head(path), site.get(path)
        told = ("content-type", "content-length", "etag", "vary", "cache-control")
        assert (head.status, head.body) == (get.status, b"")
        assert [head.headers.get(name) for name in told] == [get.headers.get(name) for name in told]
        assert int(head.headers["Content-Length"]) == len(get.body)

    def test_a_page_that_is_known_already_is_304(self, site):
        etag = site.get(PAGE).headers["ETag"]
        assert site.get(PAGE, headers={"If-None-Match": etag}).status == 304

    @pytest.mark.parametrize(
        "path",
        ["/python/simple/nothing/", f"{PAGE}demo-9.9.tar.gz", "/python/a/b/c/d", "/python/simple/%2e%2e/x"],
    )
    def test_what_is_not_there_is_404_in_a_sentence(self, site, path):
        reply = site.get(path, headers={"Accept": "text/plain"})
        assert reply.status == 404
        assert reply.text.endswith(".\n")

    def test_what_cannot_be_done_is_405(self, site):
        reply = site.get(PAGE, method="DELETE")
        assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")

    def test_the_front_page_gives_the_url_with_the_prefix(self, site):
        reply = site.get("/python/", headers={"Accept": "text/html", "Host": "packages.test:8080"})
        assert "http://packages.test:8080/python/simple/" in reply.text

    def test_the_rest_of_the_site_is_left_alone(self, site):
        assert site.get("/hello").text == "hello"

    def test_a_change_of_the_folder_is_in_the_next_answer(self, site, packages):
        assert site.get("/python/simple/new/").status == 404
        make_wheel("new", "1.0").write_to(packages / "new")
        assert site.get("/python/simple/new/").status == 200

    def test_an_index_may_be_mounted_deeper_and_twice(self):
        clock = Clock()
        root, middle = Resource(), Resource()
        root.putChild(b"a", middle)
        middle.putChild(b"one", IndexResource(MemorySource(WHEEL)))
        middle.putChild(b"two", IndexResource(MemorySource()))
        site = SiteInMemory(Site(root, reactor=clock), clock)
        assert site.get("/a/one/simple/demo/").status == 200
        assert site.get("/a/two/simple/demo/").status == 404
        assert urljoin("/a/one", site.get("/a/one").headers["Location"]) == "/a/one/"


class TestWithoutAService:
    def test_it_brings_its_own_threads_and_close_ends_them(self, packages):
        background = BackgroundReactor()
        try:
            reactor, made = background.reactor, []

            def serve():
                root = Resource()
                index = IndexResource(FolderSource(packages, reactor=reactor))
                root.putChild(b"python", index)
                made.extend([index, reactor.listenTCP(0, Site(root, reactor=reactor), interface="127.0.0.1")])

            background.call(serve, 10)
            index, port = made
            before = set(threading.enumerate())
            with urllib.request.urlopen(f"http://127.0.0.1:{port.getHost().port}{WHEEL_URL}") as response:
                assert response.read() == WHEEL.content
            assert set(threading.enumerate()) - before

            background.call(port.stopListening, 10)
            background.call(index.close, 10)
            assert set(threading.enumerate()) <= before
        finally:
            background.stop(10)


@implementer(ISource)
class ByValue:
    """A source whose methods return what they found, in a way of their own."""

    def __init__(self, inner: MemorySource) -> None:
        self.inner = inner

    def tell(self, answer):
        return answer

    def project_list(self):
        return self.tell(self.inner.project_list())

    def project_page(self, project):
        return self.tell(self.inner.project_page(project))

    def open_file(self, project, filename, sidecar=None):
        return self.tell(self.inner.open_file(project, filename, sidecar))


class ByDeferred(ByValue):
    def tell(self, answer):
        return succeed(answer)


class ByCoroutine(ByValue):
    async def tell(self, answer):
        return await succeed(answer)


class TestSources:
    @pytest.mark.parametrize("kind", [ByValue, ByDeferred, ByCoroutine])
    def test_a_source_may_return_a_value_a_deferred_or_a_coroutine(self, kind):
        source = kind(MemorySource(WHEEL))
        assert verifyObject(ISource, source)
        index = IndexInMemory(source)
        assert "demo" in index.get("/simple/").text
        assert WHEEL.filename in index.get("/simple/demo/").text
        assert index.get(f"/simple/demo/{WHEEL.filename}").body == WHEEL.content
        assert index.get(f"/simple/demo/{WHEEL.filename}.metadata").body == WHEEL.metadata
        assert index.get("/simple/nothing/").status == 404
        assert index.get("/-/health").status == 200

    @pytest.mark.parametrize("kind", [ByValue, ByDeferred, ByCoroutine])
    def test_a_change_is_seen_whatever_the_way_of_the_answer(self, kind):
        inner = MemorySource(WHEEL)
        index = IndexInMemory(kind(inner))
        before = index.get("/simple/demo/")
        inner.add(SDIST)
        assert SDIST.filename not in before.text
        assert SDIST.filename in index.get("/simple/demo/").text

    def test_an_answer_waits_for_its_source(self):
        class Slow(ByValue):
            waiting: Deferred[object]

            def tell(self, answer):
                self.waiting = Deferred()
                return self.waiting.addCallback(lambda _: answer)

        source = Slow(MemorySource(WHEEL))
        index = IndexInMemory(source)
        connection = index.connect()
        connection.ask("/simple/demo/")
        index.advance(5)
        assert connection.received == b""
        source.waiting.callback(None)
        index.settle()
        assert connection.responses()[0].status == 200

    @pytest.mark.parametrize("path", ["/simple/", "/simple/demo/", f"/simple/demo/{WHEEL.filename}"])
    @pytest.mark.parametrize("way", ["raised", "deferred", "coroutine"])
    def test_what_cannot_be_told_now_is_503_and_never_404(self, way, path):
        class Failing(ByValue):
            def tell(self, answer):
                error = Unavailable("The disk is being changed.", retry_after=7)
                if way == "raised":
                    raise error
                return fail(error) if way == "deferred" else self.refuse(error)

            async def refuse(self, error):
                raise error

        reply = IndexInMemory(Failing(MemorySource(WHEEL))).get(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "7")
        assert "The disk is being changed." in reply.text

    def test_an_error_of_a_source_is_500_and_the_next_answer_is_right(self):
        class Broken(ByValue):
            broken = True

            def tell(self, answer):
                if self.broken:
                    raise ValueError("secret of the source")
                return answer

        source = Broken(MemorySource(WHEEL))
        index = IndexInMemory(source)
        reply = index.get("/simple/demo/")
        assert reply.status == 500
        assert "secret" not in reply.text
        source.broken = False
        assert index.get("/simple/demo/").status == 200

    def test_a_file_is_closed_when_its_client_has_not_waited_for_it(self, tmp_path):
        class Slow(MemorySource):
            waiting: Deferred[FileBody]

            def open_file(self, *_):
                self.waiting = Deferred()
                return self.waiting

        source = Slow(WHEEL)
        index = IndexInMemory(source)
        connection = index.connect()
        connection.ask(f"/simple/demo/{WHEEL.filename}")
        connection.disconnect()
        file = WHEEL.write_to(tmp_path).open("rb")
        source.waiting.callback(FileBody(content=file, size=WHEEL.size, sha256=None, modified=0))
        assert file.closed


@implementer(ISource)
class Nightly:
    """A source without a cheap test of truth."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.inner = MemorySource(WHEEL)

    async def project_list(self):
        return Snapshot.valid_for(self.inner.project_list().value, self.seconds, self.clock)

    async def project_page(self, project):
        return Snapshot.valid_for(self.inner.project_page(project).value, self.seconds, self.clock)

    async def open_file(self, project, filename, sidecar=None):
        return self.inner.open_file(project, filename, sidecar)


class TestHeldAnswers:
    def test_an_answer_is_repeated_for_as_long_as_its_source_said(self):
        clock = Clock()
        source = Nightly(clock, 60)
        index = IndexInMemory(source, clock=clock)
        index.get("/simple/demo/")
        source.inner.add(SDIST)
        index.advance(59)
        assert SDIST.filename not in index.get("/simple/demo/").text
        assert len(source.inner.calls) == 1
        index.advance(1)
        assert SDIST.filename in index.get("/simple/demo/").text
        assert len(source.inner.calls) == 2

    def test_an_answer_that_holds_for_no_time_is_asked_for_each_time(self):
        clock = Clock()
        source = Nightly(clock, 0)
        index = IndexInMemory(source, clock=clock)
        for path in ("/simple/demo/", "/simple/"):
            source.inner.calls.clear()
            for _ in range(3):
                assert index.get(path).status == 200
            assert len(source.inner.calls) == 3

    def test_a_held_answer_is_true_until_just_before_its_time_is_up(self):
        clock = Clock()
        snapshot = Snapshot.valid_for("seen", 10, clock)
        clock.advance(9.99)
        assert snapshot.is_current()
        clock.advance(0.01)
        assert not snapshot.is_current()


class TestMakeService:
    @pytest.mark.parametrize("kind", [dict, MappingProxyType])
    def test_any_mapping_makes_a_service(self, kind, packages):
        given = {
            "path": [str(packages)],
            "listen": "tcp:0:interface=127.0.0.1",
            "state": "none",
            "cors": True,
        }
        service = makeService(kind(given))
        assert verifyObject(IService, service)
        assert isinstance(service, SimpleIndexService)
        settings = service.settings
        assert settings.paths == (str(packages),)
        assert settings.listen == ("tcp:0:interface=127.0.0.1",)
        assert (settings.state, settings.cors) == (None, True)

    def test_a_name_that_is_none_is_an_error_in_a_sentence(self, packages):
        with pytest.raises(ConfigurationError, match="pathes"):
            makeService({"pathes": [str(packages)]})


@pytest.fixture
def background():
    background = BackgroundReactor()
    yield background
    background.stop(10)


def status_at(address: IAddress, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{address.port}{path}", timeout=10) as response:
            response.read()
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


class TestAmongServices:
    """SimpleIndexService in anyone's MultiService."""

    @pytest.fixture
    def settings(self, packages, tmp_path):
        return Settings(
            paths=(str(packages),),
            listen=("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"),
            state=str(tmp_path / "state"),
            access_log=str(tmp_path / "access.log"),
        )

    def test_nothing_is_opened_before_it_starts(self, settings, background, tmp_path):
        threads, names, opened = set(threading.enumerate()), sorted(tmp_path.iterdir()), open_files()
        parent = MultiService()
        service = SimpleIndexService(settings, reactor=background.reactor)
        service.setServiceParent(parent)
        assert set(threading.enumerate()) <= threads
        assert sorted(tmp_path.iterdir()) == names
        assert open_files() <= opened
        assert service.addresses == []
        assert background.reactor.getDelayedCalls() == []

    def test_everything_is_closed_when_it_has_stopped_and_it_can_start_again(
        self, settings, background, tmp_path
    ):
        threads, opened = set(threading.enumerate()), open_files()
        parent = MultiService()
        service = SimpleIndexService(settings, reactor=background.reactor)
        service.setServiceParent(parent)
        for _ in range(3):
            background.call(parent.startService, 10)
            address = service.addresses[0]
            assert status_at(address, "/simple/demo/") == 200
            assert status_at(address, f"/simple/demo/{WHEEL.filename}") == 200

            background.call(parent.stopService, 10)
            with pytest.raises(urllib.error.URLError):
                status_at(address, "/simple/")
            assert set(threading.enumerate()) <= threads
            assert open_files() <= opened
            assert service.addresses == []
            assert background.reactor.getDelayedCalls() == []
        assert (tmp_path / "access.log").read_text().count("GET /simple/demo/ HTTP/1.1") == 3

    def test_when_downloads_are_written_nothing_wakes_it_but_a_request(self, settings, background, tmp_path):
        service = SimpleIndexService(settings, reactor=background.reactor)
        background.call(service.startService, 10)
        address = service.addresses[0]
        for path in (
            "/simple/",
            "/simple/demo/",
            f"/simple/demo/{WHEEL.filename}",
            "/-/stats",
            "/",
            "/-/feed.atom",
        ):
            assert status_at(address, path) == 200
        # A minute later.
        background.call(lambda: service._parts.downloads._timer.reset(0), 10)
        assert eventually((tmp_path / "state" / "keep" / "downloads").exists)
        assert eventually(lambda: background.reactor.getDelayedCalls() == [], 60)
        background.call(service.stopService, 10)

    def test_it_stops_though_a_client_keeps_its_connection(self, settings, background):
        import http.client

        service = SimpleIndexService(settings, reactor=background.reactor)
        background.call(service.startService, 10)
        client = http.client.HTTPConnection("127.0.0.1", service.addresses[0].port, timeout=10)
        client.request("GET", "/simple/")
        assert client.getresponse().read()
        background.call(service.stopService, 5)
        client.close()

    def test_it_stops_when_it_has_not_started(self, settings, background):
        service = SimpleIndexService(settings, reactor=background.reactor)
        background.call(service.stopService, 10)

    def test_a_start_that_fails_leaves_nothing_open(self, settings, background):
        threads, opened = set(threading.enumerate()), open_files()
        settings = replace(settings, listen=(settings.listen[0], "nonsense:1"))
        service = SimpleIndexService(settings, reactor=background.reactor)
        with pytest.raises(ValueError, match="nonsense"):
            background.call(service.startService, 10)
        background.call(lambda: None, 10)
        # Those of an earlier test may end meanwhile.
        assert set(threading.enumerate()) <= threads
        assert open_files() <= opened
        assert service.addresses == []

    def test_it_serves_a_source_of_another_program(self, background):
        settings = Settings(listen=("tcp:0:interface=127.0.0.1",))
        service = SimpleIndexService(settings, source=MemorySource(WHEEL), reactor=background.reactor)
        for _ in range(2):
            background.call(service.startService, 10)
            assert status_at(service.addresses[0], f"/simple/demo/{WHEEL.filename}") == 200
            background.call(service.stopService, 10)

    def test_an_application_takes_it_as_a_tac_file_does(self, settings):
        application = Application("ours")
        service = SimpleIndexService(settings)
        service.setServiceParent(application)
        assert list(IServiceCollection(application)) == [service]
