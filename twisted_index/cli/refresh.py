"""`twisted-index refresh`: forget the cached pages of upstream projects, with digests and perhaps files."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from twisted_index.backends.upstream import page_format
from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.cli._edit import parse_project
from twisted_index.cli._options import SubcommandOptions, local_path
from twisted_index.config import layers
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError, NotFound, Unavailable
from twisted_index.server.upstreams import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence


class RefreshOptions(SubcommandOptions):
    """The options of `refresh`."""

    synopsis = "Usage: twisted-index refresh [options] PROJECT ..."
    longdesc = (
        "Forgets the cached pages of projects, and the digests that were fixed when files were first fetched,"
        " which is needed when an upstream has rebuilt a file under the same name. A running server contacts"
        " its upstream when it next needs the page: within cache-ttl, or after it has rejected a file."
    )
    optFlags = [  # noqa: RUF012
        ["files", None, "Also remove the files of the projects, and their metadata, from the cache."],
    ]
    optParameters = [  # noqa: RUF012
        ["cache", None, None, "Folder of the cache. [default: below the state]"],
        ["state", None, None, "Folder of the state. [default: per user]"],
        ["config", None, None, "TOML file with the same names as for serve. [default: none]"],
    ]


def run(arguments: Sequence[str]) -> int:
    """Forget cached pages and digests of projects."""
    options = RefreshOptions()
    words = parse_positionals(options, arguments, range(1, 1000))
    if words is None:
        return 0
    cache, projects = _cache(options), list(map(parse_project, words))
    unknown = [project for project in projects if not _forget(cache, project, files=options["files"])]
    if unknown:
        raise NotFound(f"Nothing is cached for {', '.join(unknown)}.")
    return 0


def _cache(options: RefreshOptions) -> DiskCache:
    folder = None if options["cache"] is None else local_path("--cache", options["cache"])
    if folder is None:
        given = {name: options[name] for name in ("config", "state")}
        folder = cache_folder(layers.load(given, environ=os.environ, folder=os.getcwd()))
    if folder is None:
        raise ConfigurationError("There is no cache; give --cache, or --state.")
    return DiskCache(folder)


def _forget(cache: DiskCache, project: str, *, files: int) -> int:
    """Forget the pages of a project, and perhaps its files; return how many pages there were."""
    paths = cache.page_paths(project)
    # Before the pages, which are all that knows them.
    removed = sum(_remove_files(cache, path) for path in paths) if files else 0
    for path in paths:
        if cache.replace(path, page_format.encode_forgotten(project, time.time())) is None:
            raise Unavailable(f"{project} cannot be forgotten: {cache.path} cannot be written.")
    if paths:
        also = f", and removed {removed} file{'s' * (removed != 1)}" if files else ""
        print(f"Forgot what {len(paths)} upstream{'s' * (len(paths) > 1)} sent for {project}{also}.")
    return len(paths)


def _remove_files(cache: DiskCache, page: str) -> int:
    digests = page_format.file_digests(cache.read(page, page_format.MAX_RECORD_BYTES) or b"")
    return sum(cache.remove_file(digest) for digest in digests)
