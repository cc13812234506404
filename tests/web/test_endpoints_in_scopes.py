"""Every URL by every right, in every scope: what counts is the right in the index that the URL is about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.rights import SECRET, GuardedIndex, NotingStore
from tests.kit.uploads import MemoryStore
from tests.web.test_endpoints import ROWS, ask
from twisted_index.indexes.scope import Scope
from twisted_index.interfaces import WHOLE_INDEX, Action
from twisted_index.testing import MemorySource
from twisted_index.web.endpoints import Subject

WHEN = "2026-11-01"


class Place(NamedTuple):
    """Where URLs are requested, and the names of the indexes that they are about."""

    prefix: str
    line: tuple[str, ...]
    default: str = ""

    @property
    def is_past(self) -> bool:
        return "+at" in self.prefix

    def needs(self, of: Subject, action: Action, url: str) -> tuple[str, ...]:
        """Name the indexes in which an action needs its right: in each of them."""
        if of is Subject.SERVER:
            return ("",)
        return self.line if action is Action.READ or url == "/-/problems" else self.line[:1]

    def names(self, index: str) -> set[str]:
        return {"", self.default} if index in ("", self.default) else {index}

    def other_name(self, index: str) -> str:
        """Give the other name of an index that has two."""
        return next(iter(self.names(index) - {index}), index)


PLACES = {
    "an index": Place("/+dev", ("dev", "prod", "")),
    "the default index": Place("", ("dev", "prod"), "dev"),
    "the default index by its name": Place("/+dev", ("dev", "prod"), "dev"),
    "the past of an index": Place(f"/+dev/+at/{WHEN}", ("dev", "prod", "")),
    "the index without a name beside others": Place("", ("",)),
    "its past": Place(f"/+at/{WHEN}", ("",)),
}
WHO = ("", "alice", "bob")
EVERYWHERE = frozenset({"", "dev", "prod", "other"})


def serving(place: Place, store: object) -> MemoryIndexes:
    indexes, source = MemoryIndexes(), MemorySource(SECRET)
    for index, bases in (("", ()), ("other", ()), ("prod", ()), (place.line[0], place.line[1:])):
        indexes.set(source, index, bases=bases, store=store)
        indexes.set(source, Scope(index=index, as_of=WHEN), bases=bases)
    if place.default:
        indexes.make_default(place.default)
    return indexes


def rule(action: Action, user: str, indexes: Iterable[str]) -> str:
    where = ", ".join(f'"{index}"' for index in sorted(indexes))
    projects = "" if action in WHOLE_INDEX else 'projects = "*"\n'
    return f'[[rule]]\nallow = ["{action.value}"]\nto = "{user}"\nindexes = [{where}]\n{projects}'


def rights(place: Place, of: Subject, action: Action, url: str, missing: str) -> str:
    """Give Alice every right everywhere, but this one in one index; and Bob this one where it is needed."""
    alices = [rule(each, "alice", EVERYWHERE) for each in Action if each is not action]
    rest = EVERYWHERE - place.names(missing)
    bobs = [rule(action, "bob", map(place.other_name, place.needs(of, action, url)))]
    if action is Action.FOLLOW:
        bobs.append(rule(Action.READ, "bob", map(place.other_name, place.line)))
    return "".join([*alices, rule(action, "alice", rest), *bobs])


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("of", "url", "method", "action"), ROWS)
def test_a_method_needs_its_right_in_the_indexes_that_its_url_is_about(
    tmp_path: Path, place: Place, of: Subject, url: str, method: bytes, action: Action
):
    for number, missing in enumerate(place.needs(of, action, url)):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = rights(place, of, action, url, missing)
        if url == "/-/promote":
            text += rule(Action.PROMOTE, "bob", EVERYWHERE)
        if url == "/-/replication":
            # Whether there is an index is for those who may read something in it.
            text += rule(Action.READ, "bob", EVERYWHERE)
        store = MemoryStore() if of is Subject.UPLOAD else NotingStore()
        indexes = serving(place, store)
        index = GuardedIndex(folder, text, store=store, indexes=indexes, default_index=place.default)
        nobody, alice, bob = (ask(index, f"{place.prefix}{url}", method.decode(), user) for user in WHO)
        if place.is_past and method != b"GET":
            assert (nobody, alice, bob) == (405, 405, 405)
        elif of in (Subject.NOTHING, Subject.CLIENT):
            assert not {401, 403} & {bob}
        elif of is Subject.USER:
            assert nobody == 401
            assert bob not in (401, 403)
        else:
            assert (nobody, alice) == (401, 403), missing
            assert bob not in (401, 403)
            assert bob < 500


@pytest.mark.parametrize(
    ("granted", "status"), [("dev", 200), ("prod", 403), ("", 403), ("*", 200), (["prod", ""], 403)]
)
def test_the_project_of_an_upload_needs_its_right_in_that_index(
    tmp_path: Path, granted: str | list[str], status: int
):
    """Though its client may upload another one there, and so gets as far as its name."""
    place, store = PLACES["an index"], MemoryStore()
    where = [granted] if isinstance(granted, str) else granted
    text = rule(Action.UPLOAD, "bob", where) + rule(Action.UPLOAD, "bob", ["dev"]).replace('"*"', '"other"')
    index = GuardedIndex(tmp_path, text, store=store, indexes=serving(place, store))
    assert ask(index, f"{place.prefix}/legacy/", "POST", "bob") == status
    assert len(store.uploads) == (status == 200)


@pytest.mark.parametrize(
    ("granted", "may_create"), [("dev", True), ("prod", False), ("", False), ("*", True)]
)
def test_an_upload_creates_a_project_with_the_right_in_that_index(
    tmp_path: Path, granted: str, may_create: bool
):
    place, store = PLACES["an index"], MemoryStore()
    text = rule(Action.UPLOAD, "bob", ["dev"]) + rule(Action.CREATE, "bob", [granted])
    index = GuardedIndex(tmp_path, text, store=store, indexes=serving(place, store))
    ask(index, f"{place.prefix}/legacy/", "POST", "bob")
    (upload,) = store.uploads
    assert upload.may_create is may_create
