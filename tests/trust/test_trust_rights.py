"""
Nobody gets through any index what they may not read where it lies: for any graph, folders and rights.

The shipped registry, rights and resource over real folders. What may be read is computed anew for each
answer, slowly, from the sentences of the documents. Each URL is requested by all in turn, and again, so that
what was prepared for one is there for the next.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given
from hypothesis import strategies as st

from tests.kit.named_indexes import Indexes, upstream_settings
from tests.kit.properties import examples
from tests.kit.rights import GuardedIndex, as_user
from tests.trust.test_trust_indexes import Index, Model
from twisted_index.testing import make_wheel

PROJECTS = ["acme", "acme-x", "tool"]
ABSENT = "acme-none"
USERS = ["", "alice", "bob", "token"]
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
FILES = {project: make_wheel(project, "1.0").filename for project in PROJECTS}


@dataclass(frozen=True)
class Read:
    """A rule with `read`, as a file of rights has it."""

    projects: tuple[str, ...]
    to: tuple[str, ...]
    indexes: tuple[str, ...] | None

    @property
    def text(self) -> str:
        where = "" if self.indexes is None else f"indexes = {list(self.indexes)}\n"
        return f'[[rule]]\nallow = "read"\nprojects = {list(self.projects)}\nto = {list(self.to)}\n{where}'

    def speaks_of(self, project: str) -> bool:
        return any(fnmatchcase(project, pattern) for pattern in self.projects)

    def admits(self, user: str) -> bool:
        return "everyone" in self.to or user in self.to or ("users" in self.to and user in ("alice", "bob"))

    def holds_in(self, names: set[str]) -> bool:
        patterns = ("",) if self.indexes is None else self.indexes
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


@dataclass(frozen=True)
class Token:
    """What the token may read, and where."""

    projects: str
    indexes: tuple[str, ...]

    def grants(self, project: str, names: set[str]) -> bool:
        here = any(fnmatchcase(name, pattern) for name in names for pattern in self.indexes)
        return here and fnmatchcase(project, self.projects)


@dataclass
class Server:
    """The indexes of a model with their rights, served."""

    model: Model
    rules: list[Read]
    token: Token
    default: str
    indexes: Indexes
    site: GuardedIndex
    secret: dict[str, str]

    def line(self, index: str) -> tuple[str, ...]:
        """The names of the indexes that a URL is about; empty if their order contradicts itself."""
        name = index or self.default
        return self.model.line(name) if name else ("",)

    def may_read(self, user: str, project: str, line: tuple[str, ...]) -> bool:
        """Say in the words of the documents whether somebody may read a project in each of some indexes."""
        if not any(rule.speaks_of(project) for rule in self.rules):
            return True
        return all(self._is_admitted(user, project, self._names(index)) for index in line)

    def _names(self, index: str) -> set[str]:
        return {"", self.default} if index in ("", self.default) else {index}

    def _is_admitted(self, user: str, project: str, names: set[str]) -> bool:
        rules = [rule for rule in self.rules if rule.speaks_of(project) and rule.holds_in(names)]
        return any(rule.admits(user) for rule in rules) or (
            user == "token" and self.token.grants(project, names)
        )

    def has(self, index: str) -> set[str]:
        """The projects of the folders of an index and of those that it inherits."""
        return {project for project in PROJECTS if self.owner(index, project) is not None}

    def owner(self, index: str, project: str) -> str | None:
        """The index whose folder has a project first."""
        for name in self.line(index):
            if project in (self.model.indexes[name].projects if name else self.model.plain):
                return name
        return None

    def ask(self, user: str, path: str) -> Any:
        """Ask on a connection of its own, so that the fast path may be taken."""
        who = self.secret if user == "token" else as_user(user) if user else {}
        return self.site.get(path, headers={**JSON, **who})

    def write(self, name: str) -> None:
        index = self.model.indexes[name]
        folder = self.indexes.make(name, index.text, *index.projects)
        for project in PROJECTS:
            if project not in index.projects and (folder / project).is_dir():
                (folder / project / FILES[project]).unlink()
                (folder / project).rmdir()

    def change(self, random: Random) -> None:
        """Change the folder of an index, or the rights."""
        if random.random() < 0.5:
            self.rules = random.sample(self.rules, k=random.randint(0, len(self.rules)))
            self.site.set_rights("".join(rule.text for rule in self.rules))
        else:
            name = random.choice(sorted(self.model.indexes))
            self.model.indexes[name].projects ^= {random.choice(PROJECTS)}
            self.write(name)
        self.indexes.later()


PATTERNS = ["i0", "i1", "i2", "i3", "", "i?", "*"]


def some(random: Random, choices: list[str], most: int = 2) -> tuple[str, ...]:
    return tuple(random.sample(choices, k=random.randint(1, most)))


def make_rules(random: Random) -> list[Read]:
    """Make so many that most are about something that another one closes."""
    return [
        Read(
            some(random, ["acme*", "acme-x", "tool", "*"]),
            random.choice([("alice",), ("bob",), ("alice", "bob"), ("users",), ("everyone",)]),
            random.choice([None, *(some(random, PATTERNS) for _ in range(3))]),
        )
        for _ in range(random.randint(1, 5))
    ]


def make_model(random: Random) -> Model:
    """Make indexes whose bases come before them, without upstreams."""
    indexes: dict[str, Index] = {}
    for number in range(random.randint(2, 4)):
        bases = some(random, sorted(indexes)[-3:], min(2, number)) if number else ()
        indexes[f"i{number}"] = Index(bases, projects=set(some(random, PROJECTS)))
    return Model(indexes, set(some(random, PROJECTS)))


@contextmanager
def serve(model: Model, rules: list[Read], token: Token, default: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as place:
        indexes = Indexes(Path(place), upstream_settings(), default=default)
        indexes.reactor.advance(1_000_000)
        indexes.add(indexes.plain, *model.plain)
        site = GuardedIndex(
            Path(place),
            "".join(rule.text for rule in rules),
            clock=indexes.reactor,
            indexes=indexes.registry,
            default_index=default,
        )
        secret = site.token("one", read=token.projects, indexes=token.indexes)
        server = Server(model, rules, token, default, indexes, site, secret)
        for name in model.indexes:
            server.write(name)
        indexes.later()
        try:
            yield server
        finally:
            site.disconnect_all()
            indexes.close()


def ways(project: str) -> list[str]:
    """The URLs that are about a project."""
    file = FILES.get(project, "acme_none-1.0-py3-none-any.whl")
    return [
        f"simple/{project}/",
        f"{project}/",
        f"pypi/{project}/json",
        f"pypi/{project}/1.0/json",
        f"simple/{project}/{file}",
        f"simple/{project}/{file}.metadata",
        f"{project}/{file}",
        f"packages/{file}",
        f"-/why/{project}",
    ]


def check_page(server: Server, user: str, index: str, project: str, prefix: str) -> None:
    """Hold a page and its files against what the user may read where they lie."""
    url = f"{prefix}simple/{project}/"
    reply = server.ask(user, url)
    if not server.may_read(user, project, server.line(index)):
        assert reply.status == (403 if user else 401), (user, url, reply.text)
        return
    owner = server.owner(index, project)
    assert reply.status == (404 if owner is None else 200), (user, url, reply.text)
    if owner is None:
        return
    (file,) = reply.json()["files"]
    found = posixpath.normpath(posixpath.join(url, file["url"]))
    # Its own files have relative URLs, also where it is requested by another of its names.
    own = owner == server.line(index)[0]
    place = prefix if own else f"/+{owner}/"
    assert found == f"{place}simple/{project}/{FILES[project]}", (user, url)
    assert server.may_read(user, project, (owner,))
    assert server.ask(user, found).status == 200, (user, found)


def check_lists(server: Server, user: str, index: str, prefix: str) -> None:
    """Hold the lists of an index against what the user may read there."""
    reply = server.ask(user, f"{prefix}simple/")
    expected = {each for each in server.has(index) if server.may_read(user, each, server.line(index))}
    if reply.status == 200:
        assert {each["name"] for each in reply.json()["projects"]} == expected, (user, prefix)
    else:
        assert (reply.status, expected) == (403 if user else 401, set()), (user, prefix, reply.text)
    for path in ("", "packages/", "-/"):
        body = server.ask(user, f"{prefix}{path}").text
        shown = {project for project, file in FILES.items() if file in body or f'/{project}/"' in body}
        assert shown <= expected, (user, prefix, path)


@examples(20, phases=[Phase.generate])
@given(st.integers(min_value=0))
def test_nobody_gets_what_they_may_not_read_where_it_lies(seed: int):
    random = Random(seed)
    token = Token(random.choice(["*", "acme*", "acme-x"]), some(random, PATTERNS))
    default = random.choice(["", "i0", "i1"])
    with serve(make_model(random), make_rules(random), token, default) as server:
        for _ in range(3):
            places = [(index, f"/+{index}/" if index else "/") for index in ("", *server.model.indexes)]
            asked = [(place, project) for place in places for project in (*PROJECTS, ABSENT)]
            random.shuffle(asked)
            for (index, prefix), project in asked:
                if not server.line(index):
                    continue
                for user in random.sample(USERS, k=len(USERS)) * 2:
                    check_page(server, user, index, project, prefix)
                    if not server.may_read(user, project, server.line(index)):
                        statuses = {way: server.ask(user, f"{prefix}{way}").status for way in ways(project)}
                        assert set(statuses.values()) == {403 if user else 401}, (user, prefix, statuses)
            for index, prefix in places:
                for user in USERS if server.line(index) else ():
                    check_lists(server, user, index, prefix)
            server.change(random)


def test_it_is_the_fast_path_that_was_held_to_it():
    rules = [Read(("acme",), ("alice",), ("*",))]
    model = Model({"i0": Index(projects={"acme"}), "i1": Index(("i0",))}, set())
    with serve(model, rules, Token("tool", ("",)), "") as server:
        for _ in range(3):
            statuses = [server.ask(user, "/+i1/simple/acme/").status for user in USERS]
            assert statuses == [401, 200, 403, 403]
        assert server.site.short >= 1
