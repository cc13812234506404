"""
`twisted-index prefetch`: let an index fetch files from its upstream before they are needed.

Through a running server (`--index-url`), or, without one, through an index of the same configuration
that runs on the loopback interface meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThreadPool

from twisted_index.cli._download import download_all
from twisted_index.cli._options import CommandParser
from twisted_index.cli._pip_resolver import IndexClient, all_files, resolve
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.config import layers
from twisted_index.config.parsers import remote_url
from twisted_index.config.settings import AccessSettings, UploadSettings
from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.server.upstreams import cache_folder
from twisted_index.service import SimpleIndexService

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from twisted_index.cli._pip_resolver import DownloadItem, ResolvedRelease
    from twisted_index.config.settings import Settings

#: More parallel downloads burden an upstream, and are not faster.
_MAX_JOBS = 16
_LOOPBACK = "tcp:0:interface=127.0.0.1"


def run(arguments: Sequence[str]) -> int:
    """Resolve requirements like pip, and fetch their files; 1 if a download failed."""
    options = _parser().parse_args(arguments)
    if not options.requirements and not options.requirement:
        raise ConfigurationError("There is nothing to fetch; give requirements, or a file of them with -r.")
    if not 1 <= options.jobs <= _MAX_JOBS:
        raise ConfigurationError(f"--jobs must be from 1 to {_MAX_JOBS}.")
    own = {name: getattr(options, name) for name in ("config", "upstream", "state")}
    if options.index_url is not None:
        if any(own.values()):
            raise ConfigurationError(
                "--index-url names a running server, which has its own settings; leave out"
                f" {' and '.join(f'--{name}' for name, value in own.items() if value)}."
            )
        url = _index_url(options.index_url)
        return run_in_reactor(lambda reactor: _prefetch(url, options, reactor))
    settings = _own_settings(own)
    return run_in_reactor(lambda reactor: _prefetch_with_own_index(settings, options, reactor))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="twisted-index prefetch",
        description="Fetch into the cache of an index what requirements need, as pip resolves them here.",
        allow_abbrev=False,
    )
    parser.add_argument("requirements", nargs="*", metavar="REQUIREMENT", help="as for pip")
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
        "--upstream",
        action="append",
        metavar="URL",
        help="index to fetch from, or pip for pip's; repeat it for more",
    )
    parser.add_argument(
        "--state", metavar="DIR", help="state folder of the server, in which its cache is filled"
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
        url = remote_url(raw)
    except ValueError as error:
        raise ConfigurationError(f"--index-url: {error}.") from None
    if "?" in url:
        raise ConfigurationError("--index-url: the URL of a simple API has no query.")
    return url


async def _prefetch(url: str, options: argparse.Namespace, reactor: Any) -> int:
    """Resolve requirements through an index, and fetch their files."""
    index, words = IndexClient(url, reactor), (options.requirements, options.requirement)
    releases = await deferToThreadPool(reactor, reactor.getThreadPool(), resolve, index, *words)
    try:
        files, unread = await _files_to_fetch(index, releases, options.all_files)
        with Progress() as progress:
            failures, received = await download_all(index, files, options.jobs, progress)
            for sentence in unread:
                progress.say(sentence)
    finally:
        await index.close()
    failures += len(unread)
    print(
        f"{number(len(files), 'file')} of {number(len(releases), 'project')}, {format_size(received)};"
        f" {failures or 'no'} failures."
    )
    return 1 if failures else 0


async def _files_to_fetch(
    index: IndexClient, releases: Sequence[ResolvedRelease], every: bool
) -> tuple[list[DownloadItem], list[str]]:
    """Return the files to fetch, each once, and messages about pages that could not be read."""
    files, unread = {}, []
    for release in releases:
        files[release.file.url] = release.file
        if not every or not index.serves(release.file.url):
            continue
        try:
            files |= {file.url: file for file in await all_files(index, release)}
        except SimpleIndexError as error:
            unread.append(f"The page of {release.project} cannot be fetched: {error.message}")
    return list(files.values()), unread


# -- A temporary index of the same configuration


def _own_settings(given: Mapping[str, object]) -> Settings:
    """Read the configuration, for an index on the loopback interface without users and uploads."""
    settings = layers.load(given, environ=os.environ, folder=os.getcwd())
    upstreams = settings.upstreams
    if not upstreams.urls and not any(rule.upstream for rule in upstreams.routes):
        raise ConfigurationError(
            "There is no upstream to fetch from; give one with --upstream, or a server with --index-url."
        )
    if upstreams.offline:
        raise ConfigurationError("The configuration sets offline, so nothing can be fetched.")
    if upstreams.mode != "cache":
        raise ConfigurationError(f"There is no cache to fill with upstream-mode {upstreams.mode}.")
    if cache_folder(settings) is None:
        raise ConfigurationError("There is no folder for the cache; give one with --state.")
    return replace(
        settings, listen=(_LOOPBACK,), access_log=None, access=AccessSettings(), uploads=UploadSettings()
    )


async def _prefetch_with_own_index(settings: Settings, options: argparse.Namespace, reactor: Any) -> int:
    """Prefetch through an index that runs in this process meanwhile."""
    service = SimpleIndexService(settings, reactor=reactor)
    try:
        try:
            service.startService()
        except OSError as error:
            raise Unavailable(f"Cannot start: {' '.join(str(error).split())}.") from error
        port = service.addresses[0].port  # type: ignore[attr-defined]
        return await _prefetch(f"http://127.0.0.1:{port}/simple/", options, reactor)
    finally:
        await maybeDeferred(service.stopService)
