"""
Trust, held to whatever folders, upstreams, options and clients there may be.

All of it in memory: the real Site and resource over the composed source, before an upstream that
remembers what it was asked and sends what it likes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import Phase, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kit.properties import examples
from tests.kit.scripted_remote import Bench, ScriptedRemote, read_body, remote_file
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.config.policy_entry import policy_entry
from twisted_index.config.settings import RoutingRule, UpstreamPolicy, UpstreamSettings
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.files.stamps import StatValidator
from twisted_index.indexes.builder import SourceBuilder
from twisted_index.interfaces import ANONYMOUS
from twisted_index.simple.model import Sidecar
from twisted_index.testing import IncompleteResponse, SiteInMemory, SynchronousRunner, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.site import IndexSite

DAY = 86400.0
NOW = 1_700_000_000.0
URL = "https://one.example/simple/"

quick = examples(15)
#: For what asks hundreds of URLs each time.
thorough = examples(10, phases=[Phase.generate])


@dataclass
class Whole:
    """A server in memory: its folder, its upstream, and who may read."""

    root: Path
    remote: ScriptedRemote
    bench: Bench
    source: Any
    site: SiteInMemory

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask; None if the answer does not come to its end."""
        try:
            return self.site.get(path, method=method, headers={"Accept": "*/*"})
        except IncompleteResponse:
            return None

    def heard(self, name: str) -> list[tuple[str, str]]:
        """Give the questions that the upstream was asked about a project."""
        return [one for one in self.remote.asked if one[1] == name or f"/{name}-" in one[1]]


@contextmanager
def server(
    entries: dict[str, bytes | None], options: dict[str, Any], *, access: Any = None, **more: Any
) -> Iterator[Whole]:
    """Serve entries by their paths; what has no content is a link in a circle."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        for name, content in entries.items():
            path = root / name
            path.parent.mkdir(exist_ok=True)
            if content is None:
                path.symlink_to(path.name)
            else:
                path.write_bytes(content)
        clock, remote = Clock(), ScriptedRemote(url=URL)
        bench = Bench(Path(folder) / "cache", remote, clock=clock, **more)
        at_once = SynchronousRunner()
        own = FolderSource(
            str(root),
            reactor=clock,
            reader=at_once,
            cache_thread=at_once,
            cache=InspectionCache(),
            validator=StatValidator(monotonic=clock.seconds, wall=lambda: time.time() + clock.seconds()),
        )
        source = SourceBuilder(
            own, make_folder=lambda _path: own, make_upstream=lambda _urls: bench.source, now=bench.wall
        ).build(UpstreamSettings(urls=(URL,), **options))
        resource = IndexResource(source, access=access, worker=at_once)
        site = SiteInMemory(IndexSite(resource, reactor=clock), clock)
        try:
            yield Whole(root, remote, bench, source, site)
        finally:
            site.disconnect_all()
            bench.stop()
            bench.ask(own.stop)


def every_way(name: str) -> list[str]:
    """Give the URLs by which something of a project may be asked for."""
    wheel = make_wheel(name, "1.0").filename
    ways = []
    for spelling in (name, name.upper().replace("-", "_."), name.replace("-", "%2D")):
        ways += [f"/simple/{spelling}/", f"/{spelling}/", f"/simple/{spelling}", f"/project/{spelling}/"]
        ways += [f"/pypi/{spelling}/json", f"/pypi/{spelling}/1.0/json", f"/legacy/{spelling}/"]
        ways += [f"/-/search?q={spelling}", f"/{spelling}/1.0/{wheel}"]
    for file in (wheel, f"{name}-1.0.tar.gz", "evil-1.0.tar.gz"):
        for end in ("", ".metadata", ".asc", ".provenance"):
            ways += [f"/simple/{name}/{file}{end}", f"/packages/{file}{end}"]
        ways += [f"/{name}/{file}", f"/packages/{name}/{file}", f"/+one/simple/{name}/{file}"]
    return [*ways, "/simple/", "/", "/packages/"]


# -- (a) Private and local names

CLAIMS = [
    "{name}-1.0-py3-none-any.whl",
    "{name}-1.0.tar.gz.part",
    "{name}/.claimed",
    "{name}/.quarantined",
    "{name}/.archived",
    "{name}/.deprecated",
    "{name}/{name}-1.0.tar.gz.deleted",
    "{name}/.deleted",
    "{name}/{name}-2.0-py3-none-any.whl",
    "{upper}/{name}-2.0.zip",
    "{name}-1.0.tar.gz.sha256",
    ".{name}-1.0-py3-none-any.whl.Ab12Cd",
]
#: A folder that cannot be read, by a link in a circle.
UNREADABLE = "{name}"
PROJECTS = ["acme", "acme-x", "tool"]


@st.composite
def folders(draw: st.DrawFn) -> dict[str, tuple[str, bytes | None]]:
    """Draw what lies in the folder: for some projects, something that claims the name."""
    found = {}
    for name in draw(st.sets(st.sampled_from(PROJECTS), max_size=3)):
        safe = name.replace("-", "_")
        claim = draw(st.sampled_from([*CLAIMS, UNREADABLE]))
        made = make_wheel(name, "1.0").content
        content = draw(st.sampled_from([b"", made[: len(made) // 2], made]))
        entry = claim.format(name=safe, upper=safe.upper())
        found[name] = (entry, None if claim == UNREADABLE else content)
    return found


@thorough
@given(
    folders(),
    st.lists(st.sampled_from(["acme-*", "ACME_x", "tool", "*"]), max_size=2),
    st.lists(st.sampled_from(["tool", "acme*"]), max_size=1),
    st.sampled_from([0.0, 2 * DAY]),
    st.lists(st.sampled_from(["tool", "acme*"]), max_size=1),
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
)
def test_nobody_upstream_hears_of_a_private_or_local_name(found, local, denied, cooldown, routed, method):
    """By no URL and no method, whatever else is set."""
    options = {
        "policy": UpstreamPolicy(
            local_only=tuple(local), upstream_deny=tuple(map(policy_entry, denied)), cooldown=cooldown
        ),
        "routes": tuple(RoutingRule(pattern=pattern) for pattern in routed),
    }

    def is_private(name: str) -> bool:
        return (
            name in found
            or "*" in local
            or name in {"tool"} & {*local, *denied, *routed}
            or (name.startswith("acme") and ("acme*" in denied or "acme*" in routed))
            or (name.startswith("acme-") and "acme-*" in local)
            or (name == "acme-x" and "ACME_x" in local)
        )

    with server(dict(found.values()), options) as whole:
        for name in PROJECTS:
            whole.remote.offer(remote_file(b"theirs", f"{name.replace('-', '_')}-9.tar.gz"), project=name)
        for name in PROJECTS:
            for way in every_way(name):
                whole.ask(way, method)
        for name in PROJECTS:
            if is_private(name):
                assert whole.heard(name) == []
        if method == "GET":
            # One of the file names belongs to a project that nobody has.
            others = {name for name in (*PROJECTS, "evil") if not is_private(name)}
            assert {which for what, which in whole.remote.asked if what == "page"} == others


@quick
@given(st.sampled_from(CLAIMS), st.booleans())
def test_a_name_that_is_claimed_while_its_page_is_fetched_is_not_asked_for_again(claim, wants_file):
    with server({}, {}) as whole:
        theirs = remote_file(b"theirs", "acme-9.tar.gz")
        whole.remote.offer(theirs, project="acme")
        whole.remote.bodies[theirs.url] = b"theirs"
        whole.remote.held = True
        connection = whole.site.connect()
        connection.ask("/simple/acme/acme-9.tar.gz" if wants_file else "/simple/acme/")
        path = whole.root / claim.format(name="acme", upper="ACME")
        path.parent.mkdir(exist_ok=True)
        path.touch()
        whole.remote.release()
        whole.site.advance(3.0)
        whole.remote.held = False
        heard = len(whole.remote.asked)

        assert b"theirs" not in connection.received
        assert b"acme-9.tar.gz</a>" not in connection.received
        assert whole.ask("/simple/acme/acme-9.tar.gz").status == 404
        assert len(whole.remote.asked) == heard


# -- (b) Young files

ages = st.sampled_from([None, -1.0, 0.0, 1.0, 1.999, 2.0, 2.5, 9.0])


@quick
@given(st.lists(ages, min_size=1, max_size=5), st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), st.booleans())
def test_no_file_that_is_too_young_is_reachable_in_any_way(known, later, merged):
    """By page, versions, bytes or sidecar; also where both may have the name."""
    policy = UpstreamPolicy(cooldown=2 * DAY, merge_upstream=("demo",) if merged else ())
    with server({}, {"policy": policy}) as whole:
        files = {}
        for number, age in enumerate(known):
            made = make_wheel("demo", f"{number}.0")
            when = None if age is None else datetime.fromtimestamp(NOW - age * DAY, UTC)
            one = remote_file(
                made.content,
                made.filename,
                upload_time=when,
                version=made.version,
                offers_metadata=True,
                sidecars=frozenset({Sidecar.SIGNATURE}),
            )
            files[made.filename] = (one, age, made)
            whole.remote.bodies[one.url] = made.content
            whole.remote.documents[one.url + ".metadata"] = made.metadata
            whole.remote.documents[one.url + ".asc"] = b"signature"
        whole.remote.offer(*(one for one, _age, _made in files.values()), versions=("99.0",))
        whole.ask("/simple/demo/")
        whole.site.advance(later * DAY)

        page = whole.site.get(
            "/simple/demo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
        ).json()
        shown = {file["filename"] for file in page["files"]}
        due = {name for name, (_one, age, _made) in files.items() if (age or 0.0) + later >= 2.0}
        assert shown == due
        assert set(page.get("versions", ())) == {files[name][2].version for name in due}
        for name, (_one, _age, made) in files.items():
            status = 200 if name in due else 404
            for way in (f"/simple/demo/{name}", f"/demo/{name}"):
                assert whole.ask(way).status == status
                assert whole.ask(way, "HEAD").status == status
                for end in (".metadata", ".asc"):
                    assert whole.ask(way + end).status == status
            assert whole.ask(f"/pypi/demo/{made.version}/json").status in (
                (200, 404) if name in due else (404,)
            )
        legacy = whole.ask("/pypi/demo/json")
        for name in set(files) - due:
            assert name.encode() not in legacy.body
            assert name.encode() not in whole.ask("/project/demo/").body
            assert not [url for what, url in whole.remote.asked if what != "page" and name in url]


# -- (c) Wrong bytes

RIGHT = bytes(range(256)) * 800


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[bytes], Any, bool]:
    """Draw what one answer of an upstream consists of: its pieces, how it ends, and whether it is right."""
    content = bytearray(RIGHT)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(RIGHT) - 1))
        content[at] ^= draw(st.integers(1, 255))
    cut = draw(st.sampled_from([len(content), len(content) - 1, 100_000, 1, 0]))
    whole = bytes(content[:cut]) + draw(st.sampled_from([b"", b"", b"", b"\0", b"x" * 90_000]))
    step = draw(st.sampled_from([1 << 20, 65_536, 30_011]))
    pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
    end = draw(st.sampled_from([None, None, Unavailable("gone"), BadGateway("bad")]))
    return pieces, end, True


class Reader:
    """A client of one file: takes what may be taken, and may leave at any time."""

    def __init__(self, whole: Whole, filename: str) -> None:
        self.got = b""
        self.body: Any = None
        self.failed = False
        self.outcome = whole.bench.begin(whole.source.open_file, "demo", filename, None)
        self.left = False

    def go_on(self) -> None:
        """Take all that is there."""
        if self.body is None and self.outcome and not self.failed:
            self.body = self.outcome[0]
            self.failed = isinstance(self.body, Failure) or self.body is None
        if self.failed or self.left or self.body is None:
            return
        content = self.body.content
        if not hasattr(content, "wait_for"):
            if len(self.got) < self.body.size:
                self.got = read_body(self.body)
            return
        waiting: list[Any] = []
        if len(self.got) < self.body.size:
            content.wait_for(len(self.got)).addBoth(waiting.append)
            if waiting and isinstance(waiting[0], Failure):
                self.failed = True
            elif waiting:
                while data := content.read(len(self.got), 1 << 16):
                    self.got += data

    @property
    def complete(self) -> bool:
        return self.body is not None and not self.failed and len(self.got) == self.body.size

    def leave(self) -> None:
        self.left = True
        close = getattr(getattr(self.body, "content", None), "close", None)
        if close is not None:
            close()


STEPS = st.lists(
    st.one_of(st.just("come"), st.just("go"), st.just("piece"), st.just("end"), st.just("time")), max_size=30
)


@examples(80)
@given(st.lists(deliveries(), min_size=1, max_size=3), STEPS, st.booleans(), st.booleans(), st.booleans())
def test_no_wrong_byte_is_kept_or_finished_to_anybody(answers, steps, keeps, sized, ranges):
    """Whatever the upstream sends and whichever clients come and go."""
    with server({}, {}, keeps=keeps) as whole:
        theirs = remote_file(RIGHT, "demo-1.0.tar.gz", sized=sized)
        whole.remote.offer(theirs)
        whole.remote.bodies[theirs.url] = RIGHT
        whole.remote.by_hand, whole.remote.knows_ranges, whole.remote.says_length = True, ranges, sized
        readers: list[Reader] = []
        for step in [*steps, "come", *["piece", "end", "time"] * 4]:
            sendings = whole.remote.sendings
            pieces, end, _ = answers[(len(sendings) - 1) % len(answers)]
            if step == "come":
                readers.append(Reader(whole, "demo-1.0.tar.gz"))
            elif step == "go" and readers:
                readers.pop(0).leave()
            elif step == "piece" and sendings:
                sendings[-1].send(*pieces)
            elif step == "end" and sendings:
                sendings[-1].end(end)
            elif step == "time":
                whole.site.advance(1.5)
            for reader in readers:
                reader.go_on()
                assert not reader.complete or reader.got == RIGHT
        for reader in readers:
            reader.leave()
        cache = whole.root.parent / "cache"
        for path in [*cache.glob("files/*/*")]:
            assert path.read_bytes() == RIGHT
        assert keeps or not [path for path in cache.rglob("*") if path.is_file()]


# -- What one upstream says of another's


@quick
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([{}, {"md5": "0" * 32}, {"sha512": "0" * 128}]),
)
def test_what_one_upstream_says_of_a_wheel_is_not_believed_of_another_s(offered, ranged, promise):
    """Of the same digest, in one cache: whoever lies about its own files cannot lie about others'."""
    made = make_wheel("demo", "1.0")
    lie = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: evil\n"
    evil, good = ScriptedRemote(url="https://evil.example/simple/"), ScriptedRemote(url=URL)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        benches = [Bench(folder, remote, clock=clock) for remote in (evil, good)]
        for remote in (evil, good):
            one = remote_file(
                made.content, made.filename, url=f"{remote.url}{made.filename}", offers_metadata=offered
            )
            remote.offer(one)
            remote.bodies[one.url] = made.content
            says = lie if remote is evil else made.metadata
            remote.documents[one.url + ".metadata"] = says
            if ranged:
                remote.ranged[one.url] = says
        theirs = benches[0].read(sidecar=Sidecar.METADATA)
        assert theirs == (lie if offered or ranged else made.metadata)
        assert benches[1].read(sidecar=Sidecar.METADATA) == made.metadata
        assert benches[1].read() == made.content
        assert benches[1].read(sidecar=Sidecar.METADATA) == made.metadata
        # A promise of any kind is kept.
        one = remote_file(
            made.content,
            made.filename,
            url=f"{URL}again/{made.filename}",
            offers_metadata=True,
            core_metadata=promise,
        )
        good.offer(one, etag='"2"')
        good.documents[one.url + ".metadata"] = lie
        clock.advance(1000)
        benches[1].page()
        try:
            assert benches[1].read(sidecar=Sidecar.METADATA) == made.metadata
        except SimpleIndexError:
            assert promise
        for bench in benches:
            bench.stop()


# -- (d) What rights forbid


def only(*readable: str) -> Any:
    """Make rights by which everyone may read these projects and nothing else."""
    return SimpleNamespace(
        public_read=False,
        has_users=True,
        generation=0,
        authenticate=lambda _credentials: ANONYMOUS,
        permits=lambda _identity, action, project="", *, index="": project in readable,
    )


@thorough
@given(st.sets(st.sampled_from(PROJECTS)), st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]))
def test_nothing_that_rights_forbid_is_asked_upstream(readable, method):
    with server({}, {}, access=only(*readable)) as whole:
        for name in PROJECTS:
            theirs = remote_file(b"theirs", f"{name.replace('-', '_')}-9.tar.gz", version="9")
            whole.remote.offer(theirs, project=name)
            whole.remote.bodies[theirs.url] = b"theirs"
        for name in PROJECTS:
            for way in [*every_way(name), f"/simple/{name}/{name.replace('-', '_')}-9.tar.gz"]:
                reply = whole.ask(way, method)
                if name not in readable and reply is not None and way.startswith(f"/simple/{name}/"):
                    assert reply.status in (401, 403, 405)
        for name in PROJECTS:
            if name not in readable:
                assert whole.heard(name) == []
                assert whole.heard(name.replace("-", "_")) == []
        if method == "GET":
            assert {which for what, which in whole.remote.asked if what == "page"} == readable
