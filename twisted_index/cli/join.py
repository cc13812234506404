"""`twisted-index join`: merge what two servers have that both took changes."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted_index.cli._options import CommandParser, require_folders
from twisted_index.cli._progress import number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import note_in_history, replication_state, settings_of_server
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.config.parsers import server_url
from twisted_index.errors import ConfigurationError
from twisted_index.events.serials import read_serials
from twisted_index.files.anonymous_file import sweep
from twisted_index.files.ownership import make_folders
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.interfaces import AuditAction
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.folder_mark import mark_folder
from twisted_index.replication.join import Join, JoinReport, call_replica, do_they_win, stand_back
from twisted_index.replication.join_folder import JoinFolder
from twisted_index.replication.peer_client import PeerServers
from twisted_index.replication.primary_client import PrimaryServer
from twisted_index.replication.state_file import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from twisted_index.config.settings import Settings
    from twisted_index.replication.peers import PeerAnswer

#: Threads that hash, write and compare.
_THREADS = 8
#: Paths that are named of those that the other server lacks.
_NAMED = 5


def run(arguments: Sequence[str]) -> int:
    """Join; 1 if a project was not joined, a conflict is not settled, or the other server lacks some."""
    options = _parser().parse_args(arguments)
    try:
        url = server_url(options.url)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from None
    given = {name: getattr(options, name) for name in ("state", "config", "path", "indexes")}
    settings = settings_of_server({name: value for name, value in given.items() if value})
    require_folders(settings.bucket or settings.bucket_of_indexes)
    if len(settings.paths) != 1:
        raise ConfigurationError("A join works on one folder; give it with --path.")
    return run_in_reactor(lambda reactor: _join(reactor, url, settings))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index join",
        description="Take what the server at URL has and this one lacks, with the marks and deletions of"
        " both. Where a name has two contents, those of the server with the higher epoch stay, and the others"
        " go to .conflicts/. Run it on both servers, first on that with the higher epoch; then the other may"
        " follow.",
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="the other server, with a token that may follow and read")
    parser.add_argument("--path", action="append", metavar="DIR", help="folder of this server's packages")
    parser.add_argument("--indexes", metavar="DIR", help="folder of this server's indexes, if it has any")
    parser.add_argument("--state", metavar="DIR", help="folder of this server's state [default: per user]")
    parser.add_argument("--config", metavar="FILE", help="TOML file of this server [default: none]")
    return parser


async def _join(reactor: Any, url: str, settings: Settings) -> int:
    file, serials = replication_state(settings)
    clean = split_userinfo(url)[0]
    for path in filter(None, (*settings.paths, settings.indexes)):
        if not os.path.isdir(path):
            raise ConfigurationError(f"There is no folder {path!r}.")
    worker = ThreadPool(reactor, threads=_THREADS, name="index-join")
    peers = PeerServers(reactor, environ=os.environ)
    server = PrimaryServer(url, reactor, worker=worker, environ=os.environ)
    try:
        theirs, ours = await peers.ask(url), file.read()
        counted = read_serials(serials).instance
        they_win = do_they_win(ours, Epoch(1, counted) if counted else None, theirs)
        if they_win:
            # First, so that no change comes that would be lost when this server follows.
            stand_back(file, theirs, clean)
        there = ("", *(await server.indexes() if settings.indexes is not None else ()))
        report = JoinReport()
        for name, root in (await worker.run(_folders, settings, there)).items():
            if they_win:
                await worker.run(partial(mark_folder, root, settings.state or "", is_primary=False))
            await worker.run(sweep, root)
            folder = JoinFolder(
                root,
                they_win=they_win,
                server=clean,
                now=lambda: datetime.now(UTC),
                keep_deleted=settings.uploads.keep_deleted,
            )
            prefix = f"+{name}/" if name else ""
            if name in there:
                joining = Join(folder, server.index(name), worker, partial(_say, prefix))
                await joining.run()
                report.add(joining.report, prefix)
            elif await worker.run(folder.projects):
                report.only_here.append(f"all of {prefix}")
        call_replica(file)
    finally:
        await server.close()
        await peers.close()
        await worker.stop()
    code = _print_report(report, they_win, theirs, clean, was_replica=ours.role is Role.REPLICA)
    done = _summary(report, clean, ours.epoch, file.read().epoch)
    note_in_history(settings, AuditAction.JOIN, done)
    return code


def _summary(report: JoinReport, url: str, before: Epoch | None, after: Epoch | None) -> str:
    """Say for the audit log what a join did."""
    first, last = (1 if epoch is None else epoch.number for epoch in (before, after))
    epochs = f"epoch {first}" if first == last else f"epoch {first} to {last}"
    return (
        f"{url}, {epochs}: {number(len(report.taken), 'file')} taken, {len(report.removed)} removed,"
        f" {number(report.conflicts, 'conflict')}, {number(len(report.failures), 'project')} not joined"
    )


def _folders(settings: Settings, there: Iterable[str]) -> Mapping[str, bytes]:
    """Return the folder of each index, here and there, by its name; those that are not here are made."""
    plain = os.path.realpath(os.fsencode(settings.paths[0]))
    folders = {"": plain}
    if settings.indexes is not None:
        catalog = IndexCatalog(settings.indexes)
        for name in sorted({*catalog.names(), *there} - {""}):
            path = os.path.join(settings.indexes, name)
            make_folders(path)
            folders[name] = os.path.realpath(os.fsencode(path))
    # One of them may be the index without a name, too.
    return {name: root for name, root in folders.items() if not name or root != plain}


def _say(prefix: str, line: str) -> None:
    sign, _space, rest = line.partition(" ")
    print(f"{sign} {prefix}{rest}", flush=True)


def _print_report(
    report: JoinReport, they_win: bool, theirs: PeerAnswer, url: str, *, was_replica: bool
) -> int:
    for sentence in _complaints(report, they_win, url):
        print(f"twisted-index: {sentence}", file=sys.stderr)
    print(f"Took {number(len(report.taken), 'file')}, removed {len(report.removed)}.")
    if they_win and not report.failures:
        print(_what_next(theirs, url, was_replica=was_replica))
    elif not they_win and theirs.role is Role.PRIMARY:
        print(
            f"{url} still takes changes, although its epoch has ended: run twisted-index join there too, with"
            " the URL of this server; if it then says that this one lacks some, run it here once more."
        )
    lacks = they_win and report.only_here
    return 1 if report.failures or report.conflicts or lacks else 0


def _complaints(report: JoinReport, they_win: bool, url: str) -> Iterator[str]:
    for project, reason in sorted(report.failures.items()):
        yield f"{project} was not joined: {reason}"
    if report.conflicts:
        yield (
            f"{number(report.conflicts, 'conflict')} to settle: see .conflicts/list in each folder, or"
            " /-/problems of this server."
        )
    if they_win and report.only_here:
        more = len(report.only_here) - _NAMED
        names = ", ".join(sorted(report.only_here)[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield (
            f"{url} lacks what is here: {names}. Run twisted-index join there, with the URL of this server,"
            " and then here again, before this one follows."
        )


def _what_next(theirs: PeerAnswer, url: str, *, was_replica: bool) -> str:
    if was_replica:
        return (
            f"This server is a replica, as it was. If it runs and follows {url}, it goes on within seconds."
        )
    if theirs.role is Role.PRIMARY:
        return f"This server takes no more changes. (Re)start it with --replica-of, and it follows {url}"
    return (
        "This server takes no changes any more, and neither does the other one: run twisted-index takeover on"
        " one of them."
    )
