"""
Two promises about serials, on real folders and the classes of the server.

They never fall within an instance, over restarts, clocks that are set, and whatever is done by hand; a file
of serials that is lost, or whose end is, makes the instance new. And what was known at a serial, with what
has changed after it, is the whole list.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.properties import examples
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.events.serials import REMOVED, ChangeList, Serials
from twisted_index.files.stamps import StatValidator
from twisted_index.indexes.change_feed import ChangeFeed
from twisted_index.indexes.composite import change_parts
from twisted_index.testing import make_wheel

PROJECTS = st.sampled_from(["a", "b", "c"])
VERSIONS = st.sampled_from(["1.0", "2.0"])
START = 1_800_000_000_000


@dataclass
class Follower:
    """What one who follows the feed knows: the instance, the serial it has come to, and each project."""

    instance: str = ""
    since: int = 0
    known: dict[str, tuple[int, str]] = field(default_factory=dict)

    def follow(self, listed: ChangeList) -> None:
        if listed.instance != self.instance or self.since > listed.highest:
            self.instance, self.since, self.known = listed.instance, 0, {}
        new = {name: change for name, change in listed.changes.items() if change.serial > self.since}
        self.known |= new
        self.since = max([self.since, *(change.serial for change in new.values())])


class Index(RuleBasedStateMachine):
    """A folder that people change, a server that is started anew, and a clock that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.root, self.file = self.top / "packages", self.top / "state" / "keep" / "serials"
        self.root.mkdir()
        self.now = self.latest = START
        self.clock = Clock()
        self.sources: list[FolderSource] = []
        self.followers = [Follower(), Follower()]
        #: The highest serial of each project that was seen, and the page that had it.
        self.seen: dict[str, int] = {}
        self.pages: dict[tuple[str, int], Any] = {}
        self.start()

    def tick(self) -> int:
        self.now += 1
        self.latest = max(self.latest, self.now)
        return self.now

    def start(self) -> None:
        validator = StatValidator(monotonic=self.clock.seconds, wall=lambda: self.clock.seconds())
        at_once = AtOnce()
        self.source = FolderSource(
            self.root,
            reactor=self.clock,
            reader=at_once,
            cache_thread=at_once,
            cache=InspectionCache(),
            validator=validator,
            serials=Serials(str(self.file), now=self.tick),
        )
        self.sources.append(self.source)
        self.feed = ChangeFeed(change_parts(self.source), at_once)

    def listed(self) -> ChangeList:
        """What the list says when it was looked for just now."""
        self.clock.advance(5)
        listed: ChangeList = answer(self.feed.changes).value
        return listed

    # -- By hand

    def path(self, project: str, version: str) -> Path:
        return self.root / project / make_wheel(project, version).filename

    def write(self, project: str, version: str) -> None:
        path = self.path(project, version)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make_wheel(project, version).content)

    def rewrite(self, project: str, version: str) -> None:
        """In place, with as many bytes."""
        path = self.path(project, version)
        if path.exists():
            content = path.read_bytes()
            path.write_bytes(content[:-1] + b"x" if content[-1:] != b"x" else content[:-1] + b"\0")

    def remove(self, project: str, version: str) -> None:
        self.path(project, version).unlink(missing_ok=True)

    def remove_project(self, project: str, _version: str) -> None:
        shutil.rmtree(self.root / project, ignore_errors=True)

    def yank(self, project: str, version: str) -> None:
        path = self.path(project, version)
        if path.exists():
            path.with_name(f"{path.name}.yanked").write_text("bad")

    def back_up(self, _project: str, _version: str) -> None:
        shutil.rmtree(self.top / "backup", ignore_errors=True)
        shutil.copytree(self.root, self.top / "backup")

    def restore(self, _project: str, _version: str) -> None:
        """As `rsync -a --delete` does it: the folder stays, what is in it is made anew."""
        if (self.top / "backup").exists():
            for project in self.root.iterdir():
                shutil.rmtree(project)
            shutil.copytree(self.top / "backup", self.root, dirs_exist_ok=True)

    @rule(
        kind=st.sampled_from([write, write, rewrite, remove, remove_project, yank, back_up, restore]),
        project=PROJECTS,
        version=VERSIONS,
        then=st.sampled_from(["page", "list", "nothing"]),
    )
    def change(self, kind: Any, project: str, version: str, then: str) -> None:
        kind(self, project, version)
        if then == "page":
            self.ask_for_a_page(project)
        elif then == "list":
            self.look_at_the_list()

    # -- The server

    def set_clock_right(self) -> None:
        """It has gone on since."""
        self.now = max(self.now, self.latest, *self.seen.values(), 0) + 1

    def only_restart(self, _lost: int) -> None:
        """With the clock as it is."""

    def lose_the_tail(self, lost: int) -> None:
        if self.file.exists():
            data = self.file.read_bytes()
            self.file.write_bytes(data[: max(0, len(data) - lost)])
        self.set_clock_right()

    def lose_the_state(self, _lost: int) -> None:
        shutil.rmtree(self.file.parent, ignore_errors=True)
        self.set_clock_right()

    def lose_the_state_and_the_clock(self, _lost: int) -> None:
        """The one case in which serials may fall: the instance is new then."""
        instance = self.source.serials.read().instance
        shutil.rmtree(self.file.parent, ignore_errors=True)
        self.now = START // 2
        self.start()
        assert self.source.serials.read().instance != instance
        self.seen, self.pages = {}, {}

    @rule(
        kind=st.sampled_from(
            [only_restart, only_restart, lose_the_tail, lose_the_state, lose_the_state_and_the_clock]
        ),
        lost=st.integers(0, 200),
    )
    def restart(self, kind: Any, lost: int) -> None:
        instance = self.source.serials.read().instance
        kind(self, lost)
        self.start()
        if self.source.serials.read().instance != instance:
            assert kind.__name__ != "only_restart" or not self.seen
            self.seen, self.pages = {}, {}
        if kind.__name__ != "only_restart":
            # A clock that is set back before there is a serial again is lost together with the state.
            self.look_at_the_list()
            if not self.file.exists():
                # As where no project is left.
                self.seen, self.pages = {}, {}

    @rule(seconds=st.sampled_from([-10_000_000, -60, -1, 1, 3600]))
    def set_clock(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.latest = max(self.latest, self.now)

    # -- Clients

    def ask_for_a_page(self, project: str) -> None:
        self.clock.advance(5)
        snapshot = answer(self.source.project_page, project)
        if snapshot.value is not None:
            self.saw(project, snapshot.serial)
            page = self.pages.setdefault((project, snapshot.serial), snapshot.value)
            assert page == snapshot.value, "another page has the same serial"

    def look_at_the_list(self) -> None:
        listed = self.listed()
        for project, change in listed.changes.items():
            self.saw(project, change.serial)
            assert change.serial <= listed.highest
        there = {path.name for path in self.root.iterdir()}
        assert {name for name, change in listed.changes.items() if change.imprint != REMOVED} == there

    @rule(number=st.integers(0, 1))
    def follow(self, number: int) -> None:
        listed = self.listed()
        follower = self.followers[number]
        follower.follow(listed)
        assert follower.known == dict(listed.changes)

    def saw(self, project: str, serial: int) -> None:
        assert serial >= self.seen.get(project, 0), "a serial has fallen"
        self.seen[project] = serial

    def teardown(self) -> None:
        for source in self.sources:
            answer(source.stop)
        shutil.rmtree(self.top)


TestSerials = Index.TestCase
TestSerials.settings = examples(
    200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
