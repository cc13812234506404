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

from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.cli._arguments import RequirementsParser, check_jobs, index_url
from twisted_index.cli._download import PATIENCE, DownloadItem, download_all
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._resolution import Resolution
from twisted_index.concurrency.parallel import at_once
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.config import layers
from twisted_index.config.settings import AccessSettings, UploadSettings
from twisted_index.errors import ConfigurationError, SimpleIndexError, Unavailable
from twisted_index.mirror.source_index import SourceIndex
from twisted_index.resolution.pinned_files import choose_files
from twisted_index.resolution.uv import IndexAccess
from twisted_index.server.upstreams import cache_folder
from twisted_index.service import SimpleIndexService
from twisted_index.simple.names import version_sort_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
    from twisted_index.config.settings import Settings
    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.targets import Target
    from twisted_index.simple.model import File

_LOOPBACK = "tcp:0:interface=127.0.0.1"
#: Pages that are read at once.
_PAGES = 8


def run(arguments: Sequence[str]) -> int:
    """Resolve requirements, and fetch their files; 1 if a download failed."""
    options = _parser().parse_args(arguments)
    check_jobs(options.jobs)
    resolution = Resolution(options, "fetch")
    own = {name: getattr(options, name) for name in ("config", "upstream", "state")}
    if options.index_url is not None:
        if any(own.values()):
            raise ConfigurationError(
                "--index-url names a running server, which has its own settings; leave out"
                f" {' and '.join(f'--{name}' for name, value in own.items() if value)}."
            )
        url = index_url(options.index_url)
        return run_in_reactor(lambda reactor: _prefetch(url, options, resolution, reactor))
    settings = _own_settings(own)
    return run_in_reactor(lambda reactor: _prefetch_with_own_index(settings, options, resolution, reactor))


def _parser() -> RequirementsParser:
    parser = RequirementsParser(
        prog="twisted-index prefetch",
        description="Fetch into the cache of an index what requirements need, for one or several Pythons and"
        " platforms.",
        allow_abbrev=False,
    )
    parser.add_requirements()
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
    parser.add_progress()
    return parser


async def _prefetch(url: str, options: argparse.Namespace, resolution: Resolution, reactor: Any) -> int:
    """Resolve requirements through an index, and fetch their files."""
    worker = ThreadPool(reactor, name="index-prefetch")
    remote = HTTPUpstream(
        url.rstrip("/") + "/",
        reactor,
        worker=worker,
        environ=os.environ,
        instance="prefetch",
        limits=PATIENCE,
    )
    index = SourceIndex([remote], None, worker)
    try:
        with Progress(quiet=options.quiet) as progress:
            resolution.say_remarks()
            pins = await resolution.resolve(IndexAccess(urls=(url,)), worker)
            files, failures = await _files_to_fetch(index, pins, resolution, options.all_files)
            for name, sentence in failures:
                progress.failed(name, sentence)
            failed, received = await download_all(
                index, files, jobs=options.jobs, progress=progress, reactor=reactor
            )
    finally:
        await remote.stop()
        await worker.stop()
    failed += len(failures)
    projects = {pin.project for pin in pins}
    print(
        f"{number(len(files), 'file')} of {number(len(projects), 'project')}, {format_size(received)};"
        f" {failed or 'no'} failures."
    )
    return 1 if failed or resolution.left_out else 0


async def _files_to_fetch(
    index: SourceIndex, pins: Mapping[Pin, tuple[Target, ...]], resolution: Resolution, every: bool
) -> tuple[list[DownloadItem], list[tuple[str, str]]]:
    """Return the files to fetch, each once, and names and sentences of what cannot be had."""
    files: dict[str, DownloadItem] = {}
    failures: list[tuple[str, str]] = []

    async def work(pin: Pin) -> None:
        try:
            page = await index.page(pin.project)
        except SimpleIndexError as error:
            failures.append((pin.project, f"Its page cannot be fetched: {error.message}"))
            return
        chosen = choose_files(pin, page, pins[pin], resolution.formats)
        failures.extend((pin.project, sentence) for sentence in chosen.missing)
        remotes = _of_version(pin, page) if every and page is not None else chosen.files
        files.update((item.url, item) for remote in remotes for item in _items(pin, remote, every))

    await at_once(_PAGES, work, pins)
    return list(files.values()), failures


def _of_version(pin: Pin, page: RemotePage) -> list[RemoteFile]:
    key = version_sort_key(pin.version)
    return [remote for remote in page.files if version_sort_key(remote.file.version) == key]


def _items(pin: Pin, remote: RemoteFile, every: bool) -> Iterator[DownloadItem]:
    file: File = remote.file
    sha256 = file.hashes.get("sha256")
    yield DownloadItem(name=file.filename, project=pin.project, url=remote.url, sha256=sha256, size=file.size)
    if every and remote.offers_metadata:
        yield DownloadItem(
            name=f"{file.filename}.metadata",
            project=pin.project,
            url=f"{remote.url}.metadata",
            sha256=(file.core_metadata or {}).get("sha256"),
        )


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


async def _prefetch_with_own_index(
    settings: Settings, options: argparse.Namespace, resolution: Resolution, reactor: Any
) -> int:
    """Prefetch through an index that runs in this process meanwhile."""
    service = SimpleIndexService(settings, reactor=reactor)
    try:
        try:
            service.startService()
        except OSError as error:
            raise Unavailable(f"Cannot start: {' '.join(str(error).split())}.") from error
        port = service.addresses[0].port  # type: ignore[attr-defined]
        return await _prefetch(f"http://127.0.0.1:{port}/simple/", options, resolution, reactor)
    finally:
        await maybeDeferred(service.stopService)
