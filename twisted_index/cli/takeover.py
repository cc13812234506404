"""`twisted-index takeover`: make a replica the primary, or a retired primary the primary again."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater

from twisted_index.cli._options import CommandParser
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import note_in_history, replication_state, settings_of_server
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.config.parsers import server_url
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.events.serials import read_serials
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.interfaces import AuditAction
from twisted_index.replication.peer_client import PeerServers
from twisted_index.replication.primary_client import PrimaryServer
from twisted_index.replication.state_file import NAMED
from twisted_index.replication.takeover import TakeOver

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from twisted_index.config.settings import Settings
    from twisted_index.events.serials import Change
    from twisted_index.replication.takeover import Known


def run(arguments: Sequence[str]) -> int:
    """Take over; an error if another server is the primary, or is not sure to have handed over."""
    options = _parser().parse_args(arguments)
    for option, urls in (("--peer", options.peer), ("--replica-of", filter(None, [options.replica_of]))):
        for url in urls:
            _check(option, url)
    given = {"state": options.state, "config": options.config, "replica_of": options.replica_of}
    settings = settings_of_server(given)
    return run_in_reactor(lambda reactor: _take_over(reactor, options, settings))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index takeover",
        description="Make a replica the primary, in a new epoch; or a primary that has retired the primary"
        " again. Nothing is taken over while the primary answers, or a peer knows of a higher epoch.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--planned",
        action="store_true",
        help="let the primary hand over first, and wait for its last change: nothing is lost. It needs a"
        " token with the rights manage and follow",
    )
    parser.add_argument(
        "--replica-of",
        metavar="URL",
        help="the primary, with that token [default: the one that is followed]",
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="URL", help="ask this server too; repeat it for more"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long --planned waits for changes to arrive [default: 60]",
    )
    parser.add_argument("--state", metavar="DIR", help="folder of the server's state [default: per user]")
    parser.add_argument("--config", metavar="FILE", help="TOML file of the server [default: none]")
    return parser


def _check(option: str, url: str) -> None:
    try:
        server_url(url)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}.") from None


async def _take_over(reactor: Any, options: argparse.Namespace, settings: Settings) -> int:
    file, path = replication_state(settings)
    keep = os.path.dirname(path)
    if not file.exists:
        raise ConfigurationError(
            f"{settings.state} is the state of no replica; give the --state of the server that takes over."
        )
    primary = settings.replication.replica_of or file.read().primary
    worker = ThreadPool(reactor, threads=1, name="index-takeover")
    peers = PeerServers(reactor, environ=os.environ)
    server = PrimaryServer(primary, reactor, worker=worker, environ=os.environ) if primary else None
    try:
        epoch = await TakeOver(
            state=file,
            primary=primary,
            peers=[*settings.replication.peers, *options.peer],
            ask=peers.ask,
            hand_over=peers.hand_over,
            there=partial(_there, server, worker, keep),
            here=partial(worker.run, _here, keep),
            pause=lambda seconds: deferLater(reactor, seconds, lambda: None),
            patience=options.wait,
            say=partial(print, file=sys.stderr, flush=True),
        ).run(planned=options.planned)
    finally:
        await peers.close()
        if server is not None:
            await server.close()
        await worker.stop()
    print(
        f"This server is the primary now, of epoch {epoch.number}. The others follow it once they are started"
        f" with --replica-of and its URL{_but_first(primary, planned=options.planned)}."
    )
    how = ", planned" if options.planned else ""
    serial = read_serials(path).highest
    note_in_history(
        settings,
        AuditAction.TAKE_OVER,
        f"epoch {epoch.number - 1} to {epoch.number}{how}, serial {serial}",
    )
    return 0


def _but_first(primary: str, *, planned: bool) -> str:
    """Say what the former primary needs, if it may have changes that are not here."""
    if planned:
        return ""
    who = split_userinfo(primary)[0] if primary else "one that was the primary meanwhile"
    return f"; {who} first needs twisted-index join, as it may have changes that are not here"


async def _there(server: PrimaryServer | None, worker: ThreadPool, keep: str) -> Known:
    """Return what the primary has, of the indexes that this server follows: all, if it follows any."""
    assert server is not None
    follows_named = await worker.run(os.path.isdir, os.path.join(keep, NAMED))
    # One that was made there just now may not be here yet; one that is gone there is not waited for.
    names = sorted(await server.indexes()) if follows_named else ()
    feeds = {name: await server.index(name).changes() for name in ("", *names)}
    return {name: (feed.instance, _serials_in(feed.changes)) for name, feed in feeds.items()}


def _here(keep: str) -> Known:
    """Return what the running server has written; blocking."""
    files = {"": keep} | {name: os.path.join(keep, NAMED, name) for name in _named_indexes(keep)}
    lists = {name: read_serials(os.path.join(folder, "serials")) for name, folder in files.items()}
    return {name: (listed.instance, _serials_in(listed.changes)) for name, listed in lists.items()}


def _named_indexes(keep: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(keep, NAMED)))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"keep/{NAMED} in the state folder cannot be read: {error.strerror}.") from None


def _serials_in(changes: Mapping[str, Change]) -> dict[str, int]:
    return {project: change.serial for project, change in changes.items()}
