"""What `promote` prints: for people, or as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from twisted_index.cli._progress import format_size, number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Sequence

    from twisted_index.backends.layout.promotion_record import PromotionRecord
    from twisted_index.cli._push import PushedFile
    from twisted_index.errors import PromotionRefused, RefusedPart, SimpleIndexError
    from twisted_index.interfaces import PromotionOutcome


class IUnfinished(Protocol):
    """A promotion that is not finished."""

    @property
    def id(self) -> str:
        """Its name in `.staged/`."""

    @property
    def index(self) -> str:
        """The index that its files go to."""

    @property
    def record(self) -> PromotionRecord | None:
        """What it has written down; None if that is nothing."""

    @property
    def hidden(self) -> frozenset[str]:
        """The names in its list."""

    @property
    def is_running(self) -> bool:
        """Whether something is known to work on it now."""

    @property
    def says(self) -> str:
        """How far it came."""


class PromotionReport:
    """
    What is printed of a run.

    Args:
        options: Parsed.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def planned(self, files: Iterable[tuple[str, str, int]], present: Sequence[str]) -> None:
        """
        Print what would come.

        Args:
            files: Project, name and bytes of each.
            present: The names of those that are there already, with the same bytes.
        """
        rows = [{"project": project, "filename": name, "size": size} for project, name, size in files]
        self._print(rows, present, "Would promote", dry_run=True)

    def promoted(self, outcome: PromotionOutcome, source: str, target: str) -> None:
        """Print what has come from one index into another."""
        self._options.source, self._options.target = source, target
        self._print(list(map(asdict, outcome.published)), outcome.present, "Promoted", id=outcome.id)

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

    def shown(self, promotion: str, index: str, hidden: Collection[str]) -> None:
        """Print that a list by hand is gone."""
        self._say(promotion, index, f"Shown: the {number(len(hidden), 'name')} in {promotion}.list.")

    def cancelled(self, promotion: str, index: str) -> None:
        """Print that nothing is left."""
        self._say(promotion, index, f"Cancelled {promotion}; {index} is as it was before.")

    def listed(self, found: Sequence[IUnfinished]) -> None:
        """Print the promotions that are not finished."""
        if self._options.json:
            print(json.dumps(list(map(_row, found)), indent=2))
            return
        for each in found:
            print(f"{each.id}  {each.index}  {each.says}")
        if not found and not self._options.quiet:
            print("There is no unfinished promotion.")

    def _say(self, promotion: str, index: str, sentence: str) -> None:
        if self._options.json:
            self._json(id=promotion, index=index)
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


def _row(each: IUnfinished) -> dict[str, Any]:
    return {
        "id": each.id,
        "index": each.index,
        "from": each.record.source if each.record else "",
        "releases": list(each.record.releases) if each.record else [],
        "hidden": sorted(each.hidden),
        "running": each.is_running,
        "says": each.says,
    }
