"""
`twisted-index prefetch`: let an index fetch from its upstream what will be needed, before it is.

Through a server that runs (`--index-url`), or, without one, through an index of the same
configuration that runs on this machine alone for as long as it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from twisted_index import configuration
from twisted_index.commands._fetching import Told, amount, fetch_all
from twisted_index.commands._resolving import Index, all_files, resolve
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.service import SimpleIndexService
from twisted_index.settings import Guarding, Publishing
from twisted_index.values import remote_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted_index.commands._resolving import Release, Wanted
    from twisted_index.settings import Settings

#: More than that at once is hard on an upstream, and no faster.
_MOST_JOBS = 16
_LOOPBACK = "tcp:0:interface=127.0.0.1"


class _Parser(argparse.ArgumentParser):
    """Tells a mistake as all commands do."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message[:1].upper()}{message[1:].rstrip('.')}.")


def run(arguments: Sequence[str]) -> int:
    """Resolve requirements as pip would, and fetch what they need; 1 if anything did not come."""
    options = _parser().parse_args(arguments)
    if not options.requirements and not options.requirement:
        raise ConfigurationError("There is nothing to fetch; name requirements, or a file of them with -r.")
    if not 1 <= options.jobs <= _MOST_JOBS:
        raise ConfigurationError(f"--jobs goes from 1 to {_MOST_JOBS}.")
    if options.index_url is not None:
        return _prefetch(Index(_index_url(options.index_url)), options)
    return _beside_an_index(_own_settings(options.config), lambda url: _prefetch(Index(url), options))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="twisted-index prefetch",
        description="Fetch into the cache of an index what requirements need, as pip resolves them here.",
        allow_abbrev=False,
    )
    parser.add_argument("requirements", nargs="*", metavar="REQUIREMENT", help="as pip takes them")
    parser.add_argument(
        "-r", "--requirement", action="append", default=[], metavar="FILE", help="of requirements"
    )
    parser.add_argument(
        "--index-url",
        metavar="URL",
        help="of the simple API of a running server; without it, an index of the configuration is run",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="configuration of that index, besides TWISTED_INDEX_..."
    )
    parser.add_argument(
        "--all-files", action="store_true", help="every file of each version, for all platforms"
    )
    parser.add_argument(
        "--jobs", type=int, default=4, metavar="N", help="how many files at once [default: 4]"
    )
    return parser


def _index_url(raw: str) -> str:
    try:
        return remote_url(raw)
    except ValueError as error:
        raise ConfigurationError(f"--index-url: {error}.") from None


def _prefetch(index: Index, options: argparse.Namespace) -> int:
    """Resolve and fetch, blocking."""
    releases = resolve(index, options.requirements, options.requirement)
    wanted, unread = _wanted(index, releases, options.all_files)
    told = Told(len(wanted))
    failures, received = fetch_all(index, wanted, options.jobs, told)
    for sentence in unread:
        told.note(sentence)
    failures += len(unread)
    print(
        f"{len(wanted)} files of {len(releases)} projects, {amount(received)}; {failures or 'no'} failures."
    )
    return 1 if failures else 0


def _wanted(index: Index, releases: Sequence[Release], every: bool) -> tuple[list[Wanted], list[str]]:
    """Say which files are to be fetched, each once, and which pages could not be read."""
    wanted, unread = {}, []
    for release in releases:
        wanted[release.file.url] = release.file
        if not every or not index.has(release.file.url):
            continue
        try:
            wanted |= {file.url: file for file in all_files(index, release)}
        except OSError as error:
            unread.append(f"The page of {release.project} cannot be had: {' '.join(str(error).split())}.")
        except Unavailable as error:
            unread.append(error.sentence)
    return list(wanted.values()), unread


# -- An index of the same configuration, for the time


def _own_settings(config: str | None) -> Settings:
    """Read the configuration, for an index that only this process reaches."""
    settings = configuration.load({"config": config}, environ=os.environ, folder=os.getcwd())
    upstreams = settings.upstreams
    if not upstreams.urls and not any(rule.upstream for rule in upstreams.routes):
        raise ConfigurationError(
            "There is no upstream to fetch from; set one, or name a server by --index-url."
        )
    if upstreams.offline:
        raise ConfigurationError("The configuration says offline, so that nothing can be fetched.")
    if upstreams.mode != "cache":
        raise ConfigurationError(f"There is no cache to fill with upstream-mode {upstreams.mode}.")
    return replace(settings, listen=(_LOOPBACK,), logfile=None, guarding=Guarding(), publishing=Publishing())


def _beside_an_index(settings: Settings, work: Callable[[str], int]) -> int:
    """Run an index on this machine while something is done in a thread."""
    from twisted.internet.defer import maybeDeferred
    from twisted.internet.task import react
    from twisted.internet.threads import deferToThread

    outcome: list[int | BaseException] = []

    async def main(_reactor: Any) -> None:
        service = SimpleIndexService(settings)
        try:
            service.startService()
            port = service.addresses[0].port  # type: ignore[attr-defined]
            outcome.append(await deferToThread(work, f"http://127.0.0.1:{port}/simple/"))
        except BaseException as error:
            outcome.append(error)
        finally:
            await maybeDeferred(service.stopService)

    with contextlib.suppress(SystemExit):  # react ends a program; this one goes on
        react(main)
    if not outcome:
        return 1
    if isinstance(outcome[0], OSError):
        raise Unavailable(f"Cannot start: {' '.join(str(outcome[0]).split())}.") from outcome[0]
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
