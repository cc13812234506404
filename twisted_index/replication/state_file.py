"""
A server's role in its replication, in the file `keep/replication` of its state folder. Blocking.

Commands write it while the server runs, and so does the server, which reads it before each change that it
makes. Every writer updates the current content under a lock, so that none undoes what another has just
written. Without the file a server is a primary in its first epoch.
"""

from __future__ import annotations

import contextlib
import enum
import os
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from twisted_index.errors import Unavailable
from twisted_index.files.os_errors import error_text
from twisted_index.files.private_files import (
    make_private_folder,
    open_private,
    private_lock,
    replace_private,
)
from twisted_index.replication.epoch import Epoch, parse_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Opening a FIFO must not wait for its other end.
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
#: Bytes of the file that are read.
_MAX_SIZE = 1 << 16


#: The folder, in that of the file, of what is kept of indexes with a name. It is there if they are followed.
NAMED = "indexes"
#: The refusal of a replica whose primary restricts reading while its own rights do not.
RESTRICTED = "The primary restricts who may read; give this server rights of its own (--rights, --auth)."
#: The refusal of a new replica, until its primary has responded for the first time.
UNHEARD = "This replica serves nothing before it has heard whether its primary restricts who may read."


class Role(enum.StrEnum):
    """
    The role of a server.

    Attributes:
        PRIMARY: It takes changes.
        REPLICA: It follows a primary, and relays changes to it.
        RETIRED: It was the primary, and another server is or is about to be. It takes no changes until a
            person makes it a replica of that one, or the primary again.
    """

    PRIMARY = "primary"
    REPLICA = "replica"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationState:
    """
    The content of the file.

    Attributes:
        role: The role of this server.
        epoch: The highest known epoch; None if that is the first one of this server's own serials.
        primary: The URL of the primary, without credentials; empty if it is this server, or is not known.
        restricted: Whether some of what the primary has, or had before a take-over, is not for everyone.
        awaiting: Files that a replica does not remove before a person has accepted that; 0 without any.
        accepted: Files that the next round may remove, as a person has accepted; 0 without that.
        leads: Whether the serials have begun anew with the epoch, as a primary lets them after a take-over.
        calls: How often a command has wanted that a running replica waits no longer with what failed.
    """

    role: Role = Role.PRIMARY
    epoch: Epoch | None = None
    primary: str = ""
    restricted: bool = False
    awaiting: int = 0
    accepted: int = 0
    leads: bool = False
    calls: int = 0


class StateFile:
    """
    The file. Safe in any thread.

    Args:
        state: The state folder of the server; None keeps everything in memory.
        on_written: Called with what was kept and what is, each time that this process has written it.
    """

    def __init__(
        self,
        state: str | None,
        on_written: Callable[[ReplicationState, ReplicationState], object] = lambda before, state: None,
    ) -> None:
        self._on_written = on_written
        self._path = None if state is None else os.path.join(state, "keep", "replication")
        self._in_memory = Lock()
        # One value, replaced at once: of two, threads could pair an old state with a new stamp, which would
        # then hold until the next change.
        self._known: tuple[tuple[int, ...] | None, ReplicationState] = None, ReplicationState()

    @property
    def exists(self) -> bool:
        """Whether the file is there: whether the server was ever part of a replication."""
        return self._path is not None and os.path.exists(self._path)

    def has_taken_over(self) -> bool:
        """Return whether the server was a replica and has become the primary; False if that is unreadable."""
        try:
            state = self.read()
        except Unavailable:
            return False
        return self.exists and state.role is Role.PRIMARY

    def read(self) -> ReplicationState:
        """
        Return the content, read again if the file has changed.

        Raises:
            Unavailable: It cannot be read, so it is not known whether this server may change anything.
        """
        return self._look()

    def _look(self, *, again: bool = False) -> ReplicationState:
        """Return the content; with `again`, read it even if the file looks unchanged."""
        known, state = self._known
        if self._path is None:
            return state
        try:
            stamp = _stamp(self._path)
            if again or stamp != known:
                state = ReplicationState() if stamp is None else _parse(_read(self._path))
                self._known = stamp, state
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Unavailable(f"keep/replication in the state folder cannot be used: {reason}.") from None
        return state

    def write(self, state: ReplicationState) -> None:
        """
        Replace the content, durably.

        Raises:
            Unavailable: It cannot be written.
        """
        with self._locked():
            self._replace(state)

    def update(self, change: Callable[[ReplicationState], ReplicationState]) -> ReplicationState:
        """
        Update the current content, durably; an update that changes nothing writes nothing.

        Args:
            change: Takes the content, and returns the new one. Its errors are raised.

        Returns:
            The new content.

        Raises:
            Unavailable: It cannot be read or written.
        """
        with self._locked():
            before = self._look(again=True)
            state = change(before)
            if state != before or not self.exists:
                self._replace(state)
        return state

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other threads and processes from changing it."""
        if self._path is None:
            with self._in_memory:
                yield
            return
        try:
            make_private_folder(os.path.dirname(self._path))
            with private_lock(f"{self._path}.lock"):
                yield
        except OSError as error:
            raise Unavailable(
                f"keep/replication in the state folder cannot be written: {error_text(error)}."
            ) from None

    def _replace(self, state: ReplicationState) -> None:
        if self._path is not None:
            replace_private(self._path, _format(state))
        before = self._known[1]
        self._known = None if self._path is None else _stamp(self._path), state
        self._on_written(before, state)


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: str) -> bytes:
    with (
        open_private(path, os.O_RDONLY | _NO_WAIT) as descriptor,
        open(descriptor, "rb", closefd=False) as file,
    ):
        return file.read(_MAX_SIZE)


def _format(state: ReplicationState) -> bytes:
    fields: Mapping[str, object] = {
        "role": state.role.value,
        "epoch": state.epoch or "",
        "primary": state.primary,
        "restricted": "yes" if state.restricted else "",
        "awaiting": state.awaiting or "",
        "accepted": state.accepted or "",
        "leads": "yes" if state.leads else "",
        "calls": state.calls or "",
    }
    return "".join(f"{name} {value}\n" for name, value in fields.items() if value != "").encode()


def _parse(text: bytes) -> ReplicationState:
    fields = dict(line.partition(" ")[::2] for line in text.decode().splitlines() if line)
    epoch = parse_epoch(fields["epoch"]) if "epoch" in fields else None
    if "role" not in fields or (epoch is None and "epoch" in fields):
        raise ValueError("it is damaged")
    return ReplicationState(
        role=Role(fields["role"]),
        epoch=epoch,
        primary=fields.get("primary", ""),
        restricted=fields.get("restricted") == "yes",
        awaiting=int(fields.get("awaiting", 0)),
        accepted=int(fields.get("accepted", 0)),
        leads=fields.get("leads") == "yes",
        calls=int(fields.get("calls", 0)),
    )
