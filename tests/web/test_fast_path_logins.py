"""The fast path and the ordinary way give the same bytes to every kind of client, and to none too much."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.properties import examples
from tests.kit.rights import OPEN, PUBLIC, RIGHTS, SECRET, SHARED, GuardedIndex, as_user, basic
from tests.web.test_fast_path import JSON, Pair, head
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.concurrency.lru import LRU
from twisted_index.testing import Connection, MemorySource, SynchronousRunner
from twisted_index.web.server.access_log import AccessLog

ALL = ("users:0.0.0.0/0", "users:::/0")
PAGE = "/simple/secret-lib/"
FILE = f"{PAGE}{SECRET.filename}"
OPEN_PAGE = "/simple/open-lib/"
PRIVATE = [PAGE, FILE, f"{FILE}.metadata", "/simple/secret-none/"]
EVERYONES = [
    OPEN_PAGE,
    f"{OPEN_PAGE}{PUBLIC.filename}",
    f"{OPEN_PAGE}{PUBLIC.filename}.metadata",
    "/simple/none/",
]
PER_CLIENT = ["/simple/", "/", "/packages/", "/-/history"]


class Reopening(MemorySource):
    """Its files can be opened again, so that they are cached."""

    def open_file(self, *args: Any) -> Any:
        body = super().open_file(*args)
        return None if body is None else replace(body, reopen=lambda: body)


def authorization(value: str) -> tuple[str, ...]:
    return (f"Authorization: {value}",)


class GuardedPair(Pair):
    """One source, users, tokens and rights behind two servers; only one may take the fast path."""

    def __init__(self, folder: Path, *, log: bool = False) -> None:
        self.takes, self.taken = 1 << 20, 0
        clock = Clock()
        clock.advance(1_000_000)
        users = folder / "users"
        digest = base64.b64encode(hashlib.sha1(b"explorer").digest()).decode()
        users.write_text(f"dora:{{SHA}}{digest}\n")
        source = Reopening(SECRET, PUBLIC, SHARED)
        self.logs = [folder / "short.log", folder / "ordinary.log"]
        made = []
        for path in self.logs:
            checker = HtpasswdChecker(str(users), SynchronousRunner(), clock)
            checker._file._wall = lambda: 1e12
            access_log = AccessLog(str(path), clock) if log else None
            if access_log is not None:
                access_log.open()
            index = GuardedIndex(
                folder,
                RIGHTS.replace('"alice"', '["alice", "dora"]'),
                source=source,
                proxies=ALL,
                clock=clock,
                checkers=[checker],
                access_log=access_log,
            )
            index.tokens.place._file._wall = lambda: 1e12
            made.append(index)
        self.short, self.ordinary = made
        self.ordinary.site.fast_path = None
        reading = self.short.token("ci", read="secret-*")["Authorization"]
        own = self.short.token("own", owner="alice", read="*")["Authorization"]
        revoked = self.short.token("old", read="secret-*")["Authorization"]
        other = self.short.token("other", read="shared-*")["Authorization"]
        bobs = self.short.token("bobs", owner="bob", read="*")["Authorization"]
        secret = base64.b64decode(reading.split()[1]).decode().partition(":")[2]
        self.readers = {
            "token": authorization(reading),
            "token of a user": authorization(own),
            "bearer token": authorization(f"Bearer {secret}"),
            "user of htpasswd": authorization(basic("dora", "explorer")),
            "user of a plugin": authorization(as_user("alice")["Authorization"]),
            "proxy's user": ("X-Remote-User: alice",),
            "proxy's user with a wrong password": ("X-Remote-User: alice", *authorization(basic("a", "b"))),
        }
        self.others = {
            "anonymous": (),
            "wrong password": authorization(basic("dora", "x")),
            "revoked token": authorization(revoked),
            "user without the right": authorization(as_user("bob")["Authorization"]),
            "token without the right": authorization(other),
            "token of a user without the right": authorization(bobs),
            "proxy's user without the right": ("X-Remote-User: bob",),
            "proxy's user without the right, with a password": (
                "X-Remote-User: bob",
                *authorization(basic("dora", "explorer")),
            ),
            "two users": ("X-Remote-User: alice", "X-Remote-User: alice"),
            "malformed": authorization("Basic !"),
            "empty": authorization(""),
        }
        self.clients = {**self.readers, **self.others}
        self.short.tokens.revoke("old")
        # What may be read is prepared, and who may log in is known.
        for path in (*PRIVATE, *EVERYONES):
            for coding in ("gzip", "identity"):
                fields = self.readers["token"]
                self.say([head(path, f"Accept: {JSON}", f"Accept-Encoding: {coding}", *fields)])
        for fields in self.clients.values():
            self.say([head(PAGE, *fields)])

    def say(self, pieces: Any) -> tuple[bytes, bytes]:
        """Say the same to both, and give what both answered, when earlier failures are forgotten."""
        for index in (self.short, self.ordinary):
            index.throttle._failures = LRU(1000)
        before = self.short.short
        answers = super().say(pieces)
        self.taken = self.short.short - before
        return answers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> GuardedPair:
    return GuardedPair(tmp_path_factory.mktemp("guarded"))


KINDS = [
    "token",
    "bearer token",
    "user of htpasswd",
    "user of a plugin",
    "proxy's user",
    "proxy's user with a wrong password",
]
OTHERS = [
    "anonymous",
    "wrong password",
    "revoked token",
    "user without the right",
    "token without the right",
    "proxy's user without the right",
    "proxy's user without the right, with a password",
    "two users",
    "malformed",
    "empty",
]


def ways_to_ask(pair: GuardedPair, path: str, fields: tuple[str, ...]) -> Iterator[bytes]:
    """Yield requests for one path: plain, compressed, HEAD, conditional."""
    said = [head(path, f"Accept: {JSON}", *fields)]
    tag = re.search(rb"ETag: ([^\r]+)", pair.say(said)[1])
    yield from said
    yield head(path, f"Accept: {JSON}", "Accept-Encoding: gzip", *fields)
    yield head(path, f"Accept: {JSON}", *fields, method="HEAD")
    yield head(path, f"Accept: {JSON}", "If-None-Match: *", *fields)
    yield head(path, f"Accept: {JSON}", f"If-None-Match: {tag[1].decode() if tag else 'x'}", *fields)


@pytest.mark.parametrize("path", [*PRIVATE, *EVERYONES])
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_may_read_is_answered_on_the_fast_path_with_the_same_bytes(pair, kind, path):
    for request in ways_to_ask(pair, path, pair.readers[kind]):
        short, ordinary = pair.say([request])
        assert short == ordinary
        assert short.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304", b"HTTP/1.1 404"))
        assert (b"private" in short) is (path in PRIVATE)
        assert pair.taken == 1


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("kind", OTHERS)
def test_a_client_that_may_not_read_is_refused_the_ordinary_way(pair, kind, path):
    for request in ways_to_ask(pair, path, pair.others[kind]):
        short, ordinary = pair.say([request])
        assert short == ordinary
        assert short.startswith((b"HTTP/1.1 401", b"HTTP/1.1 403"))
        assert pair.taken == 0


@pytest.mark.parametrize("path", EVERYONES)
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_everyones_takes_the_fast_path_whatever_credentials_come_along(pair, kind, path):
    for request in ways_to_ask(pair, path, pair.others[kind]):
        short, ordinary = pair.say([request])
        assert short == ordinary
        assert pair.taken == (kind != "two users")


@pytest.mark.parametrize("path", PER_CLIENT)
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_what_is_made_for_one_client_goes_the_ordinary_way(pair, kind, path):
    for request in ways_to_ask(pair, path, pair.clients[kind]):
        short, ordinary = pair.say([request])
        assert short == ordinary
        assert pair.taken == 0


def test_a_proxy_that_is_not_trusted_asserts_nothing_on_the_fast_path(tmp_path):
    index = GuardedIndex(tmp_path, source=Reopening(SECRET), proxies=("0.0.0.0/0",))
    for _ in range(2):
        assert index.get(PAGE, headers=as_user("alice")).status == 200
        assert index.get(PAGE, headers={"X-Remote-User": "alice"}).status == 401
    assert index.short == 1


def test_nothing_that_the_fast_path_remembers_holds_credentials(pair):
    way = pair.short.site.fast_path
    for kind in ("token", "user of htpasswd", "wrong password"):
        pair.say([head(PAGE, *pair.clients[kind])])
        # Not plain, so that it is remembered as such.
        pair.say([head(PAGE, "Cookie: a", *pair.clients[kind])])
    remembered = [*way._heads._heads, *way._heads._fields]
    assert remembered
    assert not any(b"uthorization" in known for known in remembered)


def test_the_access_log_names_the_same_clients_on_both_ways(tmp_path):
    pair = GuardedPair(tmp_path, log=True)
    for fields in pair.clients.values():
        for path in (PAGE, OPEN_PAGE):
            pair.say([head(path, f"Accept: {JSON}", *fields)])
    for index in (pair.short, pair.ordinary):
        index.site._access_log.close()
    short, ordinary = (re.sub(r"[0-9.]+\n", "\n", log.read_text()) for log in pair.logs)
    assert short == ordinary
    for user in ("token\\x20ci", "dora", "alice", "bob"):
        assert f"- {user} [" in short


@examples(200, suppress_health_check=list(HealthCheck))
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from([*KINDS, *OTHERS]),
            st.sampled_from([*PRIVATE, *EVERYONES, *PER_CLIENT]),
            st.sampled_from(["GET", "GET", "HEAD", "POST"]),
            st.lists(
                st.sampled_from(
                    [
                        f"Accept: {JSON}",
                        "Accept: text/html",
                        "Accept-Encoding: gzip",
                        "If-None-Match: *",
                        "Connection: close",
                        "Range: bytes=0-1",
                        "X-Remote-User: dora",
                        "x-forwarded-for: 192.0.2.1",
                        "authorization: Basic eDp5",
                    ]
                ),
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    cuts=st.lists(st.integers(0, 600), max_size=3),
)
def test_random_requests_of_random_clients_get_the_same_bytes_on_both_ways(pair, requests, cuts):
    said = b"".join(
        head(path, *pair.clients[kind], *fields, method=method) for kind, path, method, fields in requests
    )
    places = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    short, ordinary = pair.say([said[a:b] for a, b in pairwise(places) if a < b])
    assert short == ordinary


# -- What changes while clients are connected


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[tuple[GuardedIndex, list[Connection]]]:
    """Sixteen connections to an index whose files are old enough for their times to show each change."""
    clock = Clock()
    clock.advance(1_000_000)
    checker = HtpasswdChecker(str(tmp_path / "users"), SynchronousRunner(), clock)
    checker._file._wall = lambda: 1e12
    write_users(tmp_path, 0)
    rights = RIGHTS.replace('"alice"', '["alice", "user-0"]')
    index = GuardedIndex(tmp_path, rights, source=Reopening(SECRET), clock=clock, checkers=[checker])
    index.tokens.place._file._wall = index.access._rights._file._wall = lambda: 1e12
    yield index, [index.connect() for _ in range(16)]
    index.disconnect_all()


def write_users(folder: Path, first: int) -> None:
    """Write a file of htpasswd with the users from a number on; each has another size."""
    digest = base64.b64encode(hashlib.sha1(b"pw").digest()).decode()
    (folder / "users").write_text("".join(f"user-{number}:{{SHA}}{digest}\n" for number in range(first, 30)))


def statuses(connections: list[Connection], headers: dict[str, str]) -> set[int]:
    """Ask for the closed page on each connection, and return the statuses."""
    found = set()
    for connection in connections:
        before = len(connection.received)
        connection.ask(PAGE, headers=headers)
        found.add(int(connection.received[before:].split()[1]))
    return found


@pytest.mark.parametrize("owner", ["", "alice"])
def test_not_one_answer_by_a_revoked_token(crowd, owner):
    index, connections = crowd
    tokens = [index.token(f"token-{number}", owner=owner, read="secret-*") for number in range(30)]
    for number, headers in enumerate(tokens):
        assert statuses(connections, headers) == {200}
        index.tokens.revoke(f"token-{number}")
        assert statuses(connections[:4], headers) == {401}
    assert index.short >= 30 * 14


def test_not_one_answer_for_a_removed_user(crowd, tmp_path):
    index, connections = crowd
    everyone = RIGHTS.replace('"alice"', '"users"')
    index.rights.write_text(everyone)
    for number in range(30):
        headers = {"Authorization": basic(f"user-{number}", "pw")}
        assert statuses(connections, headers) == {200}
        write_users(tmp_path, number + 1)
        assert statuses(connections[:4], headers) == {401}
    assert index.short >= 30 * 14


def test_not_one_answer_by_a_token_of_a_removed_user(tmp_path):
    clock = Clock()
    clock.advance(1_000_000)
    checker = HtpasswdChecker(str(tmp_path / "users"), SynchronousRunner(), clock)
    checker._file._wall = lambda: 1e12
    write_users(tmp_path, 0)
    rights = RIGHTS.replace('"alice"', '"users"')
    source = Reopening(SECRET)
    index = GuardedIndex(tmp_path, rights, source=source, clock=clock, users=False, checkers=[checker])
    index.tokens.place._file._wall = index.access._rights._file._wall = lambda: 1e12
    connections = [index.connect() for _ in range(16)]
    tokens = [index.token(f"token-{number}", owner=f"user-{number}", read="*") for number in range(30)]
    for number, headers in enumerate(tokens):
        assert statuses(connections, headers) == {200}
        write_users(tmp_path, number + 1)
        assert statuses(connections[:4], headers) == {401}
    assert index.short >= 30 * 14
    index.disconnect_all()


def test_not_one_answer_by_a_token_after_the_rights_of_its_user(crowd):
    index, connections = crowd
    headers = index.token("own", owner="alice", read="*")
    for _number in range(10):
        index.rights.write_text(RIGHTS)
        assert statuses(connections, headers) == {200}
        index.rights.write_text(RIGHTS.replace('"alice"', '"nobody"'))
        assert statuses(connections[:4], headers) == {403}


def test_not_one_answer_by_old_rights(crowd):
    index, connections = crowd
    for number in range(10):
        assert statuses(connections, as_user("alice")) == {200}
        index.rights.write_text(RIGHTS.replace('"alice"', '"dora"') + "#" * number)
        assert statuses(connections, as_user("alice")) == {403}
        index.rights.write_text(OPEN + "#" * number)
        assert statuses(connections, as_user("alice")) == statuses(connections, {}) == {200}
        index.rights.write_text(RIGHTS + "#" * number)
        assert statuses(connections, {}) == {401}
    assert index.short > 10 * 40
