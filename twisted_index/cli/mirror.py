"""`twisted-index mirror`: make a folder equal to an index, or to what rules choose of it."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from twisted_index.cli._edit import parse_project
from twisted_index.cli._options import CommandParser, deletion_limit, state_folder
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import require_primary
from twisted_index.errors import SimpleIndexError
from twisted_index.mirror.mirror_run import MirrorRun
from twisted_index.mirror.needs import NeedsReader
from twisted_index.mirror.pull_run import PullRun
from twisted_index.mirror.rules_file import read_mirror_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from twisted_index.mirror.mirror_run import MirrorReport
    from twisted_index.mirror.progress import IProgress
    from twisted_index.mirror.rules_file import MirrorSettings


def run(arguments: Sequence[str]) -> int:
    """Mirror once; 1 if something could not be had, or if more would have to go than may."""
    options = _parser().parse_args(arguments)
    settings = read_mirror_file(options.file)
    if options.max_delete is not None:
        settings = replace(settings, max_delete=deletion_limit(options.max_delete))
    state = state_folder(options.state or settings.state)
    if options.why is not None:
        options.why = parse_project(options.why)
    else:
        require_primary(None, () if options.dry_run else [settings.into])
    return run_in_reactor(lambda reactor: _mirror(reactor, options, settings, state))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index mirror",
        description="Make a folder equal to an index, or to what the rules of FILE choose of it.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="TOML: from, into, and rules; see docs/mirror.md")
    parser.add_argument("--dry-run", action="store_true", help="print what would be placed and removed")
    parser.add_argument("--why", metavar="PROJECT", help="print which rule takes or leaves each file of it")
    parser.add_argument(
        "--max-delete", metavar="N", help="number or percentage of copies that this run may remove"
    )
    parser.add_argument("--state", metavar="DIR", help="where pages are remembered [default: per user]")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")
    parser.add_argument("--quiet", "-q", action="store_true", help="print what failed, and nothing else")
    return parser


async def _mirror(reactor: Any, options: argparse.Namespace, settings: MirrorSettings, state: str) -> int:
    with Progress(quiet=options.quiet) as progress:
        pull = PullRun(
            settings.source,
            settings.into,
            state,
            reactor=reactor,
            jobs=settings.jobs,
            exact=settings.exact,
            join=settings.join,
            progress=progress,
        )
        async with pull:
            mirror = await _prepare(pull, settings, options, progress)
            if options.why is not None:
                return await _explain(mirror, options.why)
            try:
                await mirror.run()
            except CancelledError:
                mirror.report.interrupted = True
            except SimpleIndexError as error:
                if not options.json:
                    raise
                mirror.report.error = error.message
    return _print_report(mirror.report, options)


async def _prepare(
    pull: PullRun, settings: MirrorSettings, options: argparse.Namespace, progress: IProgress
) -> MirrorRun:
    now = time.time()
    reader = NeedsReader(source=settings.source, environ=os.environ, now=now)
    rules, sentences = await pull.worker.run(reader.complete, settings.rules)
    for sentence in sentences:
        progress.say(sentence)
    return MirrorRun(
        pull.index,
        pull.puller,
        rules,
        copies=await pull.worker.run(pull.folder.copies),
        max_delete=settings.max_delete,
        now=now,
        dry=options.dry_run,
    )


async def _explain(mirror: MirrorRun, project: str) -> int:
    """Print which rule takes or leaves each file of a project."""
    choice = await mirror.choice(project)
    if choice is None:
        print(f"The source has no project {project}.")
        return 1
    for verdict in choice.verdicts:
        print(f"{'taken' if verdict.taken else 'left '}  {verdict.filename}  {verdict.reason}")
    return 0


# -- The report


def _print_report(report: MirrorReport, options: argparse.Namespace) -> int:
    is_complete = report.is_complete and not report.interrupted
    for sentence in _problems(report, options.dry_run):
        print(f"twisted-index: {sentence}", file=sys.stderr)
    if options.dry_run and not options.quiet and not options.json:
        for line in _plan(report):
            print(line)
    if options.json:
        print(json.dumps(_as_json(report, options.dry_run), indent=2))
    elif not options.quiet or not is_complete:
        print(_summary(report, options.dry_run))
    return 0 if is_complete else 1


def _problems(report: MirrorReport, is_dry: bool) -> Iterator[str]:
    """Yield a sentence for each project that is not as the rules say; a run has shown those of files."""
    if report.error:
        yield report.error
    for project, reason in sorted(report.unread.items()):
        yield f"{project} could not be read, and keeps its files: {reason}"
    for project, reason in report.refused.items():
        yield f"{project} was left alone: {reason}"
    for project, needs in sorted(report.unmet.items()):
        yield f"{project}: {needs}, and no file fits; --why {project} says why."
    for failure in report.all_failures if is_dry else report.failures:
        yield f"{failure.name}: {failure.reason}"
    if report.withheld:
        yield report.withheld


def _notes(report: MirrorReport) -> Iterator[str]:
    """Yield what is worth knowing, and no failure."""
    if report.empty:
        yield f"no file fits of {_names(report.empty)}"
    if report.gone:
        yield f"the source does not have {_names(report.gone)}"
    deleted = sum(len(result.deleted) for result in report.results.values())
    if deleted:
        yield f"{number(deleted, 'file')} stay deleted here"


def _names(projects: Sequence[str]) -> str:
    names = ", ".join(sorted(projects)[:5])
    return names if len(projects) <= 5 else f"{names} and {len(projects) - 5} more"


def _summary(report: MirrorReport, is_dry: bool) -> str:
    results = report.results.values()
    placed = [result for result in results if result.placed]
    counts = (
        f"{'would place' if is_dry else 'placed'} {number(sum(len(one.placed) for one in placed), 'file')}"
        f" ({format_size(sum(one.size for one in placed))}) of {number(len(placed), 'project')}",
        f"removed {len(report.removed)}" if not is_dry else f"remove {len(report.removed)}",
        f"{sum(len(one.unchanged) for one in results)} unchanged",
    )
    failed = (
        *([f"{number(len(report.all_failures), 'file')} could not be had"] if report.all_failures else []),
        *([f"{number(len(report.unread), 'project')} could not be read"] if report.unread else []),
        *_notes(report),
    )
    begin = "Interrupted: " if report.interrupted else ""
    text = "; ".join((", ".join(counts), *failed))
    return f"{begin}{text[0].upper() if not begin else text[0]}{text[1:]}."


def _plan(report: MirrorReport) -> Iterator[str]:
    for _project, result in sorted(report.results.items()):
        yield from (f"+ {name}" for name in result.placed)
        yield from (f"- {name}" for name in result.removable if not report.withheld)


def _as_json(report: MirrorReport, is_dry: bool) -> dict[str, Any]:
    results = report.results
    return {
        "dry_run": is_dry,
        "interrupted": report.interrupted,
        "error": report.error,
        "placed": sorted(name for one in results.values() for name in one.placed),
        "size": sum(one.size for one in results.values()),
        "adopted": sorted(name for one in results.values() for name in one.adopted),
        "removed": sorted(report.removed),
        "unchanged": sum(len(one.unchanged) for one in results.values()),
        "deleted": sorted(name for one in results.values() for name in one.deleted),
        "gone": sorted(report.gone),
        "empty": sorted(report.empty),
        "unread": report.unread,
        "refused": report.refused,
        "unmet": report.unmet,
        "failures": {failure.name: failure.reason for failure in report.all_failures},
        "warnings": {one.name: one.reason for result in results.values() for one in result.warnings},
        "withheld": report.withheld,
    }
