"""
`twisted-index promote`: releases come from one index into another, all of them in one step, or none.

Only the folders or the bucket are needed: no server has to run, and an upstream that an index names need not
be known.
"""

from __future__ import annotations

import os
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
from twisted_index.cli._bucket_promotions import BucketPromotions, refusals_of
from twisted_index.cli._options import CommandParser
from twisted_index.cli._progress import Progress
from twisted_index.cli._promotion_report import PromotionReport
from twisted_index.cli._promotions import ConsolePromotions
from twisted_index.cli._push import UploadClient, files_of, push
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._server_state import console_user, require_primary, settings_of_server
from twisted_index.cli._unfinished import Unfinished, find_unfinished, unfinished_in
from twisted_index.errors import (
    BadRequest,
    ConfigurationError,
    NotFound,
    PromotionRefused,
    SimpleIndexError,
)
from twisted_index.indexes.catalog import IndexCatalog
from twisted_index.indexes.index_line import IndexLines
from twisted_index.simple.formatting import without_users

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.config.settings import Settings


def run(arguments: Sequence[str]) -> int:
    """Promote releases; 1 if something is in the way, or a promotion was not completed."""
    options = _parser().parse_args(arguments)
    names = ("state", "config", "indexes")
    settings = settings_of_server({"path": [], **{name: getattr(options, name) for name in names}})
    if not (options.list or options.resume or options.cancel):
        _check(options)
    with Progress(quiet=options.quiet or options.json) as progress:
        console = _console(settings, options, progress)
        try:
            return _run(console, options, PromotionReport(options))
        finally:
            console.close()


def _console(
    settings: Settings, options: argparse.Namespace, progress: Progress
) -> _FolderPromotions | BucketPromotions:
    if settings.bucket_of_indexes is not None:
        return BucketPromotions(settings, options)
    lines = IndexLines(IndexCatalog(_folder_of_indexes(settings)))
    return _FolderPromotions(lines, settings, options, progress)


def _run(
    console: _FolderPromotions | BucketPromotions, options: argparse.Namespace, report: PromotionReport
) -> int:
    """Do what the options say; return the exit code."""
    try:
        if options.list:
            report.listed(console.unfinished())
        elif options.cancel:
            console.cancel(options.cancel, report)
        elif options.resume:
            console.resume(options.resume, report)
        elif "://" in options.target:
            return console.push(report)
        else:
            console.promote(report)
    except PromotionRefused as error:
        report.refused(error)
        return 1
    except SimpleIndexError as error:
        if not options.json or options.list:
            raise
        report.failed(error)
        return 1
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index promote",
        description="Copy releases from one index into another: all files of all releases appear there in"
        " one step, or none.",
        allow_abbrev=False,
    )
    parser.add_argument("releases", nargs="*", metavar="PROJECT==VERSION")
    parser.add_argument(
        "--indexes",
        metavar="DIR",
        help="folder of the indexes, or s3://BUCKET/PREFIX [default: from the file]",
    )
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


def _folder_of_indexes(settings: Settings) -> str:
    folder = settings.indexes
    if not folder:
        raise ConfigurationError("--indexes is required: the folder whose subfolders are the indexes.")
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


class _FolderPromotions:
    """
    Promotes between folders from the console, with what the server's inspection cache knows.

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
        self._require_primary: Callable[[bytes], None] = lambda root: require_primary(settings, [root])
        self._min_free = settings.uploads.min_free

    def close(self) -> None:
        """Close the cache."""
        self._promotions.close()

    def unfinished(self) -> list[Unfinished]:
        """Find the promotions that are not finished."""
        catalog = self._lines.catalog
        return [each for name in catalog.names() for each in unfinished_in(name, catalog.path(name))]

    def promote(self, report: PromotionReport) -> None:
        """Promote releases, or only say what would come."""
        options = self._options
        request = PromotionRequest(
            source=self._folders(options.source),
            target=self._folders(options.target),
            releases=options.releases,
            by=console_user(),
            yanked=options.yanked,
        )
        refusals = refusals_of(self._lines, options.source, options.target)
        examination = Examination(request, facts_of=self._promotions.facts_of, refusals=refusals)
        promotion = self._promotion(request, examination=examination)
        retry_while_locked(promotion.examine)
        if options.dry_run:
            files = [(each.project, each.name, each.entry.key.size) for each in promotion.new]
            report.planned(files, promotion.result.present)
            return
        self._require_primary(request.target.root)
        self._progress.expect(len(promotion.new), sum(each.entry.key.size for each in promotion.new))
        report.promoted(self._promotions.carry_out(promotion).outcome, options.source, options.target)

    def push(self, report: PromotionReport) -> int:
        """Upload releases to another server, each file by itself."""
        options = self._options
        url, options.target = options.target, without_users(options.target)
        refusals = refusals_of(self._lines, options.source, options.target)
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

    def resume(self, promotion: str, report: PromotionReport) -> None:
        """Complete a promotion that was cut off."""
        unfinished = find_unfinished(self._lines, promotion)
        self._require_primary(unfinished.root)
        if unfinished.record is None:
            unfinished.show()
            report.shown(unfinished.id, unfinished.index, unfinished.hidden)
            return
        reopened = self._reopen(unfinished, unfinished.record)
        request = reopened.request
        report.promoted(self._promotions.resume(reopened).outcome, request.source.name, request.target.name)

    def cancel(self, promotion: str, report: PromotionReport) -> None:
        """Undo a promotion that was cut off."""
        unfinished = find_unfinished(self._lines, promotion)
        self._require_primary(unfinished.root)
        if unfinished.record is None:
            unfinished.remove()
        else:
            cancel(self._reopen(unfinished, unfinished.record))
        report.cancelled(unfinished.id, unfinished.index)

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


def _check_no_draft(unfinished: Unfinished, record: PromotionRecord) -> None:
    """Check that a promotion publishes no draft: that would be removed with files that are only there."""
    digest = digest_of_source(record.source)
    name = DraftFolder(unfinished.root).name_of(digest) if digest else ""
    if name:
        raise ConfigurationError(
            f"It publishes the draft {name}: complete it by `twisted-index draft publish {name}`."
        )
