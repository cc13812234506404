"""What holds of every run, whatever the index lists, and whenever the run before it died."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.kit.pull_bench import Killed, Mortal, PullBench, distributions, picture
from tests.kit.scripted_remote import remote_file
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.errors import BadGateway
from twisted_index.simple.model import ProjectStatus, Sidecar, Status, Yanked
from twisted_index.testing import make_sdist, make_wheel

PROJECTS = ("alpha", "beta")
BUILT = (
    make_wheel("alpha", "1.0"),
    make_wheel("alpha", "2.0"),
    make_sdist("alpha", "1.0"),
    make_wheel("beta", "1.0"),
)
#: Two spellings of one name.
RESPELLED = ("alpha-1.0-py3-none-any.whl", "Alpha-1.0.0-py3-none-any.whl")
GOOD = {built.filename: built.sha256 for built in BUILT} | {RESPELLED[1]: BUILT[0].sha256}
TIMES = (datetime(2020, 1, 2, 3, 4, 5, 678901, UTC), datetime(2021, 1, 1, tzinfo=UTC))
STATUSES = tuple(ProjectStatus(status=status, reason="why") for status in Status)


@dataclass(frozen=True)
class Listed:
    """A file on a page, as an index may state it."""

    number: int
    yanked: str | None
    promise: bool
    sized: bool
    time: datetime | None
    signed: bool
    attested: bool
    twice: bool
    whole: bool

    @property
    def project(self) -> str:
        return BUILT[self.number].project

    def remotes(self) -> Iterator[RemoteFile]:
        built = BUILT[self.number]
        one = remote_file(
            built.content,
            built.filename,
            promise=self.promise,
            sized=self.sized,
            yanked=None if self.yanked is None else Yanked(reason=self.yanked),
            version=built.filename.split("-")[1].removesuffix(".tar.gz"),
            upload_time=self.time,
            sidecars=frozenset({Sidecar.SIGNATURE} if self.signed else ()),
            provenance_url=f"https://files.example/{built.filename}.provenance" if self.attested else None,
        )
        yield one
        if self.twice and built.filename == RESPELLED[0]:
            url = f"https://files.example/{RESPELLED[1]}"
            yield replace(one, url=url, file=replace(one.file, filename=RESPELLED[1]))


@dataclass(frozen=True)
class State:
    """What an index says: its files, statuses by project, and projects whose page cannot be had."""

    files: tuple[Listed, ...]
    statuses: tuple[ProjectStatus, ...]
    absent: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()

    def put(self, bench: PullBench, random: Random | None = None) -> None:
        """Have an index say so, in some order."""
        remote = bench.remote
        for project, status in zip(PROJECTS, self.statuses, strict=True):
            found = [
                (listed, entry)
                for listed in self.files
                if listed.project == project
                for entry in listed.remotes()
            ]
            for listed, entry in found:
                content = BUILT[listed.number].content
                remote.bodies[entry.url] = content if listed.whole else content[:-30]
                remote.documents[f"{entry.url}.asc"] = b"signed"
                remote.documents[f"{entry.url}.provenance"] = b"{}"
            entries = [entry for _listed, entry in found]
            if random is not None:
                random.shuffle(entries)
            if status.status is Status.QUARANTINED:
                entries = []
            bench.list(project, *entries, status=status, etag=None)
            if project in self.absent:
                remote.pages[project] = None
            if project in self.broken:
                remote.pages[project] = BadGateway("It is broken.")


def _files(*, whole: st.SearchStrategy[bool]) -> st.SearchStrategy[tuple[Listed, ...]]:
    file = st.builds(
        Listed,
        number=st.integers(0, len(BUILT) - 1),
        yanked=st.sampled_from((None, None, "", "one", "two")),
        promise=st.booleans(),
        sized=st.booleans(),
        time=st.sampled_from(TIMES),
        signed=st.booleans(),
        attested=st.booleans(),
        twice=st.booleans(),
        whole=whole,
    )
    return st.lists(file, unique_by=lambda listed: listed.number, max_size=len(BUILT)).map(tuple)


_STATUSES = st.tuples(*(st.sampled_from(STATUSES) for _project in PROJECTS))
_SOME = st.frozensets(st.sampled_from(PROJECTS), max_size=1)
ANY = st.builds(State, files=_files(whole=st.booleans()), statuses=_STATUSES, absent=_SOME, broken=_SOME)
#: An index without faults.
SOUND = st.builds(State, files=_files(whole=st.just(True)), statuses=_STATUSES, absent=_SOME)


# What random examples meet too rarely.
_TWO_SPELLINGS = Listed(0, None, True, True, TIMES[0], signed=False, attested=False, twice=True, whole=True)
_UNPROMISED = replace(_TWO_SPELLINGS, promise=False, twice=False)
_YANKED = replace(_UNPROMISED, yanked="one")
_NOTHING, _ONE, _YANK, _TWICE = (
    State(files=files, statuses=(ProjectStatus(), ProjectStatus()))
    for files in ((), (_UNPROMISED,), (_YANKED,), (_TWO_SPELLINGS,))
)
_ARCHIVED = replace(_ONE, statuses=(STATUSES[1], ProjectStatus()))
_GONE = replace(_NOTHING, absent=frozenset({"alpha"}))


@contextmanager
def _bench() -> Iterator[PullBench]:
    path = Path(tempfile.mkdtemp())
    try:
        yield PullBench(path)
    finally:
        shutil.rmtree(path)


def _pull(bench: PullBench, target: str, state: State, mortal: Mortal | None = None, seed: int = 0) -> Path:
    """Run, and survive what is wrong with the index."""
    random = Random(seed)
    state.put(bench, random if seed else None)
    folder = bench.path / target
    for project in PROJECTS if not seed % 2 else reversed(PROJECTS):
        try:
            bench.run(folder, [project], mortal=mortal)
        except BadGateway:
            continue
    return folder


@examples(40)
@given(before=st.lists(ANY, max_size=3), last=SOUND)
@example(before=[_YANK], last=_TWICE)
def test_an_exact_run_equals_a_run_into_an_empty_folder(before: list[State], last: State):
    """M2: whatever earlier runs left, contents, names, times and marks are those of the last page."""
    with _bench() as bench:
        for state in before:
            _pull(bench, "packages", state)
        filled = _pull(bench, "packages", last)
        shutil.rmtree(bench.path / "cache")
        empty = _pull(bench, "empty", last)
        assert _without_spelling(picture(filled)) == _without_spelling(picture(empty))


def _without_spelling(found: dict[str, object]) -> dict[str, object]:
    # A file that lies there stays under the spelling that it has.
    return {name.replace("Alpha-1.0.0", "alpha-1.0"): value for name, value in found.items()}


@examples(15)
@given(first=SOUND, second=ANY)
@example(first=_NOTHING, second=_ONE)
@example(first=_ARCHIVED, second=_GONE)
def test_a_run_after_one_that_died_equals_an_undisturbed_one(first: State, second: State):
    """M3: at every step. M4: at no moment has a file a name that was not verified."""
    with _bench() as bench:
        start = _pull(bench, "start", first)
        expected_folder = bench.path / "expected"
        shutil.copytree(start, expected_folder)
        counting = Mortal()
        counting.seen = lambda: _check_names(expected_folder)
        _pull(bench, "expected", second, counting)
        expected = picture(expected_folder)
        for lives in range(counting.steps):
            folder = bench.path / f"after-{lives}"
            shutil.copytree(start, folder)
            try:
                _pull(bench, folder.name, second, Mortal(lives))
            except Killed:
                _check_names(folder)
            _pull(bench, folder.name, second)
            assert picture(folder) == expected, f"it died after step {lives}"


def _check_names(folder: Path) -> None:
    for name, sha256 in distributions(folder).items():
        assert GOOD[name] == sha256


@examples(25)
@given(before=ANY, last=ANY, seed=st.integers(1, 1000))
@example(before=_NOTHING, last=_TWICE, seed=1)
def test_the_order_of_pages_and_projects_changes_nothing(before: State, last: State, seed: int):
    """M5."""
    with _bench() as bench:
        for state in (before, last):
            one = _pull(bench, "one", state)
            other = _pull(bench, "other", state, seed=seed)
        assert picture(one) == picture(other)


@examples(25)
@given(state=ANY)
def test_what_is_not_recorded_is_never_changed(state: State):
    own = make_wheel("alpha", "9.0")
    with _bench() as bench:
        bench.joins = True
        folder = bench.path / "packages" / "alpha"
        own.write_to(folder)
        (folder / f"{BUILT[0].filename}.yanked").write_text("by hand")
        (folder / BUILT[1].filename).write_bytes(b"something else")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        _pull(bench, "packages", state)
        _pull(bench, "packages", State(files=(), statuses=STATUSES[:2]))
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {name: content for name, content in after.items() if name in before} == before
