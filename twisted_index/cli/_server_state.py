"""The state of the server that a subcommand works for, and the user who runs it."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.config.layers import ConfigSources, default_state
from twisted_index.errors import ConfigurationError, Conflict, Unavailable
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import AuditEvent
from twisted_index.replication.folder_mark import MARK, marked_state
from twisted_index.replication.state_file import Role, StateFile
from twisted_index.simple.formatting import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.config.settings import Settings
    from twisted_index.interfaces import AuditAction
    from twisted_index.replication.state_file import ReplicationState


def settings_of_server(given: Mapping[str, object]) -> Settings:
    """
    Load the settings of a server, whose state is there.

    Args:
        given: Options by name, as for `config.layers.load`.

    Raises:
        ConfigurationError: Also if it is unknown where the server keeps its state, or there is no such
            folder: what the subcommand writes elsewhere, the server never reads.
    """
    sources = ConfigSources(given=given, environ=os.environ, folder=os.getcwd())
    settings = sources.load()
    if not sources.names_state:
        if sources.file is not None:
            # The default is a folder of the user, and the server often runs as another one.
            raise ConfigurationError(
                f'{sources.file} does not say where its server keeps its state; write state = "DIR" in it,'
                " or give --state DIR."
            )
    elif settings.state is not None:
        _check_folder(settings.state)
    return settings


def _check_folder(state: str) -> None:
    try:
        os.stat(os.path.join(state, ""))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no state folder {state!r}; start its server, which makes it, or make it yourself."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"The state folder {state!r} cannot be used: {error.strerror}.") from None


def replication_state(settings: Settings) -> tuple[StateFile, str]:
    """
    Return what a server keeps of its part in a replication, and the path of its serials.

    Raises:
        ConfigurationError: It keeps no state.
    """
    if settings.state is None:
        raise ConfigurationError("This needs the state folder of a server; give it with --state DIR.")
    return StateFile(settings.state), os.path.join(settings.state, "keep", "serials")


def require_primary(settings: Settings | None, folders: Iterable[bytes | str] = ()) -> None:
    """
    Let only the folders of a primary be changed.

    Args:
        settings: Of the server, if the subcommand works for one.
        folders: What is to be changed. A server that is no primary has marked its own.

    Raises:
        Conflict: The server of one is no primary, so that the change would be undone, or lost.
        Unavailable: It is not known what it is.
    """
    # The default state may be that of a server with other folders, which it has marked.
    if settings is not None and settings.state not in (None, default_state(os.environ)):
        _require_primary("This server", StateFile(settings.state).read())
    for folder in folders:
        path = os.path.abspath(os.fsencode(folder))
        state = marked_state(path)
        if state is None:
            continue
        try:
            kept = StateFile(state).read()
        except Unavailable as error:
            mark = printable(os.fsdecode(os.path.join(path, MARK)))
            raise Unavailable(
                f"By {mark}, the server with the state {printable(state)} may follow another one:"
                f" {error.message} Run this as the user of that server."
            ) from None
        _require_primary(f"The server of {printable(os.fsdecode(path))}", kept)


def _require_primary(server: str, kept: ReplicationState) -> None:
    there = f"the primary, {kept.primary}," if kept.primary else "the server that is the primary now,"
    if kept.role is Role.REPLICA:
        raise Conflict(
            f"{server} is a replica, which would undo this: do it at {there} over HTTP or by this command."
        )
    if kept.role is Role.RETIRED:
        raise Conflict(
            f"{server} is a retired primary, so that this would be lost: do it at {there} over HTTP or by"
            " this command."
        )


def note_in_history(settings: Settings, action: AuditAction, detail: str) -> None:
    """
    Record what the user of the console did for a server, in its audit log.

    Raises:
        InsufficientStorage, Unavailable: It cannot be kept.
    """
    event = AuditEvent(time=datetime.now(UTC), by=console_user(), action=action, detail=detail)
    AuditFile(settings.state).append(event)


def console_user() -> str:
    """Return the user for the audit log."""
    try:
        user = getpass.getuser()
    # The user id has no name, as in many containers (KeyError before Python 3.13), or there are no ids.
    except (KeyError, OSError, ImportError):
        user = "unknown"
    return f"{user} (console)"
