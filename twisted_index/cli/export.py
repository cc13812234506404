"""`twisted-index export`: write a static copy of an index, which any web server serves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.cli._options import SubcommandOptions, local_path, require_folders
from twisted_index.config.layers import ConfigSources
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError
from twisted_index.export.exporter import Exporter
from twisted_index.export.layout import ExportLayout
from twisted_index.export.memory import ExportMemory
from twisted_index.export.target import ExportTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.config.settings import Settings
    from twisted_index.export.exporter import ExportResult
    from twisted_index.export.project_reader import PackageFolders, ProjectReader


_REFUSED = "its release has other content under this name now. Give that a new version, or add --rebuilds."


class ExportOptions(SubcommandOptions):
    """The options of `export`."""

    synopsis = "Usage: twisted-index export [options] DIR"
    longdesc = (
        "Writes pages and files of an index into DIR, which any web server serves. What did not change is not"
        " written again; only what an export wrote is ever replaced or removed. Of the projects that"
        " everyone may read, unless told otherwise; those of upstreams are not in it."
    )
    optParameters = [  # noqa: RUF012  (usage.Options reads it and leaves it alone)
        ["config", None, None, "TOML file with the same names as for serve. [default: none]"],
        [
            "state",
            None,
            None,
            "The state, as for serve; none: remember nothing. [default: per user]",
        ],
        ["public-url", None, None, "URL of the exported index, for links that have to be absolute."],
        [
            "files-url",
            None,
            None,
            "Link to files elsewhere: https://host/v{version}/{filename}.",
        ],
        ["source", None, None, "Export the releases of a repository, github:OWNER/REPO, and no folders."],
        ["as", None, None, "Export what this user may read."],
    ]
    optFlags = [  # noqa: RUF012
        ["all-projects", None, "Export all projects, also those that not everyone may read."],
        ["json-only", None, "Write JSON pages only, at the URLs of the directories."],
        ["rebuilds", None, "Accept other content at a release under the name of an exported file."],
        ["link", None, "Make symbolic links to the files instead of copies."],
        ["check", None, "Write nothing; exit with 1 if the export is not current."],
        ["json", None, "Print the result as JSON."],
        ["quiet", "q", "Print errors only."],
    ]

    def __init__(self) -> None:
        SubcommandOptions.__init__(self)
        self["path"] = []
        self["project"] = []

    def opt_path(self, folder: str) -> None:
        """Folder of packages; repeat it for more, in the server's order. [default: the current folder]"""
        self["path"].append(folder)

    def opt_project(self, pattern: str) -> None:
        """Name or pattern of projects; repeat it for more. [default: all]"""
        self["project"].append(pattern)


def run(arguments: Sequence[str]) -> int:
    """Export; 1 if a project was left as it was, or with `--check` if there is anything to write."""
    options = ExportOptions()
    words = parse_positionals(options, arguments, range(1, 2))
    if words is None:
        return 0
    given = {name: options[name] for name in ("path", "state", "config", "public-url")}
    settings = ConfigSources(given=given, environ=os.environ, folder=os.getcwd()).load()
    target = local_path("DIR", words[0])
    if options["source"] is None:
        result = _exporter(options, settings, target).run()
    elif (exported := _export_source(options, settings, target)) is None:
        return 1
    else:
        result = exported
    _report(result, options)
    return 1 if result.failures or (options["check"] and result.is_changed) else 0


def _check_folders(settings: Settings, target: str) -> None:
    require_folders(settings.bucket)
    for path in settings.paths:
        if not os.path.isdir(path):
            raise ConfigurationError(f"There is no folder {path!r}.")
        inside = os.path.join(os.path.realpath(path), "")
        if os.path.join(os.path.realpath(target), "").startswith(inside):
            raise ConfigurationError(f"The export cannot be inside the folder of packages {path!r}.")


def _exporter(options: ExportOptions, settings: Settings, target: str) -> Exporter:
    _check_folders(settings, target)
    layout = _layout(options, settings)
    rights = _rights(options, settings)
    shape = repr(
        (layout, settings.paths, settings.upstreams.routes, options["as"], rights, options["project"])
    )
    return Exporter(
        lambda: _open_folders(settings),
        layout,
        ExportTarget(target, dry=bool(options["check"])),
        ExportMemory(
            _memory_path(settings, "export", os.fsencode(os.path.realpath(target))),
            hashlib.sha256(shape.encode()).hexdigest().encode(),
        ),
        _may_read(options, rights, settings),
    )


def _export_source(options: ExportOptions, settings: Settings, target: str) -> ExportResult | None:
    """Export the releases of a repository; None if that was interrupted."""
    for name in ("path", "files-url", "link"):
        if options[name]:
            raise ConfigurationError(f"--source and --{name} contradict each other: give one of them.")
    from twisted_index.cli._export_source import parse_source, read_source
    from twisted_index.export.release_memory import ReleaseMemory

    may_read = _may_read(options, _rights(options, settings), settings)
    repository = parse_source(options["source"])
    memory = ReleaseMemory(_memory_path(settings, "releases", os.fsencode(repository.word)), repository.word)
    memory.load()
    accepts_rebuilds = bool(options["rebuilds"])
    reader = read_source(repository, settings, memory, may_read, accepts_rebuilds=accepts_rebuilds)
    if reader is None:
        return None
    result = Exporter(
        lambda: contextlib.nullcontext(reader),
        replace(_layout(options, settings), files_url=reader.urls),
        ExportTarget(target, dry=bool(options["check"])),
        # Pages are compared with what is there, which takes less than to find out what has changed.
        ExportMemory(None, b""),
    ).run()
    result.notes[:0] = reader.notes
    result.failures |= dict.fromkeys(reader.refused, _REFUSED)
    if not options["check"]:
        memory.listed.update(reader.listed)
        memory.save()
    return result


def _layout(options: ExportOptions, settings: Settings) -> ExportLayout:
    files_url = None
    if options["files-url"] is not None:
        if options["link"]:
            raise ConfigurationError("--files-url and --link contradict each other: give one of them.")
        from twisted_index.export.files_url import FilesUrl

        files_url = FilesUrl.parse(options["files-url"])
    return ExportLayout(
        json_only=bool(options["json-only"]),
        files_url=files_url,
        public_url=settings.public_url,
        links=bool(options["link"]),
    )


def _rights(options: ExportOptions, settings: Settings) -> bytes | None:
    """Read the file of rights; None if everything is exported."""
    path = settings.access.rights
    if options["all-projects"] and options["as"] is not None:
        raise ConfigurationError("--as and --all-projects contradict each other: give one of them.")
    if path is None or options["all-projects"]:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"{path}: the rights cannot be read: {error.strerror}.") from error


def _may_read(options: ExportOptions, rights: bytes | None, settings: Settings) -> Callable[[str], bool]:
    """Return what tells whether a project, by its normalized name, is exported."""
    is_permitted = _permitted(options["as"], rights, settings)
    if not options["project"]:
        return is_permitted
    from twisted_index.simple.name_patterns import name_matcher

    try:
        is_named = name_matcher(options["project"])
    except ValueError as error:
        raise ConfigurationError(f"--project: {error}.") from None
    return lambda project: is_named(project) and is_permitted(project)


def _permitted(user: str | None, rights: bytes | None, settings: Settings) -> Callable[[str], bool]:
    if rights is None:
        return lambda _project: True
    from twisted_index.access.rights_file import rights_from_bytes
    from twisted_index.interfaces import ANONYMOUS, Action, Identity

    identity = ANONYMOUS if user is None else Identity(user=user)
    has_groups = settings.access.groups_header is not None
    permits = rights_from_bytes(rights, settings.access.rights or "", proxy_groups=has_groups).permits
    return lambda project: permits(identity, Action.READ, project)


@contextlib.contextmanager
def _open_folders(settings: Settings) -> Iterator[ProjectReader]:
    """Open the folders, and what inspections of them found."""
    from twisted_index.export.project_reader import ProjectReader

    with contextlib.closing(_open_cache(settings.state)) as cache:
        yield ProjectReader(_folders(settings), cache)


def _folders(settings: Settings) -> list[PackageFolders]:
    """Return the folders, each with the names that the routes give it."""
    from twisted_index.export.project_reader import PackageFolders
    from twisted_index.simple.name_patterns import name_matcher

    default = _encoded(settings.paths)
    routes = [
        (name_matcher([rule.pattern]), default if rule.upstream is not None else _encoded([rule.folder]))
        for rule in settings.upstreams.routes
    ]

    def owner(project: str) -> tuple[bytes, ...]:
        return next((paths for matches, paths in routes if matches(project)), default)

    places = dict.fromkeys((default, *(paths for _matches, paths in routes if paths)))
    return [PackageFolders(paths, partial(_owns, owner, paths)) for paths in places]


def _owns(owner: Callable[[str], tuple[bytes, ...]], paths: tuple[bytes, ...], project: str) -> bool:
    return owner(project) == paths


def _encoded(paths: Iterable[str | None]) -> tuple[bytes, ...]:
    return tuple(os.path.abspath(os.fsencode(path)) for path in paths if path is not None)


def _memory_path(settings: Settings, kind: str, name: bytes) -> str | None:
    if settings.state is None:
        return None
    return os.path.join(settings.state, "cache", f"{kind}-{hashlib.sha256(name).hexdigest()[:16]}")


def _open_cache(state: str | None) -> InspectionCache:
    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.server.state_folder import inspection_cache_path

    return InspectionCache(inspection_cache_path(state))


def _report(result: ExportResult, options: ExportOptions) -> None:
    for name, reason in result.failures.items():
        print(f"twisted-index: {name} is left as it was: {reason}", file=sys.stderr)
    for note in result.notes:
        print(f"twisted-index: {note}", file=sys.stderr)
    if options["json"]:
        print(
            json.dumps(
                {
                    "written": result.written,
                    "removed": result.removed,
                    "unchanged": result.unchanged,
                    "failed": result.failures,
                    "current": not result.is_changed,
                }
            )
        )
    elif not options["quiet"]:
        numbers = (len(result.written), len(result.removed), result.unchanged)
        print("{:,} written, {:,} removed, {:,} unchanged".format(*numbers))
