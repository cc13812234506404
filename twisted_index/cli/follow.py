"""`twisted-index follow`: say what a server is among its replicas, and accept removals that wait for that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted_index.cli._options import CommandParser
from twisted_index.cli._progress import number
from twisted_index.cli._server_state import note_in_history, replication_state, settings_of_server
from twisted_index.errors import Conflict
from twisted_index.events.serials import read_serials
from twisted_index.interfaces import AuditAction
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.state_file import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.events.serials import ChangeList
    from twisted_index.replication.state_file import ReplicationState, StateFile


def run(arguments: Sequence[str]) -> int:
    """Print what a server is; 1 if there is nothing to accept."""
    options = _parser().parse_args(arguments)
    settings = settings_of_server({"state": options.state, "config": options.config})
    file, serials = replication_state(settings)
    state = file.read()
    if options.accept:
        print(_accept(file, state))
        epoch = "" if state.epoch is None else f", epoch {state.epoch.number}"
        note_in_history(settings, AuditAction.ACCEPT, f"{number(state.awaiting, 'file')}{epoch}")
        return 0
    for line in _lines(state, read_serials(serials)):
        print(line)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index follow",
        description="Say what a server is among its replicas: its role, epoch, primary and highest serial.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="let a replica remove the files that it keeps because they are suspiciously many",
    )
    parser.add_argument("--state", metavar="DIR", help="folder of the server's state [default: per user]")
    parser.add_argument("--config", metavar="FILE", help="TOML file of the server [default: none]")
    return parser


def _lines(state: ReplicationState, serials: ChangeList) -> Iterator[str]:
    epoch = state.epoch or (None if state.role is Role.REPLICA else Epoch(1, serials.instance))
    yield f"role: {state.role}"
    yield f"epoch: {epoch or 'none yet'}"
    yield f"primary: {state.primary or ('this server' if state.role is Role.PRIMARY else 'not known')}"
    yield f"serial: {serials.highest}"
    if state.restricted:
        # A new replica is closed until it has heard who may read, as it has with its first epoch.
        heard = state.epoch is not None or state.role is not Role.REPLICA
        yield f"restricted: {'yes' if heard else 'not known yet'}"
    if state.awaiting:
        yield f"awaiting: {number(state.awaiting, 'file')} to be removed, by twisted-index follow --accept"
    if state.accepted:
        yield f"accepted: {number(state.accepted, 'file')}"


def _accept(file: StateFile, state: ReplicationState) -> str:
    if state.role is not Role.REPLICA:
        raise Conflict(f"This server is a {state.role}, and removes nothing for the sake of another.")
    if not state.awaiting:
        raise Conflict("No removal waits to be accepted: see what /-/health of the replica says.")
    file.update(lambda now: replace(now, accepted=state.awaiting, calls=now.calls + 1))
    return (
        f"The replica may remove {number(state.awaiting, 'file')}, which it does within seconds if it runs."
    )
