"""
Four promises about a replica, whatever happens to its primary, to itself and in between.

1. After quiet, both folders hold the same files with the same times, and both servers send equal pages.
2. Serials never fall within an instance.
3. What was known at a serial, with what has changed after it, is the whole list.
4. Meanwhile no page of the replica has a file that is neither that of before nor that of the primary, a file
   without the yank that it had or that comes with it, or a part of the files that came together.

That the fourth can fail, each way that it could, is tested in `test_rounds_faults.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.kit.at_once import answer
from tests.kit.followed_folder import ReplicaPair, files_of
from tests.kit.properties import examples
from tests.kit.pull_bench import Killed
from tests.kit.replica_pages import PageWatch
from twisted_index.events.serials import REMOVED, ChangeList, Serials
from twisted_index.simple.entry_listing import Entry
from twisted_index.testing import BuiltFile, IndexInMemory, make_sdist, make_wheel

PROJECTS = ("a", "b")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
LONG_AGO = 1_600_000_000_123_456_789
YEAR = 365 * 86400 * 10**9


def wheel(project: str, version: str, number: int = 0) -> BuiltFile:
    """A wheel; those with other numbers have as many bytes."""
    return make_wheel(project, version, requires_python=f">=3.{number}", compress=False)


class Fate:
    """Carries out steps: watches what is seen after each, and lets the process die, or the disk be full."""

    def __init__(self, watch: Callable[[], object]) -> None:
        self._watch = watch
        self.lives: int | None = None
        self.room: int | None = None

    def __call__(self, step: Callable[[], object]) -> None:
        if self.lives == 0:
            raise Killed
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        step()
        self.lives = None if self.lives is None else self.lives - 1
        self.room = None if self.room is None else self.room - 1
        self._watch()


class Replica(RuleBasedStateMachine):
    """A primary whose folder people change, a replica, and what may happen to both."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.watch = PageWatch(PROJECTS)
        self.fate = Fate(self.watch.look)
        self.pair = ReplicaPair(self.top, self.fate)
        self.primary, self.there = self.pair.primary, self.pair.there
        self.watch.start(self.pair)
        self.milliseconds = 1_800_000_000_000
        self.number = 0
        self.instance, self.serials = "", dict[str, int]()
        self.since, self.known, self.has_lost = 0, dict[str, Any](), False
        self.renew_primary(self.top / "keep-1")

    def renew_primary(self, keep: Path) -> None:
        """Start the primary with what it keeps."""
        answer(self.primary.source.stop)
        self.keep = keep
        self.primary.serials = Serials(str(keep / "serials"), now=self.tick)
        self.primary.start()

    def tick(self) -> int:
        self.milliseconds += 1
        return self.milliseconds

    # -- What people do at the primary

    def path(self, project: str, version: str) -> Path:
        return self.there / project / make_wheel(project, version).filename

    def put(self, project: str, version: str) -> None:
        wheel(project, version).write_to(self.there / project)

    def put_release(self, project: str, version: str) -> None:
        """A wheel and an sdist in one step, as a promotion does it."""
        folder = self.there / project
        folder.mkdir(exist_ok=True)
        files = [wheel(project, version), make_sdist(project, version)]
        (self.there / ".staged").mkdir(exist_ok=True)
        names = self.there / ".staged" / "made.list"
        names.write_text("".join(f"{file.filename}\n" for file in files))
        for file in files:
            file.write_to(folder)
        names.unlink()

    def put_yanked(self, project: str, version: str) -> None:
        folder = self.there / project
        folder.mkdir(exist_ok=True)
        self.path(project, version).with_suffix(".whl.yanked").write_text("bad")
        self.put(project, version)

    def put_elsewhere(self, project: str, version: str) -> None:
        make_sdist(project, version).write_to(self.there)
        wheel(project, version).write_to(self.there / project.upper())

    def rewrite(self, project: str, version: str) -> None:
        """Another file of the name, with the same size and time."""
        path = self.path(project, version)
        if path.exists():
            times = path.stat()
            self.number += 1
            content = wheel(project, version, self.number % 10).content
            path.unlink()
            path.write_bytes(content)
            os.utime(path, ns=(times.st_mtime_ns, times.st_mtime_ns))

    def damage(self, project: str, version: str) -> None:
        path = self.path(project, version)
        if path.exists():
            path.write_bytes(path.read_bytes()[:-30])

    def age(self, project: str, version: str) -> None:
        path = self.path(project, version)
        if path.exists():
            os.utime(path, ns=(LONG_AGO, LONG_AGO))

    def date_ahead(self, project: str, version: str) -> None:
        path = self.path(project, version)
        if path.exists():
            os.utime(path, (4e9, 4e9))

    def remove(self, project: str, version: str) -> None:
        self.path(project, version).unlink(missing_ok=True)

    def remove_all(self, project: str, _version: str) -> None:
        shutil.rmtree(self.there / project, ignore_errors=True)

    def delete(self, project: str, version: str) -> None:
        """As a client deletes: the name stays taken."""
        path = self.path(project, version)
        if path.exists():
            row = f"{'0' * 64}  {path.stat().st_size}  2026-01-01T00:00:00Z  {path.name}\n"
            with (path.parent / ".deleted").open("a") as file:
                file.write(row)
            path.unlink()

    def revive(self, project: str, version: str) -> None:
        (self.there / project / ".deleted").unlink(missing_ok=True)
        self.put(project, version)

    def yank(self, project: str, version: str) -> None:
        path = self.path(project, version)
        if path.exists():
            self.number += 1
            path.with_name(f"{path.name}.yanked").write_text(f"reason {self.number}")

    def unyank(self, project: str, version: str) -> None:
        path = self.path(project, version)
        path.with_name(f"{path.name}.yanked").unlink(missing_ok=True)

    def set_status(self, project: str, version: str) -> None:
        if (self.there / project).exists():
            status = "quarantined" if version == "1.0" else "archived"
            (self.there / project / f".{status}").write_text("why")

    def unset_status(self, project: str, _version: str) -> None:
        for status in ("quarantined", "archived", "claimed"):
            (self.there / project / f".{status}").unlink(missing_ok=True)

    def claim(self, project: str, _version: str) -> None:
        (self.there / project).mkdir(exist_ok=True)
        (self.there / project / ".claimed").touch()

    def put_beside(self, project: str, version: str) -> None:
        (self.there / project).mkdir(exist_ok=True)
        (self.there / project / "README.txt").write_text(version)
        self.path(project, version).with_suffix(".whl.asc").write_text("signed")

    @rule(
        kind=st.sampled_from(
            [
                put,
                put,
                put_release,
                put_release,
                put_yanked,
                put_elsewhere,
                rewrite,
                damage,
                age,
                date_ahead,
                remove,
                remove_all,
                delete,
                revive,
                yank,
                yank,
                unyank,
                set_status,
                unset_status,
                claim,
                put_beside,
            ]
        ),
        project=st.sampled_from(PROJECTS),
        version=st.sampled_from(["1.0", "2.0"]),
    )
    def change(self, kind: Any, project: str, version: str) -> None:
        kind(self, project, version)

    # -- What happens to the primary

    def lose_state(self) -> None:
        shutil.rmtree(self.keep, ignore_errors=True)
        self.renew_primary(self.keep)

    def back_up(self) -> None:
        for name in ("files", "keep"):
            shutil.rmtree(self.top / "backup" / name, ignore_errors=True)
        shutil.copytree(self.there, self.top / "backup" / "files")
        self.primary.serials.flush()
        if self.keep.exists():
            shutil.copytree(self.keep, self.top / "backup" / "keep")

    def restore(self) -> None:
        """The files, by rsync."""
        if (self.top / "backup" / "files").exists():
            self.empty()
            shutil.copytree(self.top / "backup" / "files", self.there, dirs_exist_ok=True)

    def restore_with_state(self) -> None:
        """The clock is right, so that what is new has greater serials. It does not answer meanwhile."""
        self.pair.rounds.ask_for_all()
        self.restore()
        if (self.top / "backup" / "keep").exists():
            shutil.rmtree(self.keep, ignore_errors=True)
            shutil.copytree(self.top / "backup" / "keep", self.keep)
            self.renew_primary(self.keep)

    def empty(self) -> None:
        for path in self.there.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def restart_primary(self) -> None:
        self.renew_primary(self.keep)

    def go_down(self) -> None:
        self.primary.is_down = True

    def lie(self) -> None:
        self.primary.spoil = lambda _entry, content: b"x" * len(content)

    def truncate(self) -> None:
        self.primary.spoil = lambda _entry, content: content[:-1]

    def lie_of_some(self) -> None:
        def spoil(entry: Entry, content: bytes) -> bytes:
            return content + b"more" if entry.path.endswith(".whl") else content

        self.primary.spoil = spoil

    def send_apart(self) -> None:
        self.primary.inlines = not self.primary.inlines

    @rule(
        kind=st.sampled_from(
            [
                lose_state,
                back_up,
                restore,
                restore_with_state,
                empty,
                restart_primary,
                go_down,
                lie,
                truncate,
                lie_of_some,
                send_apart,
                send_apart,
            ]
        )
    )
    def befall_the_primary(self, kind: Any) -> None:
        kind(self)

    def be_well(self) -> None:
        self.primary.is_down = False
        self.primary.spoil = lambda _entry, content: content

    # -- What happens to the replica

    def restart(self) -> None:
        self.fate.lives = self.fate.room = None
        self.pair.start()
        self.watch.start(self.pair)

    def edit(self) -> None:
        """By hand, unseen until the next start."""
        for path in sorted(self.pair.here.rglob("*.whl"))[:1]:
            path.write_bytes(wheel("a", "1.0", 9).content)
        (self.pair.here / "strange").mkdir(exist_ok=True)
        make_wheel("strange", "1.0").write_to(self.pair.here / "strange")
        self.restart()

    def lose_files(self) -> None:
        for path in sorted(self.pair.here.iterdir())[:1]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.restart()

    def lose_serials(self) -> None:
        shutil.rmtree(self.pair.state / "keep", ignore_errors=True)
        self.has_lost = True
        self.restart()

    def set_clock(self) -> None:
        self.pair.ahead = -YEAR if self.pair.ahead == 0 else 0
        self.primary.skew = -self.pair.ahead / 1e9

    @rule(kind=st.sampled_from([restart, restart, edit, lose_files, lose_serials, set_clock]))
    def befall_the_replica(self, kind: Any) -> None:
        kind(self)

    @rule(lives=st.one_of(st.none(), st.integers(0, 12)), room=st.one_of(st.none(), st.integers(0, 12)))
    def follow(self, lives: int | None, room: int | None) -> None:
        self.fate.lives, self.fate.room = lives, room
        self.watch.begin()
        try:
            self.pair.follow()
        except Killed:
            self.restart()
        self.fate.lives = self.fate.room = None
        self.pair.clock.advance(61)
        self.look_at_the_list()

    # -- What is promised

    def look_at_the_list(self) -> None:
        """Those who follow the replica."""
        listed: ChangeList = self.pair.serials.read()
        if listed.instance != self.instance or listed.highest < self.since:
            # Those who follow are told that it has begun anew (410), and compare all.
            assert listed.instance != self.instance or self.has_lost, "serials have fallen"
            if listed.instance != self.instance:
                self.serials = {}
            self.instance, self.since, self.known, self.has_lost = listed.instance, 0, {}, False
        for project, change in listed.changes.items():
            assert change.serial >= self.serials.get(project, 0), "a serial has fallen"
            self.serials[project] = change.serial
        new = {name: change for name, change in listed.changes.items() if change.serial > self.since}
        self.known |= {name: change.serial for name, change in new.items()}
        self.since = max([self.since, *self.known.values()])
        assert self.known == {name: change.serial for name, change in listed.changes.items()}, (
            "one was missed"
        )

    @rule()
    def settle(self) -> None:
        self.be_well()
        if self.pair.ahead:
            self.set_clock()
        for _attempt in range(4):
            self.watch.begin()
            fault = self.pair.settle().fault
            if "--accept" in fault:
                waiting = self.pair.kept.read().awaiting
                self.pair.kept.update(lambda kept, waiting=waiting: replace(kept, accepted=waiting))
                self.pair.clock.advance(61)
            elif "join" in fault:
                # What a person decides; here, that the replica begins anew.
                shutil.rmtree(self.pair.here)
                shutil.rmtree(self.pair.state)
                self.pair.here.mkdir()
                self.pair.state.mkdir()
                self.has_lost = True
                self.restart()
            else:
                break
        assert not fault
        assert files_of(self.pair.here) == files_of(self.there)
        assert self.pair.rounds.pending == 0
        self.look_at_the_list()
        theirs = self.primary.serials.read()
        assert self.pair.serials.instance == theirs.instance
        ours = {
            name: change.serial
            for name, change in self.pair.serials.read().changes.items()
            # What a primary never heard of that was restored with its state.
            if change.imprint != REMOVED or name in theirs.changes
        }
        assert {name: change.serial for name, change in theirs.changes.items()} == ours
        assert self.pair.rounds.reached == theirs.highest == self.pair.serials.read().highest
        self.compare_pages()

    def compare_pages(self) -> None:
        self.pair.clock.advance(5)
        servers = [IndexInMemory(source) for source in (self.primary.source, self.pair.source)]
        for project in PROJECTS:
            for headers in ({}, JSON):
                one, other = (server.get(f"/simple/{project}/", headers=headers) for server in servers)
                assert (one.status, one.body) == (other.status, other.body)
                for field in ("ETag", "X-PyPI-Last-Serial"):
                    assert one.headers.get(field) == other.headers.get(field)

    def teardown(self) -> None:
        self.pair.stop()
        shutil.rmtree(self.top)


TestReplica = Replica.TestCase
TestReplica.settings = examples(
    100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
