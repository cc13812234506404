"""
`twisted-index release`: wheels and sdists become a release of a repository, complete or not at all.

The release is a draft until all its files are there and have been compared; an interrupted run is continued
by the same command.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from twisted_index.cli._options import CommandParser
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._release_files import given_files, read_files
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.files.os_errors import error_text
from twisted_index.github.api import GitHubAPI
from twisted_index.github.comparison import Comparison
from twisted_index.github.publisher import Publisher
from twisted_index.github.release_plan import ReleaseTerms
from twisted_index.github.repository import parse_repository
from twisted_index.github.token import token_source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from twisted_index.github.release_plan import OutgoingFile, ReleasePlan
    from twisted_index.github.repository import Repository
    from twisted_index.github.token import TokenSource

#: What git takes as the name of a tag (git-check-ref-format): else the draft could never be published.
_TAG = re.compile(r"(?![-./])(?!.*(\.\.|//|/\.|@\{|\.lock(/|$)|[./]$))[^\s\0-\x1f\x7f~^:?*\[\\]+")


def run(arguments: Sequence[str]) -> int:
    """Release files; 1 if the release is not published with all of them."""
    options = _parser().parse_args(arguments)
    try:
        repository = parse_repository(options.to)
    except ValueError as error:
        raise ConfigurationError(f"--to: {error}.") from None
    token = token_source(repository, os.environ, file=options.token_file)
    if token.current() is None:
        raise ConfigurationError(
            "A release needs a token with the right to write to the repository: set GITHUB_TOKEN"
            f" (or GH_TOKEN), or give --token-file.{token.unused and f' {token.unused}.'}"
        )
    terms = _terms(options)
    given = given_files(options.files)
    with Progress(quiet=options.quiet) as progress:
        files = read_files(given, with_metadata=not options.no_metadata, failed=progress.failed)
        return run_in_reactor(
            lambda reactor: _release(reactor, repository, token, terms, files, options, progress)
        )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="twisted-index release",
        description="Make a release of wheels and sdists: a draft, which gets the files, is compared with"
        " them, and is published last. The same command continues an interrupted run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="wheels and sdists, with their .asc and .provenance"
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="REPOSITORY",
        help="github:OWNER/REPO, github+URL:OWNER/REPO or forgejo+URL:…",
    )
    parser.add_argument("--tag", required=True, help="of the release; the server makes it if it is not there")
    parser.add_argument(
        "--target", metavar="COMMITISH", help="what the server makes the tag of [default: its own]"
    )
    parser.add_argument("--title", metavar="TEXT", help="of the release")
    parser.add_argument("--notes", metavar="FILE", help="with the text of the release, in Markdown")
    parser.add_argument("--prerelease", action="store_true", help="mark it as a pre-release")
    parser.add_argument("--no-metadata", action="store_true", help="without WHEEL.metadata beside each wheel")
    parser.add_argument(
        "--token-file", metavar="FILE", help="with the token [default: GITHUB_TOKEN, GH_TOKEN, netrc]"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be uploaded")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    parser.add_argument("--quiet", "-q", action="store_true", help="print what failed, and nothing else")
    return parser


def _terms(options: argparse.Namespace) -> ReleaseTerms:
    if _TAG.fullmatch(options.tag) is None:
        raise ConfigurationError("--tag is not the name of a tag in git, such as v1.0.")
    notes = None
    if options.notes is not None:
        try:
            with open(options.notes, encoding="utf-8") as file:
                notes = file.read()
        except UnicodeDecodeError:
            raise ConfigurationError(f"--notes: {options.notes} is not UTF-8.") from None
        except OSError as error:
            raise ConfigurationError(f"--notes: {options.notes}: {error_text(error)}.") from None
    return ReleaseTerms(
        tag=options.tag,
        title=options.title,
        notes=notes,
        is_prerelease=options.prerelease,
        target=options.target,
    )


async def _release(
    reactor: Any,
    repository: Repository,
    token: TokenSource,
    terms: ReleaseTerms,
    files: Sequence[OutgoingFile],
    options: argparse.Namespace,
    progress: Progress,
) -> int:
    """Make the release, report, return the exit code."""
    worker = ThreadPool(reactor, name="index-release")
    api = GitHubAPI(repository, reactor, environ=os.environ, token=token, worker=worker, instance="release")
    comparison = Comparison(api, reactor, terms.tag, files)
    publisher = Publisher(api, reactor, terms, comparison, progress)
    report = _Report(repository, terms.tag, options)
    try:
        report.plan = await comparison.plan()
        if not options.dry_run:
            report.url = (await publisher.publish(report.plan)).html_url
    except SimpleIndexError as error:
        report.error = error.message
        if publisher.draft is not None:
            progress.say("The draft stays, and is not public; the same command continues it.")
        if options.json:
            report.show()
        raise
    finally:
        await api.close()
        await worker.stop()
    report.show()
    return 0


class _Report:
    """What is printed at the end."""

    def __init__(self, repository: Repository, tag: str, options: argparse.Namespace) -> None:
        self.plan: ReleasePlan | None = None
        self.url = self.error = ""
        self._repository = repository
        self._tag = tag
        self._options = options

    def show(self) -> None:
        if self._options.json:
            print(json.dumps(self._document(), indent=2))
        elif self._options.dry_run:
            print("\n".join(self._planned()))
        elif not self._options.quiet:
            print(self._summary())

    def _document(self) -> dict[str, Any]:
        files = self.plan.files if self.plan else ()
        return {
            "error": self.error,
            "repository": self._repository.word,
            "tag": self._tag,
            "url": self.url,
            "published": bool(self.url) or (self.plan is not None and self.plan.is_published),
            "files": [
                {"name": one.file.name, "size": one.file.size, "sha256": one.file.sha256, "step": one.step}
                for one in files
            ],
            "others": list(self.plan.foreign) if self.plan else [],
        }

    def _planned(self) -> list[str]:
        assert self.plan is not None
        lines = [f"{one.step:7} {one.file.name}  {format_size(one.file.size)}" for one in self.plan.files]
        return [*lines, f"{self._state()} Nothing was changed."]

    def _state(self) -> str:
        """Say in a sentence what there is of the release."""
        assert self.plan is not None
        release = self.plan.release
        if release is None:
            return f"There is no release {self._tag} yet."
        if release.is_draft:
            others = number(len(self.plan.foreign), "other asset")
            return (
                f"There is a draft of {self._tag}{f', with {others} that stay' if self.plan.foreign else ''}."
            )
        return f"The release {self._tag} has all {number(len(self.plan.files), 'file')}."

    def _summary(self) -> str:
        assert self.plan is not None
        if self.plan.is_published:
            return f"{self._state()} There is nothing to do. {self.url}"
        sent = [one.file for one in self.plan.files if one.same is None]
        kept = len(self.plan.files) - len(sent)
        size = format_size(sum(file.size for file in sent))
        return (
            f"{number(len(sent), 'file')} uploaded ({size}), {number(kept, 'file')} already there;"
            f" {self._tag} is published. {self.url}"
        )
