"""
`twisted-index download`: requirements and all that they need, for several targets, into a folder.

What is there already is not fetched again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twisted_index.cli._arguments import RequirementsParser, check_jobs, index_url
from twisted_index.cli._options import local_path, state_folder
from twisted_index.cli._progress import Progress, format_size, number
from twisted_index.cli._reactor import run_in_reactor
from twisted_index.cli._resolution import Resolution
from twisted_index.cli._server_state import require_primary
from twisted_index.errors import SimpleIndexError
from twisted_index.mirror.pinned_pull import PinnedPull, PulledPins
from twisted_index.mirror.pull_run import PullRun
from twisted_index.resolution.targets import folded
from twisted_index.resolution.uv import index_access

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from twisted_index.mirror.pinned_pull import Pins
    from twisted_index.resolution.targets import Target


def run(arguments: Sequence[str]) -> int:
    """Fill a folder; 1 if anything failed, or is missing in the folder."""
    options = _parser().parse_args(arguments)
    check_jobs(options.jobs)
    options.path = local_path("--path", options.path)
    if not options.dry_run:
        require_primary(None, [options.path])
    resolution = Resolution(options, "download")
    source = "pip" if options.index_url is None else index_url(options.index_url)
    return run_in_reactor(lambda reactor: _download(source, options, resolution, reactor))


def _parser() -> RequirementsParser:
    parser = RequirementsParser(
        prog="twisted-index download",
        description="Download requirements and all that they need, for several Pythons and platforms, into a"
        " folder, and check that nothing is missing.",
        allow_abbrev=False,
    )
    parser.add_requirements()
    parser.add_argument(
        "--path", "-d", "--dest", required=True, metavar="DIR", help="the folder; made if it is not there"
    )
    parser.add_argument(
        "--index-url", "-i", metavar="URL", help="of the simple API to download from [default: pip's]"
    )
    parser.add_argument(
        "--sdists", action="store_true", help="sdists too, with what builds them, not only in place of wheels"
    )
    parser.add_argument(
        "--join", action="store_true", help="add to projects that hold other files than copies, too"
    )
    parser.add_argument("--state", metavar="DIR", help="where pages are remembered [default: per user]")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be downloaded")
    parser.add_argument("--json", action="store_true", help="end with a report in JSON")
    parser.add_progress()
    return parser


async def _download(source: str, options: argparse.Namespace, resolution: Resolution, reactor: Any) -> int:
    """Resolve, download, check, report; return the exit code."""
    access = index_access(source, os.environ)
    lacking: Mapping[Target, tuple[str, ...]] = {}
    with Progress(quiet=options.quiet) as progress:
        resolution.say_remarks()
        pull_run = PullRun(
            source,
            options.path,
            state_folder(options.state),
            reactor=reactor,
            jobs=options.jobs,
            join=options.join,
            progress=progress,
        )
        async with pull_run:
            pull = PinnedPull(
                pull_run,
                access,
                progress=progress,
                formats=resolution.formats,
                sdists=options.sdists,
                dry=options.dry_run,
            )
            try:
                pins = await resolution.resolve(access, pull_run.worker)
            except SimpleIndexError as error:
                if options.json:
                    _Report(resolution, {}, PulledPins(), lacking, error.message).show(options)
                raise
            pulled = await pull.pull(pins)
            if not options.dry_run:
                lacking = await resolution.unmet(pull_run.folder.root, pins, pull_run.worker)
    report = _Report(resolution, pins, pulled, lacking)
    report.show(options)
    return 1 if report.has_failures else 0


class _Report:
    """What became of a run."""

    def __init__(
        self,
        resolution: Resolution,
        pins: Pins,
        pulled: PulledPins,
        lacking: Mapping[Target, tuple[str, ...]],
        error: str = "",
    ) -> None:
        self._resolution = resolution
        self._pins = pins
        self._pulled = pulled
        self._lacking = lacking
        self._error = error

    @property
    def has_failures(self) -> bool:
        """Whether anything that was asked for is not there."""
        return bool(self._pulled.failures or self._resolution.left_out or any(self._lacking.values()))

    def show(self, options: argparse.Namespace) -> None:
        """Write what is missing to standard error, and the rest to standard output."""
        lacking = ((target, each) for target, sentences in self._lacking.items() for each in sentences)
        for sentence in folded(lacking):
            print(f"twisted-index: missing: {sentence}", file=sys.stderr)
        if options.json:
            print(json.dumps(self._document(), indent=2))
        elif options.dry_run:
            print("\n".join(self._planned()))
        elif not options.quiet:
            print(self._summary())

    def _document(self) -> dict[str, Any]:
        pulled = self._pulled
        return {
            "error": self._error,
            "placed": sorted(pulled.placed),
            "planned": sorted(file.file.filename for plan in pulled.plans for file in plan.place),
            "unchanged": pulled.unchanged,
            "bytes": pulled.size,
            "failures": [asdict(failure) for failure in pulled.failures],
            "warnings": [asdict(failure) for failure in pulled.warnings],
            "left_out": self._resolution.left_out,
            "targets": [self._target(target) for target in self._resolution.targets],
        }

    def _target(self, target: Target) -> dict[str, Any]:
        pins = (pin for pin, targets in self._pins.items() if target in targets)
        return {
            "python": target.python,
            "platform": target.platform,
            "pins": sorted(f"{pin.project}=={pin.version}" for pin in pins),
            "missing": list(self._lacking.get(target, ())),
        }

    def _planned(self) -> list[str]:
        plans = self._pulled.plans
        files = sorted((file.file for plan in plans for file in plan.place), key=lambda file: file.filename)
        there = sum(len(plan.unchanged) + len(plan.adopt) for plan in plans)
        return [
            *(
                f"{file.filename}  {'of unknown size' if file.size is None else format_size(file.size)}"
                for file in files
            ),
            f"{number(len(files), 'file')} would be downloaded, besides what builds sdists;"
            f" {number(there, 'file')} would stay. Nothing was changed.",
        ]

    def _summary(self) -> str:
        pulled, lacking = self._pulled, self._lacking
        complete = sum(not sentences for sentences in lacking.values())
        return (
            f"{number(len(pulled.placed), 'file')} downloaded ({format_size(pulled.size)}),"
            f" {number(pulled.unchanged, 'file')} already there, {number(len(pulled.failures), 'failure')};"
            f" {complete} of {number(len(lacking), 'target')} can be installed from the folder"
            f"{self._but_for()}."
        )

    def _but_for(self) -> str:
        count = len(self._resolution.left_out)
        return f", but for {number(count, 'requirement')} that no index can serve" if count else ""
