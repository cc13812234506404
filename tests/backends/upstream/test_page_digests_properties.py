"""
Whatever an upstream lists, and however it fails: each listed file has a digest that its bytes have.

A page is complete or an error, a digest that was listed once stays, and no file is fetched twice.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.kit.scripted_remote import Bench, ScriptedRemote, remote_file
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.errors import BadGateway, Unavailable

NAMES = [f"demo-{number}.0.tar.gz" for number in range(1, 5)]
FAILURES = [None, BadGateway("It is not right."), Unavailable("It is down.")]


@dataclass(frozen=True)
class Listed:
    """What an upstream says of one file: which content, under which URL, and whether with a digest."""

    name: str
    edition: int
    promises: bool
    is_longer: bool

    @property
    def content(self) -> bytes:
        return f"{self.name} {self.edition}".encode() + b"more" * self.is_longer

    @property
    def entry(self) -> RemoteFile:
        url = f"https://files.example/{self.name}/{self.edition}{self.is_longer}"
        version = self.name.removeprefix("demo-").removesuffix(".tar.gz")
        return remote_file(self.content, self.name, url=url, version=version, promise=self.promises)


@dataclass(frozen=True)
class Round:
    """
    What happens between two looks at a page.

    Attributes:
        offered: What the upstream lists from now on; None changes nothing.
        failing: What it sends in place of the files of these names.
        denial: What it sends in place of the page.
        seconds: How long it takes.
        restarts: Whether the server restarts.
        read: The file that a client reads.
    """

    offered: list[Listed] | None
    failing: dict[str, Any]
    denial: Any
    seconds: int
    restarts: bool
    read: str


rarely = st.sampled_from([False, False, False, True])
entries = st.builds(
    Listed,
    name=st.sampled_from(NAMES),
    edition=st.sampled_from([1, 1, 2]),
    promises=rarely,
    is_longer=rarely,
)
rounds = st.builds(
    Round,
    offered=st.none() | st.lists(entries, min_size=1, max_size=4, unique_by=lambda one: one.name),
    failing=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(FAILURES), max_size=2),
    denial=st.sampled_from([(), (), (), *FAILURES]),
    seconds=st.sampled_from([1, 60, 600, 600]),
    restarts=rarely,
    read=st.sampled_from(NAMES),
)


@dataclass
class World:
    """An upstream, the server before it, and what its clients have seen."""

    path: str
    remote: ScriptedRemote = field(
        default_factory=lambda: ScriptedRemote(is_immutable=True, lists_digests=True)
    )
    offered: list[Listed] = field(default_factory=list)
    failing: dict[str, Any] = field(default_factory=dict)
    denial: Any = ()
    seen: dict[str, str] = field(default_factory=dict)
    pages: list[frozenset[str]] = field(default_factory=list)
    fetched: Counter[str] = field(default_factory=Counter)
    clock: Any = None

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.bench = Bench(self.path, self.remote, clock=self.clock)
        self.clock = self.bench.clock

    def play(self, one: Round) -> None:
        """Let a round happen."""
        if one.offered is not None:
            self.offered = one.offered
            self.pages.append(frozenset(listed.name for listed in one.offered))
        self.failing, self.denial = one.failing, one.denial
        self.prepare()
        self.clock.advance(one.seconds)
        if one.restarts:
            self.restart()
        self.look()
        self.read(one.read)
        self.count()

    def read(self, name: str) -> None:
        """Read a file, which has the listed digest, or fails with 502 or 503."""
        try:
            content = self.bench.read(name)
        except Unavailable:
            return
        if content is not None:
            assert hashlib.sha256(content).hexdigest() == self.seen[name]

    def look(self) -> None:
        """Ask for the page, which is one that the upstream had, whole and with digests, or fails so."""
        try:
            page = self.bench.page()
        except Unavailable:
            return
        if page is None:
            return
        digests = {file.filename: file.hashes["sha256"] for file in page.files}
        assert frozenset(digests) in self.pages
        assert {**digests, **self.seen} == {**self.seen, **digests}, "a digest has changed"
        self.seen |= digests

    def prepare(self) -> None:
        """Let the upstream answer as it would now."""
        self.remote.offer(*(one.entry for one in self.offered), etag=None)
        if not self.offered or self.denial != ():
            self.remote.pages["demo"] = self.denial or None
        self.remote.bodies = {one.entry.url: self.failing.get(one.name, one.content) for one in self.offered}

    def count(self) -> None:
        """Count the bodies that were sent whole and were the listed ones."""
        bodies = self.remote.bodies
        for what, url in self.remote.asked:
            body = bodies.get(url)
            if what == "fetch" and isinstance(body, bytes):
                name = url.split("/")[3]
                if self.seen.get(name) in (None, hashlib.sha256(body).hexdigest()):
                    self.fetched[url] += 1
        self.remote.asked.clear()


@examples(200)
@given(st.lists(rounds, max_size=8))
def test_every_listed_file_can_be_verified(script: list[Round]):
    with tempfile.TemporaryDirectory() as path:
        world = World(path)
        last = Round(offered=None, failing={}, denial=(), seconds=700, restarts=False, read=NAMES[0])
        for one in (*script, last):
            world.play(one)
        world.bench.stop()

    assert {listed.name for listed in world.offered} <= world.seen.keys()
    assert set(world.fetched.values()) <= {1}
