"""
`twisted-index promote`: releases come from one index into another, all of them in one step, or none.

Only the folders are needed: no server has to run, and an upstream that an index names need not be known.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from twisted_index.backends.folder.blocking_store import retry_while_locked
from twisted_index.backends.folder.drafts import DraftFolder, digest_of_source
from twisted_index.backends.folder.promotion import Promotion, cancel
from twisted_index.backends.folder.promotion_plan import (
    Examination,
    IndexFolders,
    PromotionRequest,
)
from twisted_index.backends.layout.promotion_rules import releases_in
from twisted_index.cli._options import CommandParser
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._promotions import ConsolePromotions
from twisted_index.cli._push import PushedFile, UploadClient, files_of, push
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import console_user, settings_of_server
from twisted_index.cli._unfinished import Unfinished, find_unfinished, unfinished_in
from twisted_index.config.bucket_location import is_bucket_url
from twisted_index.errors import (
    BadRequest,
    ConfigurationError,
    NotFound,
    PromotionRefused,
    RefusedPart,
    SimpleIndexError,
)
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.simple.formatting import without_users

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from twisted_index.backends.layout.promotion_record import PromotionRecord, PromotionResult
    from twisted_index.config.settings import Settings


def run(arguments: Sequence[str]) -> int:
    """Promote releases; 1 if something is in the way, or a promotion was not completed."""
    options = _parser().parse_args(arguments)
    settings = settings_of_server({"path": [], "state": options.state, "config": options.config})
    lines = IndexLines(IndexCatalog(_folder_of_indexes(options, settings)))
    if options.list:
        return _list(lines, options)
    if not (options.resume or options.cancel):
        _check(options)
    with Progress(quiet=options.quiet or options.json) as progress:
        console = _Console(lines, settings, options, progress)
        try:
            return console.run()
        finally:
            console.close()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index promote",
        description="Copy releases from one index into another: all files of all releases appear there in"
        " one step, or none.",
        allow_abbrev=False,
    )
    parser.add_argument("releases", nargs="*", metavar="PROJECT==VERSION")
    parser.add_argument("--indexes", metavar="DIR", help="folder of the indexes [default: from the file]")
    parser.add_argument("--from", dest="source", metavar="INDEX", help="where the releases are")
    parser.add_argument(
        "--to",
        dest="target",
        metavar="INDEX",
        help="where they shall be; or the URL of the uploads of another server, as twine takes it",
    )
    parser.add_argument("--yanked", action="store_true", help="yanked files too; they stay yanked")
    parser.add_argument("--dry-run", "-n", action="store_true", help="only say what would be promoted")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--list", action="store_true", help="list promotions that are not finished")
    which.add_argument("--resume", metavar="ID", help="complete a promotion that was cut off")
    which.add_argument("--cancel", metavar="ID", help="undo a promotion that was cut off")
    parser.add_argument("--state", metavar="DIR", help="of the server, with its history [default: per user]")
    parser.add_argument("--config", metavar="FILE", help="TOML file with the same names as for serve")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    parser.add_argument("--quiet", "-q", action="store_true", help="print what failed, and nothing else")
    return parser


def _folder_of_indexes(options: argparse.Namespace, settings: Settings) -> str:
    folder = options.indexes or settings.indexes
    if not folder:
        raise ConfigurationError("--indexes is required: the folder whose subfolders are the indexes.")
    if is_bucket_url(folder):
        raise ConfigurationError(
            f"{folder} is a bucket: a server on it promotes, by a POST to /+INDEX/-/promote; see"
            " docs/object-stores.md."
        )
    if not os.path.isdir(folder):
        raise ConfigurationError(f"There is no folder {folder!r}.")
    return os.path.abspath(folder)


def _check(options: argparse.Namespace) -> None:
    for name, value in (("--from", options.source), ("--to", options.target)):
        if not value:
            raise ConfigurationError(f"{name} is required: the name of an index.")
    try:
        options.releases = releases_in(options.releases)
    except BadRequest as error:
        raise ConfigurationError(error.message) from None


class _Console:
    """
    Promotes from the console, with what the server's inspection cache knows.

    Args:
        lines: The indexes.
        settings: Of the server.
        options: Parsed.
        progress: Shows the bytes of copies.
    """

    def __init__(
        self, lines: IndexLines, settings: Settings, options: argparse.Namespace, progress: Progress
    ) -> None:
        self._lines = lines
        self._options = options
        self._progress = progress
        self._promotions = ConsolePromotions(settings.state)
        self._min_free = settings.uploads.min_free

    def close(self) -> None:
        """Close the cache."""
        self._promotions.close()

    def run(self) -> int:
        """Do what the options say; return the exit code."""
        report = _Report(self._options)
        try:
            if self._options.cancel:
                self._cancel(find_unfinished(self._lines, self._options.cancel), report)
            elif self._options.resume:
                self._resume(find_unfinished(self._lines, self._options.resume), report)
            elif "://" in self._options.target:
                return self._push(report)
            else:
                self._promote(report)
        except PromotionRefused as error:
            report.refused(error)
            return 1
        except SimpleIndexError as error:
            if not self._options.json:
                raise
            report.failed(error)
            return 1
        return 0

    def _promote(self, report: _Report) -> None:
        options = self._options
        request = PromotionRequest(
            source=self._folders(options.source),
            target=self._folders(options.target),
            releases=options.releases,
            by=console_user(),
            yanked=options.yanked,
        )
        refusals = self._refusals(options.source, options.target)
        examination = Examination(request, facts_of=self._promotions.facts_of, refusals=refusals)
        promotion = self._promotion(request, examination=examination)
        retry_while_locked(promotion.examine)
        if options.dry_run:
            report.planned(promotion)
            return
        self._progress.expect(len(promotion.new), sum(each.entry.key.size for each in promotion.new))
        report.promoted(self._promotions.carry_out(promotion), request)

    def _push(self, report: _Report) -> int:
        """Upload releases to another server, each file by itself."""
        options = self._options
        url, options.target = options.target, without_users(options.target)
        refusals = self._refusals(options.source, options.target)
        if refusals:
            raise PromotionRefused(refusals)
        own = self._folders(options.source).own_roots
        files = files_of(own, options.releases, self._promotions.cache)
        if options.dry_run:
            report.pushed(files, ())
            return 0
        self._progress.expect(len(files), sum(file.entry.key.size for file in files))

        async def upload(reactor: Any) -> int:
            client = UploadClient(url, reactor, environ=os.environ, advance=self._progress.advance)
            try:
                done, refused = await push(client, files)
            finally:
                await client.close()
            report.pushed(done, refused)
            return 1 if refused else 0

        return run_in_reactor(upload)

    def _resume(self, unfinished: Unfinished, report: _Report) -> None:
        if unfinished.record is None:
            unfinished.show()
            report.shown(unfinished)
            return
        promotion = self._reopen(unfinished, unfinished.record)
        report.promoted(self._promotions.resume(promotion), promotion.request)

    def _cancel(self, unfinished: Unfinished, report: _Report) -> None:
        if unfinished.record is None:
            unfinished.remove()
        else:
            cancel(self._reopen(unfinished, unfinished.record))
        report.cancelled(unfinished)

    def _reopen(self, unfinished: Unfinished, record: PromotionRecord) -> Promotion:
        _check_no_draft(unfinished, record)
        try:
            source = self._folders(record.source)
        except NotFound:
            # Where the files are copied already, the source is needed no more.
            source = IndexFolders(
                name=record.source, roots=(os.path.join(unfinished.root, b".staged", b"gone"),)
            )
        request = PromotionRequest(
            source=source,
            target=self._folders(unfinished.index),
            releases=record.releases,
            by=record.by,
            yanked=record.yanked,
            move=record.move,
        )
        examination = Examination(request, facts_of=self._promotions.facts_of)
        return self._promotion(request, examination=examination, record=record)

    def _promotion(self, request: PromotionRequest, **options: Any) -> Promotion:
        return Promotion(request, min_free=self._min_free, advance=self._progress.advance, **options)

    def _folders(self, name: str) -> IndexFolders:
        line = self._lines.line(name)
        return IndexFolders(
            name=name,
            roots=tuple(member.path for member in line),
            owners=(None, *(member.name for member in line[1:])),
        )

    def _refusals(self, source: str, target: str) -> list[RefusedPart]:
        allowed = self._lines.member(source).settings.promote_to
        if allowed is None or target in allowed:
            return []
        where = f"to {', '.join(allowed)} only" if allowed else "nowhere"
        return [RefusedPart(name=target, reason=f"What is in {source} may be promoted {where}.")]


def _check_no_draft(unfinished: Unfinished, record: PromotionRecord) -> None:
    """Check that a promotion publishes no draft: that would be removed with files that are only there."""
    digest = digest_of_source(record.source)
    name = DraftFolder(unfinished.root).name_of(digest) if digest else ""
    if name:
        raise ConfigurationError(
            f"It publishes the draft {name}: complete it by `twisted-index draft publish {name}`."
        )


class _Report:
    """What is printed of a run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def planned(self, promotion: Promotion) -> None:
        """Print what would come."""
        files = [
            {"project": planned.project, "filename": planned.name, "size": planned.entry.key.size}
            for planned in promotion.new
        ]
        self._print(files, promotion.result.present, "Would promote", dry_run=True)

    def promoted(self, result: PromotionResult, request: PromotionRequest) -> None:
        """Print what has come."""
        files = [
            {"project": file.project, "filename": file.name, "size": file.size, "sha256": file.sha256}
            for file in result.published
        ]
        self._options.source, self._options.target = request.source.name, request.target.name
        self._print(files, result.present, "Promoted", id=result.id)

    def pushed(self, files: Sequence[PushedFile], refused: Sequence[RefusedPart]) -> None:
        """Print what another server has now, and what it does not take."""
        rows = [
            {
                "project": file.entry.distribution.project,
                "filename": file.name,
                "size": file.entry.key.size,
                "sha256": file.sha256,
            }
            for file in files
        ]
        refusals = [{"name": one.name, "reason": one.reason} for one in refused]
        did = "Would upload" if self._options.dry_run else "Uploaded"
        self._print(rows, (), did, refusals=refusals, dry_run=self._options.dry_run)
        if not self._options.json:
            for one in refused:
                print(f"twisted-index: {one.name}: {one.reason}", file=sys.stderr)

    def _print(self, files: list[dict[str, Any]], present: Sequence[str], did: str, **facts: Any) -> None:
        options = self._options
        if options.json:
            self._json(published=files, present=list(present), **facts)
            return
        if options.quiet:
            return
        for file in files:
            print(f"+ {file['filename']}")
        size = format_size(sum(file["size"] for file in files))
        there = f"; {number(len(present), 'file')} with the same bytes there already" if present else ""
        print(
            f"{did} {number(len(files), 'file')} ({size}) from {options.source} to {options.target}{there}."
        )

    def refused(self, error: PromotionRefused) -> None:
        """Print everything that is in the way."""
        if self._options.json:
            self._json(refusals=[{"name": one.name, "reason": one.reason} for one in error.refusals])
            return
        for one in error.refusals:
            print(f"twisted-index: {one.name}: {one.reason}", file=sys.stderr)
        print("twisted-index: Nothing was promoted.", file=sys.stderr)

    def failed(self, error: SimpleIndexError) -> None:
        """Print what went wrong, as JSON."""
        self._json(error=error.message)

    def shown(self, unfinished: Unfinished) -> None:
        """Print that a list by hand is gone."""
        self._say(unfinished, f"Shown: the {number(len(unfinished.hidden), 'name')} in {unfinished.id}.list.")

    def cancelled(self, unfinished: Unfinished) -> None:
        """Print that nothing is left."""
        self._say(unfinished, f"Cancelled {unfinished.id}; {unfinished.index} is as it was before.")

    def _say(self, unfinished: Unfinished, sentence: str) -> None:
        if self._options.json:
            self._json(id=unfinished.id, index=unfinished.index)
        elif not self._options.quiet:
            print(sentence)

    def _json(self, **facts: Any) -> None:
        empty: dict[str, Any] = {
            "dry_run": False,
            "published": [],
            "present": [],
            "refusals": [],
            "error": "",
        }
        options = self._options
        print(json.dumps({"from": options.source, "to": options.target, **empty, **facts}, indent=2))


def _list(lines: IndexLines, options: argparse.Namespace) -> int:
    """Print the promotions that are not finished."""
    found = [each for name in lines.catalog.names() for each in unfinished_in(name, lines.catalog.path(name))]
    if options.json:
        rows = [
            {
                "id": each.id,
                "index": each.index,
                "from": each.record.source if each.record else "",
                "releases": list(each.record.releases) if each.record else [],
                "hidden": sorted(each.hidden),
                "running": each.is_running,
                "says": each.says,
            }
            for each in found
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for each in found:
        print(f"{each.id}  {each.index}  {each.says}")
    if not found and not options.quiet:
        print("There is no unfinished promotion.")
    return 0
