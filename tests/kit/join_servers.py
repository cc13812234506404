"""Servers that are joined: folders with what a server says of them, and without a server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from twisted_index.backends.folder.entry_files import KnownDigest, digest_found, read_entries
from twisted_index.backends.folder.inventory import InventoryReader
from twisted_index.events.serials import Change
from twisted_index.files.stamps import StatValidator
from twisted_index.files.steps import RunStep, run_step
from twisted_index.replication.join import Join
from twisted_index.replication.join_folder import JoinFolder
from twisted_index.replication.primary import Feed
from twisted_index.simple.entry_listing import EntryListing
from twisted_index.testing import SynchronousRunner

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class FolderPrimary:
    """What a server says of its folder; provides `IPrimary`."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)

    async def changes(self, *, since: Any = None, instance: Any = None, wait: float = 0.0) -> Feed:
        projects = InventoryReader((self.root,)).projects()
        changes = {project: Change(number, "0" * 32) for number, project in enumerate(projects, 1)}
        return Feed(instance="0" * 32, highest=len(changes), changes=changes)

    async def entries(self, project: str, *, inline: int = 0) -> Any:
        part = InventoryReader((self.root,)).read(project).parts.get(self.root)
        if part is None:
            return None
        reading = read_entries(
            project,
            self.root,
            part,
            lambda found: KnownDigest(digest_found(found), True),
            StatValidator(trusts_times=True),
            inline,
        )
        small = [entry for entry in reading.entries if entry.size <= inline]
        contents = {entry.path: data for entry, data in zip(small, reading.contents, strict=False)}
        return EntryListing(1, "0" * 32, reading.entries), contents

    async def read(self, project: str, entry: Any, write: Any) -> None:
        with open(os.path.join(self.root, os.fsencode(entry.path)), "rb") as file:
            while data := file.read(1000):
                write(data)


def done(work: Any) -> Any:
    """Give the result of a coroutine that waits for nothing."""
    outcome: list[Any] = []
    ensureDeferred(work).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def join(
    here: Path, other: Any, *, they_win: bool, step: RunStep = run_step, **more: Any
) -> tuple[Any, list[str]]:
    """Join a folder with another, or with what a server says; give the report, and what was said."""
    said: list[str] = []
    folder = JoinFolder(
        os.fsencode(here), they_win=they_win, server="https://other/", now=lambda: NOW, step=step, **more
    )
    primary = FolderPrimary(other) if isinstance(other, Path) else other
    joining = Join(folder, primary, SynchronousRunner(), said.append)
    done(joining.run())
    return joining.report, said


def tree(root: Path) -> dict[str, bytes]:
    """Give the contents of all files in a folder, without what was set aside, by path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".conflicts" not in path.parts
    }
