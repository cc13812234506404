"""A round makes the folder of a replica equal to that of its primary, and shows nothing wrong meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.followed_folder import FollowedFolder, source_of
from twisted_index.backends.folder.source import FolderSource
from twisted_index.events.serials import Serials
from twisted_index.replication.replica_folder import ReplicaFolder
from twisted_index.replication.rounds import RoundResult, Rounds
from twisted_index.replication.state_file import StateFile
from twisted_index.testing import make_sdist, make_wheel

ONE, TWO, THREE = (make_wheel("demo", f"{number}.0") for number in (1, 2, 3))
OTHER = make_wheel("other", "1.0")


class Pair:
    """A primary, and a replica beside it."""

    def __init__(self, top: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.there, self.here, self.state = top / "primary", top / "replica", top / "state"
        for folder in (self.there, self.here, self.state):
            folder.mkdir()
        self.primary = FollowedFolder(self.there, self.clock)
        self.sources: list[FolderSource] = []
        self.start()

    def start(self) -> None:
        """Start the replica anew."""
        self.serials = Serials(str(self.state / "keep" / "serials"))
        self.serials.follow()
        self.source = source_of(self.here, self.serials, self.clock)
        self.sources.append(self.source)
        self.folder = ReplicaFolder(os.fsencode(self.here), str(self.state / "removed"))
        self.kept = StateFile(str(self.state))
        self.rounds = Rounds(
            self.primary,
            self.folder,
            self.serials,
            self.kept,
            runner=AtOnce(),
            clock=self.clock,
            adopted=self.source.drop_outdated,
        )

    def follow(self) -> RoundResult:
        """One round."""
        since = self.rounds.since
        instance = None if since is None else self.rounds.instance
        feed = answer(self.primary.changes, since=since, instance=instance)
        result: RoundResult = answer(self.rounds.run, feed, is_all=since is None)
        return result

    def is_equal(self) -> bool:
        return files_of(self.here) == files_of(self.there)

    def files(self, project: str = "demo") -> list[str]:
        page = answer(self.source.project_page, project).value
        return [] if page is None else [file.filename for file in page.files]


def files_of(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    for source in (*pair.sources, pair.primary.source):
        answer(source.stop)


def test_an_empty_replica_takes_all_there_is(pair: Pair):
    ONE.write_to(pair.there / "demo")
    TWO.write_to(pair.there / "demo")
    OTHER.write_to(pair.there / "Other")
    (pair.there / "demo" / f"{ONE.filename}.yanked").write_text("broken")
    make_sdist("flat", "1.0").write_to(pair.there)
    result = pair.follow()
    assert (result.applied, result.fault) == (3, "")
    assert pair.is_equal()
    assert pair.serials.read().instance == pair.primary.serials.instance
    numbers = [
        {name: change.serial for name, change in serials.read().changes.items()}
        for serials in (pair.serials, pair.primary.serials)
    ]
    assert numbers[0] == numbers[1]
