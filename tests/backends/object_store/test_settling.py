"""Several nodes change one project at once, in every order: what was answered is true, and stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.backends.object_store.writers import Interleaved, candidate_of, make_editor
from tests.kit.at_once import answer
from tests.kit.memory_bucket import MemoryBucket, Operation
from tests.kit.properties import examples
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.source import ObjectSource
from twisted_index.errors import Conflict, Forbidden, NotFound, Unavailable
from twisted_index.simple.manifest import parse_line
from twisted_index.simple.model import ProjectPage, ProjectStatus, Status
from twisted_index.testing import BuiltFile, SynchronousRunner
from twisted_index.testing.distributions import make_wheel

#: Bytes of a file that is written in one request here: between the sizes of the small and of the large ones.
LIMIT = 4000
_TEXT = "".join(f"x{number} = {number * 7919 % 10007}\n" for number in range(2000))


def _wheel(spelling: str, number: int, text: str = "") -> BuiltFile:
    """Build a wheel of demo 1.0 with another name."""
    files = {"demo/n.py": f"n = {number}\n", "demo/text.py": text}
    return make_wheel("demo", "1.0", files=files, filename=f"{spelling}-py3-none-any.whl")


SPELLINGS = (
    _wheel("demo-1.0", 1),
    _wheel("Demo-1.0", 2),
    _wheel("demo-1.0.0", 3),
    _wheel("demo-1.0", 4, _TEXT),
    _wheel("Demo-1.0.0", 5, _TEXT),
    # The bytes of the first one.
    _wheel("demo-1", 1),
)
SMALL, OTHER, LARGE = SPELLINGS[0], _wheel("demo-1.0", 6), SPELLINGS[3]
#: By name, as examples show them.
FILES = {"small": SMALL, "other": OTHER, "large": LARGE}

#: Whether a node has listed the project before all that happens.
HOLDING = st.sampled_from([None, "demo"])

Change = Callable[[ObjectEditor], object]


def _upload(made: BuiltFile) -> Change:
    def upload(editor: ObjectEditor) -> object:
        with candidate_of(made) as received:
            published = editor.publish(received)
            if published is None:
                editor.complete(received, by="alice")
            return published

    return upload


def _delete(editor: ObjectEditor) -> object:
    return editor.delete("demo", SMALL.filename, by="alice")


def _yank(editor: ObjectEditor) -> object:
    return editor.yank("demo", version="1.0", filename=None, reason="broken", by="alice")


def _unyank(editor: ObjectEditor) -> object:
    return editor.unyank("demo", version="1.0", filename=None, by="alice")


def _set_status(status: Status) -> Change:
    return lambda editor: editor.set_status("demo", ProjectStatus(status=status), by="alice")


@dataclass
class Race:
    """
    Nodes that make one change each.

    Attributes:
        bucket: Theirs.
        ended: The numbers of the changes, in the order in which they were answered.
        before: For each, which had been answered when it began.
        outcomes: What each has returned or raised.
    """

    bucket: MemoryBucket
    ended: list[int] = field(default_factory=list)
    before: dict[int, frozenset[int]] = field(default_factory=dict)
    outcomes: list[Any] = field(default_factory=list)

    def run(self, changes: Sequence[Change], data: st.DataObject) -> None:
        """Make all changes, each step of which `data` chooses."""
        editors = [make_editor(self.bucket, one_request=LIMIT, holding=data.draw(HOLDING)) for _ in changes]
        for editor in editors:
            assert editor.conditions
        calls = [
            partial(self._make, number, change, editor)
            for number, (change, editor) in enumerate(zip(changes, editors, strict=True))
        ]
        race = Interleaved(self.bucket, list(calls))
        race.run(lambda running: data.draw(st.sampled_from(running)), lambda: None)
        self.bucket.before = None
        self.outcomes = race.outcomes
        for outcome in self.outcomes:
            assert not isinstance(outcome, Exception) or isinstance(
                outcome, (Conflict, Forbidden, NotFound, Unavailable)
            ), outcome

    def _make(self, number: int, change: Change, editor: ObjectEditor) -> object:
        self.before[number] = frozenset(self.ended)
        try:
            return change(editor)
        finally:
            self.ended.append(number)

    def succeeded(self, number: int) -> bool:
        """Return whether a change was made."""
        return not isinstance(self.outcomes[number], Exception)


def _prepared(*changes: Change) -> MemoryBucket:
    bucket = MemoryBucket()
    for change in changes:
        change(make_editor(bucket, one_request=LIMIT))
    return bucket


def _page(bucket: MemoryBucket) -> ProjectPage | None:
    """What a node that has just started lists."""
    source = ObjectSource(bucket, worker=SynchronousRunner(), reactor=Clock())
    page: ProjectPage | None = answer(source.project_page, "demo").value
    return page


def _shown(bucket: MemoryBucket) -> set[str]:
    page = _page(bucket)
    return set() if page is None else {file.hashes["sha256"] for file in page.files}


def _taken(bucket: MemoryBucket) -> set[str | None]:
    """The digests of the names that are deleted."""
    if "demo/.deleted" not in bucket.keys():  # noqa: SIM118
        return set()
    return {parse_line(line).sha256 for line in bucket.content("demo/.deleted").splitlines()}


# -- Spellings


@given(st.lists(st.integers(0, len(SPELLINGS) - 1), min_size=2, max_size=4), st.data())
@examples(40, deadline=None)
def test_of_all_spellings_of_a_file_one_content_is_accepted(numbers: list[int], data: st.DataObject) -> None:
    files = [SPELLINGS[number] for number in numbers]
    race = Race(MemoryBucket())
    race.run([_upload(made) for made in files], data)
    accepted = {made.sha256 for number, made in enumerate(files) if race.succeeded(number)}
    assert len(accepted) <= 1
    if accepted:
        assert _shown(race.bucket) == accepted
    repeated = Race(race.bucket)
    for made in files:
        repeated.run([_upload(made)], data)
        if repeated.succeeded(0):
            accepted.add(made.sha256)
    assert len(accepted) == 1
    assert _shown(race.bucket) == accepted


def test_the_loser_of_two_spellings_at_once_is_refused_and_leaves_nothing() -> None:
    first, second = SPELLINGS[0], SPELLINGS[2]
    bucket = MemoryBucket()

    def upload_the_other(operation: Operation) -> None:
        if operation.method == "create" and operation.key == f"demo/{second.filename}":
            bucket.before = None
            assert _upload(first)(make_editor(bucket)) is not None

    editor = make_editor(bucket)
    assert editor.conditions
    bucket.before = upload_the_other
    with pytest.raises(Conflict, match="different content"):
        _upload(second)(editor)
    assert bucket.keys() == [f"demo/{first.filename}"]


# -- Statuses


@given(
    st.lists(st.sampled_from(["small", "other", "large"]), min_size=1, max_size=3),
    st.sampled_from((Status.ARCHIVED, Status.QUARANTINED)),
    st.data(),
)
@examples(40, deadline=None)
def test_no_upload_is_accepted_once_a_project_is_closed_and_none_is_lost(
    names: list[str], status: Status, data: st.DataObject
) -> None:
    files = [FILES[name] for name in names]
    race = Race(_prepared(_upload(make_wheel("demo", "0.1"))))
    before = _shown(race.bucket)
    race.run([_set_status(status), *map(_upload, files)], data)
    assert race.succeeded(0)
    accepted = {number: made for number, made in enumerate(files, 1) if race.succeeded(number)}
    closed_at = race.ended.index(0)
    published = [number for number in accepted if race.outcomes[number] is not None]
    assert all(race.ended.index(number) < closed_at for number in published)
    _set_status(Status.ACTIVE)(make_editor(race.bucket))
    assert {made.sha256 for made in accepted.values()} <= _shown(race.bucket) - before


@pytest.mark.parametrize("made", [SMALL, LARGE])
@pytest.mark.parametrize("method", ["create", "put_file"])
def test_an_upload_to_a_project_that_is_archived_meanwhile_is_refused_and_taken_back(
    made: BuiltFile, method: str
) -> None:
    bucket = _prepared(_upload(make_wheel("demo", "0.1")))
    before = set(bucket.keys())

    def archive(operation: Operation) -> None:
        if operation.method == method and operation.key == f"demo/{made.filename}":
            bucket.before = None
            _set_status(Status.ARCHIVED)(make_editor(bucket))

    editor = make_editor(bucket, one_request=LIMIT)
    assert editor.conditions
    bucket.before = archive
    if made is SMALL and method == "put_file":
        pytest.skip("it is written in one request")
    with pytest.raises(Forbidden, match="archived"):
        _upload(made)(editor)
    assert set(bucket.keys()) - before == {"demo/.archived"}


@given(
    st.lists(
        st.sampled_from((Status.ARCHIVED, Status.QUARANTINED, Status.DEPRECATED)), min_size=2, max_size=3
    ),
    st.data(),
)
@examples(40, deadline=None)
def test_of_statuses_that_are_set_at_once_one_stays(statuses: list[Status], data: st.DataObject) -> None:
    race = Race(_prepared(_upload(SMALL), _set_status(Status.QUARANTINED)))
    race.run([_set_status(status) for status in statuses], data)
    page = _page(race.bucket)
    assert page is not None
    assert page.status.status in statuses


# -- Deletions


@dataclass(frozen=True)
class _File:
    """A name in a model of one node: the digest of what has it, and those of what was deleted."""

    sha256: str | None = None
    deleted: frozenset[str | None] = frozenset()

    def uploaded(self, sha256: str) -> _File | None:
        """Return what an upload makes of it; None if it is refused."""
        if self.sha256 not in (None, sha256) or self.deleted - {sha256}:
            return None
        return _File(sha256)

    def removed(self) -> _File | None:
        """Return what a deletion makes of it, which two may have made at once; None if there was no file."""
        if self.sha256 is None:
            return self if self.deleted else None
        return _File(None, self.deleted | {self.sha256})


def _orders(race: Race, numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the orders in which changes may count that were not answered before others began."""
    for order in itertools.permutations(numbers):
        if all(
            earlier not in race.before[later] or order.index(earlier) < order.index(later)
            for earlier in numbers
            for later in numbers
        ):
            yield order


def _explains(start: _File, steps: Sequence[Callable[[_File], _File | None]]) -> _File | None:
    """Make changes in this order; None if one of them would be refused."""
    state: _File | None = start
    for step in steps:
        if state is not None:
            state = step(state)
    return state


@given(
    st.booleans(),
    st.lists(st.sampled_from(["small", "other", "large", "delete"]), min_size=2, max_size=4),
    st.data(),
)
@examples(60, deadline=None)
def test_uploads_and_deletions_of_one_name_are_as_if_one_had_come_after_the_other(
    is_there: bool, names: list[str], data: st.DataObject
) -> None:
    files = [FILES.get(name) for name in names]
    race = Race(_prepared(*[_upload(SMALL)] * is_there))
    start = _File(SMALL.sha256 if is_there else None)
    race.run([_delete if made is None else _upload(made) for made in files], data)
    steps = [_File.removed if made is None else partial(_upload_to, made.sha256) for made in files]
    made = [number for number in range(len(files)) if race.succeeded(number)]
    # What ended without an answer may have been done nevertheless.
    unknown = [number for number in range(len(files)) if isinstance(race.outcomes[number], Unavailable)]
    shown, taken = _shown(race.bucket), _taken(race.bucket)
    ends = set()
    for size in range(len(unknown) + 1):
        for more in itertools.combinations(unknown, size):
            for order in _orders(race, [*made, *more]):
                end = _explains(start, [steps[number] for number in order])
                if end is not None:
                    ends.add(end)
    found = _File(next(iter(shown), None), frozenset(taken))
    assert found in ends, (race.outcomes, race.ended)


def _upload_to(sha256: str, file: _File) -> _File | None:
    return file.uploaded(sha256)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=4, unique=True), st.data())
@examples(40, deadline=None)
def test_deletions_of_several_files_at_once_are_all_written_down(
    numbers: list[int], data: st.DataObject
) -> None:
    files = [make_wheel("demo", f"1.{number}") for number in range(5)]
    race = Race(_prepared(*map(_upload, files)))
    deletions = [partial(_delete_file, files[number].filename) for number in numbers]
    race.run(deletions, data)
    assert all(race.succeeded(number) for number in range(len(numbers)))
    assert _taken(race.bucket) == {files[number].sha256 for number in numbers}


def _delete_file(filename: str, editor: ObjectEditor) -> object:
    return editor.delete("demo", filename, by="alice")


# -- Yanks


@given(st.lists(st.sampled_from([_yank, _unyank, _delete]), min_size=2, max_size=4), st.data())
@examples(40, deadline=None)
def test_yanks_and_deletions_at_once_leave_no_mark_without_its_file(
    changes: list[Change], data: st.DataObject
) -> None:
    race = Race(_prepared(_upload(SMALL)))
    race.run(changes, data)
    file, mark = f"demo/{SMALL.filename}", f"demo/{SMALL.filename}.yanked"
    there = race.bucket.keys()
    if _delete in changes:
        assert file not in there
        assert mark not in there
    elif _unyank not in changes:
        assert mark in there
    elif _yank not in changes:
        assert mark not in there
