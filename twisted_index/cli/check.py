"""`twisted-index check`: what is wrong with the files of folders, or missing of what they need."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from twisted_index.backends.folder.folder_check import FolderCheck
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.cli._edit import ChangeOptions, parse_project
from twisted_index.cli._options import require_folders
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._server_state import settings_of_server
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.github.repository import is_repository
from twisted_index.server.state_folder import inspection_cache_path, make_state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.folder.folder_check import CheckReport
    from twisted_index.config.settings import Settings

#: The exit codes besides 0 and 1: not everything could be looked at; interrupted, as shells have it.
EXIT_INCOMPLETE, EXIT_INTERRUPTED = 2, 130
#: More threads would only wait for each other and for the disk.
_MAX_THREADS = 4


class CheckOptions(ChangeOptions):
    """The options of `check`."""

    synopsis = "Usage: twisted-index check [options] [PROJECT...]"
    longdesc = (
        "Reads every file from end to end, and prints what is wrong, one line each: damaged files and those"
        " that have changed since they were last read, names that contradict their files, files that are not"
        " served. With --dependencies, reads only what files say that they need, and prints what is missing"
        " here; PROJECT may then be PROJECT==VERSION. Changes nothing in the folders. Exits with 0 if nothing"
        " was found, 1 if something was, 2 if not everything could be looked at."
    )
    optParameters = [  # noqa: RUF012
        [
            "upstream",
            None,
            None,
            "Index for --upstream-names: its URL, or pip for pip's. [default: from the file]",
        ],
    ]
    optFlags = [  # noqa: RUF012
        ["dependencies", None, "Find what is missing of what the newest releases need."],
        [
            "upstream-names",
            None,
            "Find names of the folders that an upstream has too. It sends its whole list.",
        ],
        ["json", None, "Print one JSON object."],
        ["quiet", "q", "Print only what is found."],
    ]

    def __init__(self) -> None:
        ChangeOptions.__init__(self)
        self["python-version"], self["platform"] = [], []

    def opt_python_version(self, version: str) -> None:
        """For --dependencies, as for pip; repeat it for more. [default: this Python]"""
        self["python-version"].append(version)

    def opt_platform(self, platform: str) -> None:
        """For --dependencies, as for pip; repeat it for more. [default: this machine]"""
        self["platform"].append(platform)


def run(arguments: Sequence[str]) -> int:
    """Check folders; 1 if something was found, 2 if not everything could be looked at."""
    options = CheckOptions()
    words = parse_positionals(options, arguments, range(sys.maxsize))
    if words is None:
        return 0
    if not options["dependencies"] and (options["python-version"] or options["platform"]):
        raise ConfigurationError("--python-version and --platform are for --dependencies.")
    if options["upstream"] and not options["upstream-names"]:
        raise ConfigurationError("--upstream is for --upstream-names.")
    settings = settings_of_server(_given(options))
    require_folders(settings.bucket)
    for group in _groups(settings):
        for path in group:
            if not os.path.isdir(path):
                raise ConfigurationError(f"There is no folder {path!r}.")
    try:
        if options["dependencies"]:
            return _check_dependencies(settings, options, words)
        return _check_files(settings, options, frozenset(map(parse_project, words)))
    except ConfigurationError:
        raise
    except SimpleIndexError as error:
        print(f"twisted-index: {error.message}", file=sys.stderr)
        return EXIT_INCOMPLETE


def _given(options: CheckOptions) -> dict[str, object]:
    given: dict[str, object] = {name: options[name] for name in ("path", "state", "config")}
    upstream = options["upstream"]
    given["upstream"] = [upstream] if upstream else []
    if upstream and is_repository(upstream):
        given["upstream-only"] = ["*"]  # it says which names a server gets from there; nothing is served here
    return given


def _groups(settings: Settings) -> list[tuple[str, ...]]:
    """Return the folders that are served together, and each that a route leads to."""
    paths = tuple(map(os.path.abspath, settings.paths))
    routed = {rule.folder for rule in settings.upstreams.routes if rule.folder is not None}
    return [paths, *((path,) for path in sorted(routed.difference(paths)))]


# -- The files themselves


def _check_files(settings: Settings, options: CheckOptions, wanted: frozenset[str]) -> int:
    if options["upstream-names"]:
        from twisted_index.cli._upstream_names import require_upstream

        require_upstream(settings)
    fault = None if settings.state is None else make_state_folder(settings.state)
    if fault is not None:
        print(f"twisted-index: {fault}", file=sys.stderr)
    cache = InspectionCache(inspection_cache_path(settings.state))
    quiet = bool(options["quiet"] or options["json"])
    reports: list[CheckReport] = []
    with Progress(quiet=quiet, lines=False) as progress:

        def done(name: str, size: int) -> None:
            progress.advance(size)
            progress.done(name, size)

        for group in _groups(settings):
            check = FolderCheck(
                [os.fsencode(path) for path in group],
                cache,
                threads=min(os.cpu_count() or 1, _MAX_THREADS),
                expect=progress.expect,
                done=done,
            )
            reports.append(check.run(wanted))
            if reports[-1].interrupted:
                break
    cache.close()
    if options["upstream-names"] and not any(report.interrupted for report in reports):
        reports[0] = _with_shared_names(reports[0], settings, set().union(*(one.claimed for one in reports)))
    absent = wanted.difference(*(report.projects for report in reports))
    _print_report(reports, sorted(absent), as_json=bool(options["json"]), quiet=quiet)
    return _exit_code(reports, bool(absent))


def _with_shared_names(report: CheckReport, settings: Settings, claimed: set[str]) -> CheckReport:
    """Add the names that an upstream has too; what was found before is not lost if they cannot be had."""
    from twisted_index.cli._upstream_names import check_names

    try:
        shared = check_names(settings, claimed)
    except SimpleIndexError as error:
        print(f"twisted-index: {error.message}", file=sys.stderr)
        return replace(report, complete=False)
    return replace(report, problems=(*report.problems, *shared))


def _exit_code(reports: Sequence[CheckReport], is_absent: bool) -> int:
    if any(report.interrupted for report in reports):
        return EXIT_INTERRUPTED
    if is_absent or not all(report.complete for report in reports):
        return EXIT_INCOMPLETE
    return 1 if any(report.problems for report in reports) else 0


def _print_report(reports: Sequence[CheckReport], absent: list[str], *, as_json: bool, quiet: bool) -> None:
    problems = sorted(
        (problem for report in reports for problem in report.problems),
        key=lambda problem: (problem.path, problem.reason),
    )
    unsettled = sorted({name for report in reports for name in report.unsettled})
    files, size = sum(report.files for report in reports), sum(report.size for report in reports)
    projects = len(set().union(*(report.projects for report in reports)))
    for name in absent:
        print(f"twisted-index: There is no project {name} here.", file=sys.stderr)
    for name in unsettled:
        print(f"twisted-index: {name} kept changing; check it again later.", file=sys.stderr)
    if as_json:
        document = {
            "complete": all(report.complete for report in reports),
            "projects": projects,
            "files": files,
            "size": size,
            "unsettled": unsettled,
            "problems": [asdict(problem) for problem in problems],
        }
        print(json.dumps(document, ensure_ascii=False))
        return
    for problem in problems:
        print(f"{problem.path}: {problem.reason} {problem.advice}")
    if not quiet:
        found = number(len(problems), "problem") if problems else "No problem"
        what = f"{number(files, 'file')} of {number(projects, 'project')}, {format_size(size)}"
        print(f"{found} in {what}.", file=sys.stderr)


# -- What they need


def _check_dependencies(settings: Settings, options: CheckOptions, words: Sequence[str]) -> int:
    from packaging.requirements import InvalidRequirement, Requirement

    from twisted_index.resolution.contradictions import find_contradictions
    from twisted_index.resolution.dependencies import find_missing
    from twisted_index.resolution.local_projects import LocalProjects
    from twisted_index.resolution.targets import targets
    from twisted_index.resolution.uv import find_uv

    try:
        wanted = [Requirement(word) for word in words] or None
    except InvalidRequirement as error:
        first = str(error).partition("\n")[0]
        raise ConfigurationError(f"{first[:1].upper()}{first[1:].rstrip('.')}.") from None
    judged = targets(options["python-version"], options["platform"])
    paths, *_routed = _groups(settings)
    projects = LocalProjects([os.fsencode(path) for path in paths])
    missing = find_missing(projects, judged, wanted)
    if (uv := find_uv()) is not None:
        missing += find_contradictions(uv, projects, judged, wanted)
    elif not (options["quiet"] or options["json"]):
        print("uv is not installed, so versions that contradict each other are not found.", file=sys.stderr)
    if options["json"]:
        print(json.dumps({"missing": [asdict(one) for one in missing]}, ensure_ascii=False))
        return 1 if missing else 0
    for one in missing:
        print(one)
    if not options["quiet"]:
        what = f"{len(missing) or 'Nothing'} {'are' if len(missing) > 1 else 'is'} missing"
        print(f"{what} for {' and '.join(map(str, judged))}.", file=sys.stderr)
    return 1 if missing else 0
