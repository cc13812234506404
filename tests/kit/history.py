"""A folder with a past: changed through the shipped store at times that a test sets."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from tests.kit.at_once import answer
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.dated import AtTime, DatedFolder, FolderPast
from twisted_index.backends.folder.history import FolderHistory
from twisted_index.backends.folder.promotion import Promotion, carry_out
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.errors import SimpleIndexError
from twisted_index.events.audit_log import AuditLog
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import Upload
from twisted_index.simple.html_writer import write_html_page
from twisted_index.simple.json_writer import write_json_page
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import BuiltFile, SynchronousRunner

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
DAY = 86_400.0


@dataclass
class Past:
    """A root, the store that changes it, and what it was at any moment."""

    path: Path
    keep_deleted: float = 90 * DAY
    now: datetime = BEGIN
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.path.mkdir(exist_ok=True)
        at_once = SynchronousRunner()
        self.source = FolderSource(
            self.path,
            reactor=self.clock,
            reader=at_once,
            cache_thread=at_once,
            # All that a test does is long ago, and no change is racy.
            validator=StatValidator(monotonic=self.clock.seconds, wall=lambda: time.time() + 10),
        )
        blocking = BlockingStore(self.source.paths, keep_deleted=self.keep_deleted, now=lambda: self.now)
        self.store = FolderStore(
            self.source,
            worker=at_once,
            audit_log=AuditLog(None, at_once),
            blocking_store=blocking,
            reactor=self.clock,
        )
        self.history = FolderHistory(
            self.source, keep_deleted=self.keep_deleted, now=lambda: self.now.timestamp()
        )
        self.past = FolderPast(self.history)

    def close(self) -> None:
        answer(self.source.stop)

    def pass_time(self, seconds: float = 2.0) -> None:
        """Move the clock of the history; what was looked at has to be looked at again."""
        self.now += timedelta(seconds=seconds)
        self.clock.advance(5)

    # -- Changes, each at a time of its own

    def publish(self, made: BuiltFile) -> bool:
        spool = answer(self.store.spool)
        answer(spool.write, made.content)
        return bool(self._change(self.store.publish, Upload(spool=spool, filename=made.filename)))

    def promote(self, *made: BuiltFile) -> None:
        """Promote the release of some files from another folder."""
        staging = self.path.parent / "staging"
        for file in made:
            file.write_to(staging / file.project)
        request = PromotionRequest(
            source=IndexFolders(name="staging", roots=(os.fsencode(staging),)),
            target=IndexFolders(name="", roots=(os.fsencode(self.path),)),
            releases=(f"{made[0].project}=={made[0].version}",),
            by="alice",
        )
        self._change(carry_out, Promotion(request))

    def do(self, action: str, *args: Any, **options: Any) -> Any:
        return self._change(getattr(self.store, action), *args, by="alice", **options)

    def _change(self, change: Any, *args: Any, **options: Any) -> Any:
        """Make a change, date all that it wrote, and let time pass."""
        before = self._entries()
        try:
            return answer(change, *args, **options)
        except SimpleIndexError:
            return None
        finally:
            stamp = int(self.now.timestamp()) * 10**9
            for path, _inode in self._entries() - before:
                os.utime(path, ns=(stamp, stamp))
            self.pass_time()

    def _entries(self) -> set[tuple[Path, int]]:
        """Paths and inodes outside of what is kept: a mark that is replaced is another one."""
        kept = self.path / ".deleted"
        files = (path for path in self.path.rglob("*") if path.is_file() and kept not in path.parents)
        return {(path, path.stat().st_ino) for path in files}

    # -- Looking

    def page(self, project: str = "demo") -> ProjectPage | None:
        return answer(self.source.project_page, project).value

    def names(self) -> tuple[str, ...]:
        return answer(self.source.project_list).value.names

    def at(self, moment: datetime) -> DatedFolder:
        return DatedFolder(self.past, AtTime(moment, ""))

    def page_at(self, moment: datetime, project: str = "demo") -> ProjectPage | None:
        return answer(self.at(moment).project_page, project).value

    def names_at(self, moment: datetime) -> tuple[str, ...]:
        return answer(self.at(moment).project_list).value.names

    def read_at(self, moment: datetime, filename: str, sidecar: Any = None) -> bytes | None:
        body = answer(self.at(moment).open_file, filename.split("-")[0], filename, sidecar)
        if body is None or isinstance(body.content, bytes):
            return None if body is None else body.content
        with body.content as file:
            return bytes(file.read())


def rendered(page: ProjectPage | None) -> tuple[bytes, bytes] | None:
    """The bytes of a page, with each file linked beside it."""
    if page is None:
        return None
    plain = replace(page, files=tuple(replace(file, owner=None) for file in page.files))
    return write_json_page(plain), write_html_page(plain)
