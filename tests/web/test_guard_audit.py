"""
Nobody learns of what is closed to them: not a byte, a name or a size, nor whether it exists.

Two indexes are asked the same. They have the same rights and the same open projects, and one has
closed projects besides. Whoever may not read these gets the same bytes from both, whatever is asked.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.rights import GuardedIndex, as_user, basic
from tests.kit.uploads import CONTENT_TYPE, upload_form
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.events.audit_log import AuditLog
from twisted_index.events.serials import Change, Serials
from twisted_index.files.stamps import StatValidator
from twisted_index.testing import BuiltFile, SynchronousRunner, make_sdist, make_wheel
from twisted_index.web.endpoints import ENDPOINTS

RIGHTS = """
[[rule]]
projects = "hush-*"
allow = ["read", "upload", "create", "yank", "delete"]
to = "alice"

[[rule]]
projects = "open-*"
allow = ["upload", "create", "yank", "delete"]
to = ["alice", "carol"]

[[rule]]
allow = ["operate"]
to = "alice"
"""
LIB = make_wheel("hush-lib", "1.0", requires_python=">=3.8")
SDIST = make_sdist("hush-lib", "1.0")
FLAT = make_wheel("hush-flat", "2.0")
OPEN = make_wheel("open-lib", "1.0")
#: 2021-02-03 04:05:06 UTC
MODIFIED = 1612325106


def put(file: BuiltFile, folder: Path) -> None:
    os.utime(file.write_to(folder), (MODIFIED, MODIFIED))


class OneSerial(Serials):
    """Gives all projects the same serial, in the same count: those of the moment differ between the twins."""

    def __init__(self) -> None:
        super().__init__()
        self._instance = "0" * 32

    def _give(self, project: str, imprint: str) -> Change:
        change = self._changes[project] = Change(1, imprint)
        self._last, self._listed = 1, None
        return change


def put_closed(folder: Path) -> None:
    """Put what is closed into a folder, in every form."""
    hush = folder / "Hush_Lib"
    put(LIB, hush)
    put(SDIST, hush)
    (hush / f"{LIB.filename}.asc").write_text("hush signature")
    (hush / f"{LIB.filename}.provenance").write_text("{}")
    (hush / f"{SDIST.filename}.yanked").write_text("hush reason")
    (hush / ".deprecated").write_text("hush status")
    (hush / "hush_lib-3.0-py3-none-any.whl").write_bytes(b"hush, broken")
    put(FLAT, folder)


class Twin(GuardedIndex):
    """One of the two: a folder with everything behind it."""

    def __init__(self, home: Path, *, closed: bool, rights: str = RIGHTS) -> None:
        self.home, self.folder = home, home / "packages"
        put(OPEN, self.folder / "open-lib")
        if closed:
            put_closed(self.folder)
        clock = Clock()
        clock.advance(1_000_000)
        self.validator = StatValidator(monotonic=clock.seconds, wall=lambda: time.time() + clock.seconds())
        self.history = AuditLog(None, SynchronousRunner())
        self.sources: list[FolderSource] = []
        source, store = self.serving(clock, self.folder)
        super().__init__(
            home,
            rights,
            source=source,
            audit_log=self.history,
            clock=clock,
            store=store,
            indexes=self.indexes_of(clock, source, store),
        )
        for each in self.sources:
            each.start()
        self.settle()

    def indexes_of(self, clock: Clock, source: FolderSource, store: FolderStore) -> Any:
        """Make the indexes beside the one without a name; none here."""
        return None

    def serving(
        self, clock: Clock, *folders: Path, owners: tuple[str | None, ...] = ()
    ) -> tuple[FolderSource, FolderStore]:
        """Make what serves some folders."""
        source = FolderSource(
            *map(os.fspath, folders),
            owners=owners,
            reactor=clock,
            reader=SynchronousRunner(),
            cache_thread=SynchronousRunner(),
            validator=self.validator,
            serials=OneSerial(),
        )
        self.sources.append(source)
        return source, FolderStore(source, worker=SynchronousRunner(), audit_log=self.history, reactor=clock)

    def said(self, path: str, **options) -> bytes:
        """Give all bytes of an answer, but for the time of day."""
        # So that guesses are forgotten, and each is answered for itself.
        self.advance(61)
        connection = self.connect()
        connection.ask(path, **options)
        received = connection.received
        connection.disconnect()
        return re.sub(rb"Date: [^\r]+", b"Date:", received)

    def files(self) -> list[tuple[str, bytes]]:
        """All that lies in the folder, but for what a store keeps there for itself."""
        found = [path for path in self.home.rglob("*") if path.is_file() and "lock" not in path.name]
        found = [path for path in found if "state" not in path.parts]
        return sorted((str(path.relative_to(self.home)), path.read_bytes()) for path in found)

    def stop(self) -> None:
        """Stop its sources."""
        for source in self.sources:
            Deferred.fromCoroutine(source.stop())


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twin, Twin]]:
    made = [tmp_path_factory.mktemp("twin") for _ in range(2)]
    twins = Twin(made[0], closed=True), Twin(made[1], closed=False)
    yield twins
    for twin in twins:
        twin.stop()


def identities(twin: Twin) -> dict[str, dict[str, str]]:
    """Everybody who may not read what is closed; a token's secret is another for each index."""
    return {
        "nobody": {},
        "wrong password": {"Authorization": basic("alice", "wrong")},
        "unknown user": {"Authorization": basic("mallory", "wonderland")},
        "a user without the right": as_user("bob"),
        "a user with rights to others": as_user("carol"),
        "a token for others": _token(twin, "open", read="open-*", upload="open-*", yank="open-*"),
        "a token that publishes and does not read": _token(twin, "blind", upload="open-*", create="*"),
        "a token that ran out": _token(twin, "old", lifetime=30.0, read="*", upload="*", delete="*"),
        "no token": {"Authorization": "Bearer tix-000000000000-" + "A" * 43},
        "garbage": {"Authorization": "Basic %%%"},
        "another scheme": {"Authorization": "Digest username=alice"},
        "a claim without a proxy": {"X-Remote-User": "alice", "X-Forwarded-For": "127.0.0.1"},
    }


_made: dict[tuple[int, str], dict[str, str]] = {}


def _token(twin: Twin, name: str, lifetime: float | None = None, **scope: str) -> dict[str, str]:
    if (id(twin), name) not in _made:
        _made[id(twin), name] = twin.token(name, lifetime, **scope)
    return _made[id(twin), name]


WHO = sorted(
    [
        "nobody",
        "wrong password",
        "unknown user",
        "a user without the right",
        "a user with rights to others",
        "a token for others",
        "a token that publishes and does not read",
        "a token that ran out",
        "no token",
        "garbage",
        "another scheme",
        "a claim without a proxy",
    ]
)

SPELLINGS = {
    "hush-lib": ["hush-lib", "Hush_Lib", "hush.lib", "hush--lib", "%68ush-lib", "hush%2Dlib", "hush%5flib"],
    "hush-flat": ["hush-flat", "HUSH_FLAT"],
    "hush-none": ["hush-none"],
}
FILES = {
    "hush-lib": [
        LIB.filename,
        SDIST.filename,
        "hush_lib-3.0-py3-none-any.whl",
        "hush_lib-9.9.tar.gz",
        LIB.filename.replace("_", "%5F"),
        "Hush.Lib-1.0-py3-none-any.whl",
    ],
    "hush-flat": [FLAT.filename],
    "hush-none": ["hush_none-1.0.tar.gz"],
}
PAGES = [
    "/simple/{}",
    "/simple/{}/",
    "/simple/{}/?format=application/vnd.pypi.simple.v1%2Bjson",
    "/{}",
    "/{}/",
    "/project/{}",
    "/project/{}/",
    "/pypi/{}/json",
    "/pypi/{}/json/",
    "/pypi/{}/1.0/json",
    "/pypi/{}/1.0/json/",
    "/pypi/{}/9.9/json",
    "/pypi/{}",
    "/pypi/{}/",
    "/pypi/{}/1.0",
    "/pypi/{}/1.0/",
    "/project/{}/1.0",
    "/project/{}/1.0/",
    "/{}/json",
    "/{}/json/",
    "/simple/{}/json",
    "//{}/json",
    "/legacy/+simple/{}/",
    "/legacy/%2Bsimple/{}/",
    "/+simple/{}/",
    "/simple/%2Bsimple/{}/",
    "//simple/{}/",
    "/simple//{}/",
    "/simple/./{}/",
    "/simple/open-lib/../{}/",
    "/simple/open-lib/%2e%2e/{}/",
    "/simple/open-lib%2f..%2f{}/",
    "/simple/{}/.deprecated",
    "/simple/{}/%2e",
    "/simple/{}%00/",
    "/simple/{};x=1/",
    "/+all/simple/{}/",
    "http://index.test/simple/{}/",
]
IN_PAGES = [
    "/simple/{}/{}",
    "/simple/{}/{}.metadata",
    "/simple/{}/{}.asc",
    "/simple/{}/{}.provenance",
    "/simple/{}/{}.yanked",
    "/simple/{}/{}/",
    "/{}/{}",
    "/{}/{}.metadata",
    "/legacy/+simple/{}/{}",
]
ALONE = [
    "/packages/{}",
    "/packages/{}.metadata",
    "/packages/aa/bb/cc/{}",
    "/packages/open-lib/{}.asc",
    "/simple/open-lib/{}",
    "/open-lib/{}",
    "/{}",
    "/simple/{}",
]
WHOLE = [
    "/",
    "/simple",
    "/simple/",
    "/simple/?format=application/vnd.pypi.simple.v1%2Bjson",
    "/packages",
    "/packages/",
    "/simple/open-lib/",
    f"/simple/open-lib/{OPEN.filename}",
    "/pypi/open-lib/json",
    "/-/health",
    "/-/problems",
    "/-/history",
    "/-/metrics",
    "/-/search?q=hush",
    "/-/feed.atom",
    "/pip.conf",
    "/-/",
    "/legacy/+simple/",
    "/favicon.ico",
    "/robots.txt",
    "/_/oidc/audience",
    "*",
]


def paths() -> list[str]:
    found = list(WHOLE)
    for name, spellings in SPELLINGS.items():
        found += [page.format(spelling) for page in PAGES for spelling in spellings]
        found += [
            page.format(spelling, file)
            for page in IN_PAGES
            for spelling in spellings[:2]
            for file in FILES[name]
        ]
        found += [page.format(file) for page in ALONE for file in FILES[name]]
        for url in (url for rule in ENDPOINTS.values() for url in rule.urls):
            url = url.replace("NAME", name).replace("VERSION", "1.0")
            found += [url.replace("FILE", file) for file in FILES[name]] if "FILE" in url else [url]
    return list(dict.fromkeys(found))


ETAG = f'"{LIB.sha256}"'
VARIANTS = [
    {"Accept": "application/vnd.pypi.simple.v1+json"},
    {"Accept": "text/html", "Accept-Encoding": "gzip"},
    {"If-None-Match": "*"},
    {"If-None-Match": ETAG},
    {"If-Match": ETAG},
    {"If-Modified-Since": "Wed, 03 Feb 2021 04:05:06 GMT"},
    {"If-Unmodified-Since": "Tue, 02 Feb 2021 04:05:06 GMT"},
    {"Range": "bytes=0-9"},
    {"Range": "bytes=99999999-", "If-Range": ETAG},
    {"Expect": "100-continue"},
]


def differing(twins: tuple[Twin, Twin], who: str, asked: list[str], **options) -> list[str]:
    """Name the paths at which the two answer differently, or tell anything."""
    there, not_there = twins
    extra = options.pop("headers", {})
    found = []
    for path in asked:
        one, other = (
            twin.said(path, headers=identities(twin)[who] | extra, **options) for twin in (there, not_there)
        )
        assert one.startswith(b"HTTP/1.1 "), (path, one)
        assert not one.startswith(b"HTTP/1.1 5"), (path, one)
        if one != other or LIB.sha256.encode() in one:
            found.append(path)
    return found


@pytest.mark.parametrize("who", WHO)
def test_whoever_may_not_read_cannot_tell_whether_it_is_there(twins: tuple[Twin, Twin], who: str):
    assert differing(twins, who, paths()) == []


@pytest.mark.parametrize("headers", VARIANTS, ids=lambda headers: " ".join(headers))
def test_no_field_of_a_request_tells_whether_it_is_there(twins: tuple[Twin, Twin], headers: dict[str, str]):
    assert differing(twins, "nobody", paths(), headers=headers) == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PROPFIND", "TRACE"])
@pytest.mark.parametrize("who", ["nobody", "a token for others"])
def test_no_other_method_tells_whether_it_is_there(twins: tuple[Twin, Twin], who: str, method: str):
    before = [twin.files() for twin in twins]
    assert differing(twins, who, paths(), method=method) == []
    assert [twin.files() for twin in twins] == before


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("file", [LIB, SDIST, FLAT, make_wheel("hush-none", "1.0")])
def test_no_upload_tells_whether_it_is_there(twins: tuple[Twin, Twin], who: str, file: BuiltFile):
    """The very same bytes again, other bytes, and what is new: all the same."""
    before = [twin.files() for twin in twins]
    for content in (file.content, b"other"):
        body = upload_form(content, file.filename)
        headers = {"Content-Type": CONTENT_TYPE}
        assert differing(twins, who, ["/legacy/"], method="POST", body=body, headers=headers) == []
    assert [twin.files() for twin in twins] == before


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/-/yank", "version=1.0"),
        ("/-/yank", f"filename={LIB.filename}"),
        ("/-/yank", "version=1.0&yanked=no"),
        ("/-/yank", ""),
        ("/-/status", "status=quarantined"),
        ("/-/status", "status=nonsense"),
    ],
)
def test_no_yank_or_status_tells_whether_it_is_there(
    twins: tuple[Twin, Twin], who: str, path: str, more: str
):
    before = [twin.files() for twin in twins]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for project in ("hush-lib", "Hush_Lib", "hush-flat", "hush-none"):
        body = f"project={project}&{more}".encode()
        assert differing(twins, who, [path], method="POST", body=body, headers=headers) == []
    assert [twin.files() for twin in twins] == before


def test_whoever_may_read_can_tell(twins: tuple[Twin, Twin]):
    """Or the above would be true of an index that serves nothing."""
    there, not_there = twins
    for path in (
        "/",
        "/simple/",
        "/packages/",
        "/simple/hush-lib/",
        f"/simple/hush-lib/{LIB.filename}.asc",
        f"/packages/{FLAT.filename}",
        "/hush-flat",
        "/pypi/hush-lib/json",
        "/-/problems",
        "/-/metrics",
    ):
        answers = [twin.said(path, headers=as_user("alice")) for twin in (there, not_there)]
        assert answers[0].startswith((b"HTTP/1.1 2", b"HTTP/1.1 3")), answers[0]
        assert answers[0] != answers[1], path
