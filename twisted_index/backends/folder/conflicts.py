"""
Conflicts: what two servers that both took changes had under one name. Blocking.

One of the two keeps the name, and the other lies in `ROOT/.conflicts/`, with a line in `.conflicts/list` that
says of both what and whose they are. A person decides; whatever is settled is removed there, with its line.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes

from twisted_index.backends.layout.project_scan import printable_path
from twisted_index.files.anonymous_file import make_folder, open_folder, write_atomically
from twisted_index.files.locks import LockHeld, try_lock
from twisted_index.files.safe_open import open_regular_file
from twisted_index.interfaces import Problem
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The folder of a root, and the file of lines in it.
CONFLICTS, _LIST = b".conflicts", b"list"
#: Who has what: this server.
HERE = "here"
_MAX_LIST = 64 << 20
#: Characters of a digest that name a folder.
_SHORT = 16
_LINE = re.compile(r"(\S+) (\S+) (\S+) (\S+) (\S+) (\S+)")
#: A file, or the tombstone of one, whose digest may not be known.
_WHAT = re.compile(r"(?:deleted/)?(?:[0-9a-f]{64}|-)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConflict:
    """
    Two things of one name.

    Attributes:
        time: When one of them was set aside; aware.
        path: Of the other one, below the root. Bytes that are no UTF-8 are surrogates.
        kept: The digest of what has the name; with `deleted/` before it that of a deleted file, whose name
            stays taken.
        aside: The same of what has it no more.
        kept_from: The server that has it: its URL, or `here`.
        aside_from: The same of the other.
    """

    time: datetime
    path: str
    kept: str
    aside: str
    kept_from: str
    aside_from: str

    @property
    def place(self) -> bytes:
        """Where what was set aside lies, below the root; nothing does for a tombstone."""
        name = os.fsencode(self.path).rpartition(b"/")[2]
        return b"/".join((CONFLICTS, self.aside[:_SHORT].encode("ascii"), name))

    def is_about(self, path: str, kept: str, aside: str) -> bool:
        """Return whether it is the conflict of just these two."""
        return (self.path, self.kept, self.aside) == (path, kept, aside)


def read_conflicts(root: bytes) -> list[NameConflict]:
    """
    Read the conflicts of a root that are not settled yet.

    Raises:
        OSError: The list cannot be read.
    """
    try:
        file = open_regular_file(os.path.join(root, CONFLICTS, _LIST), follow_links=False)
    except FileNotFoundError:
        return []
    if file is None:
        return []
    with file:
        lines = file.read(_MAX_LIST).splitlines()
    return [conflict for line in lines if (conflict := _parse(line)) is not None]


def record_conflict(root: bytes, conflict: NameConflict) -> None:
    """
    Record a conflict durably, unless it is; what is set aside lies there already.

    Raises:
        LockHeld: Another one is being recorded.
        OSError: It was not recorded.
    """
    folder = os.path.join(root, CONFLICTS)
    make_folder(root, folder)
    with open_folder(folder) as descriptor:
        if not try_lock(descriptor):
            raise LockHeld
        known = read_conflicts(root)
        if any(one.is_about(conflict.path, conflict.kept, conflict.aside) for one in known):
            return
        path = os.path.join(folder, _LIST)
        before = b""
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            before = file.read()
        # Written as a whole, so that a crash leaves no half of a line.
        write_atomically(root, path, before + _format(conflict))


def problems_of_conflicts(root: bytes) -> Iterator[Problem]:
    """Report the conflicts of a root that are not settled yet."""
    shown = printable_path(os.path.join(CONFLICTS, _LIST))
    try:
        conflicts = read_conflicts(root)
    except OSError as error:
        yield Problem(path=shown, reason=f"It cannot be read: {error.strerror}.", advice="Make it readable.")
        return
    for conflict in conflicts:
        yield Problem(
            path=printable_path(os.fsencode(conflict.path)),
            reason=f"Two servers had different things under this name: that of {_of(conflict.kept_from)}"
            f" ({_say(conflict.kept)}) is here, and that of {_of(conflict.aside_from)}"
            f" ({_say(conflict.aside)}) was set aside on {conflict.time:%Y-%m-%d}.",
            advice=_advice(conflict),
        )


def _advice(conflict: NameConflict) -> str:
    last = f"then remove its line from {os.fsdecode(os.path.join(CONFLICTS, _LIST))}."
    if conflict.aside.startswith("deleted/"):
        return f"Delete the file if it is to be gone; {last}"
    place = printable_path(conflict.place)
    return f"Compare it with {place}, and upload that as another version if both are needed; {last}"


def _of(server: str) -> str:
    return "this server" if server == HERE else server


def _say(what: str) -> str:
    deleted, _slash, sha256 = what.rpartition("/")
    known = "of an unknown digest" if sha256 == "-" else f"sha256 {sha256[:_SHORT]}…"
    return f"a deleted file, {known}" if deleted else known


def _format(conflict: NameConflict) -> bytes:
    fields = (
        format_upload_time(conflict.time.replace(microsecond=0)),
        conflict.kept,
        conflict.aside,
        quote(conflict.kept_from, safe=":/"),
        quote(conflict.aside_from, safe=":/"),
        quote_from_bytes(os.fsencode(conflict.path), "/!+,@=~"),
    )
    return " ".join(fields).encode("ascii") + b"\n"


def _parse(line: bytes) -> NameConflict | None:
    match = _LINE.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        return None
    time, kept, aside, kept_from, aside_from, path = match.groups()
    when = parse_timestamp(time)
    if when is None or _WHAT.fullmatch(kept) is None or _WHAT.fullmatch(aside) is None:
        return None
    return NameConflict(
        time=when.astimezone(UTC),
        path=os.fsdecode(unquote_to_bytes(path)),
        kept=kept,
        aside=aside,
        kept_from=unquote(kept_from),
        aside_from=unquote(aside_from),
    )
