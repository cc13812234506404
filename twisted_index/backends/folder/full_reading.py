"""
What takes the reading of files from end to end: are they as they were learned, attested, and there once?

Blocking. The other rules of a check are those of the server's problem report (see `page_builder`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.backends.folder.inspection import SMALL, inspect
from twisted_index.backends.folder.open_file import read_document
from twisted_index.backends.layout.facts import FileFacts, Rejection
from twisted_index.files.page_cache import not_kept
from twisted_index.interfaces import Problem
from twisted_index.simple.model import Sidecar
from twisted_index.simple.provenance import attested_digests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from twisted_index.backends.folder.inspection_cache import CachedInspection
    from twisted_index.backends.layout.facts import InspectionResult, KnownFiles
    from twisted_index.backends.layout.page_builder import ListedFile
    from twisted_index.backends.layout.project_scan import ProjectScan, ScannedFile

_ROTTEN = "Restore it from a backup or from where it came from, and check the disk and the memory."


def read_fully(entries: Iterable[ScannedFile]) -> list[InspectionResult]:
    """
    Inspect files one after the other with all their members.

    Raises:
        OutOfResources: This process lacks memory or descriptors.
    """
    return [_read(entry) for entry in entries]


def _read(entry: ScannedFile) -> InspectionResult:
    if entry.key.size <= SMALL:
        return inspect(entry.path, entry.distribution, entry.key, verify_members=True)
    with not_kept(entry.path):
        return inspect(entry.path, entry.distribution, entry.key, verify_members=True)


def judge(result: InspectionResult, cached: CachedInspection | None) -> InspectionResult:
    """
    Compare what was read of a file with what was learned of it earlier.

    Args:
        result: What was read now.
        cached: What was learned under the same size and times; None for nothing.

    Returns:
        A rejection if the bytes have changed since: no program changes them without the times.
    """
    if cached is None or not cached.settled or not isinstance(cached.result, FileFacts):
        return result
    before = cached.result
    if isinstance(result, FileFacts):
        if result.sha256 == before.sha256:
            return result
        what = f"sha256 was {before.sha256}, and is {result.sha256}."
    elif result.permanent and before.verified:
        what = result.reason
    else:
        return result
    return Rejection(
        reason=f"Its content has changed, but its size and times have not: {what}", advice=_ROTTEN
    )


def superfluous(scan: ProjectScan, served: Mapping[str, ListedFile], known: KnownFiles) -> Iterator[Problem]:
    """Report files that are there twice: with other bytes they are a problem for the server too."""
    winners = {listed.entry.distribution.identity: listed for listed in served.values()}
    for entry in scan.entries:
        winner, result = winners.get(entry.distribution.identity), known[entry.path].result
        if winner is None or winner.entry is entry or entry.distribution.filename in scan.deleted:
            continue
        if isinstance(result, FileFacts) and result.sha256 == winner.facts.sha256:
            yield Problem(
                path=entry.display_path,
                reason=f"It is there twice: {_named(winner.entry, entry)} has the same content; installers"
                " take both for one file.",
                advice="Remove one of them.",
            )


def _named(entry: ScannedFile, beside: ScannedFile) -> str:
    """Name a file; by its root too if that is all that distinguishes it from another."""
    if entry.display_path != beside.display_path:
        return entry.display_path
    return f"{entry.display_path} in {os.fsdecode(entry.root)}"


def contradicted(scan: ProjectScan, served: Iterable[ListedFile]) -> Iterator[Problem]:
    """Report provenance that was made for other bytes than those of its file."""
    for listed in served:
        name, sha256 = listed.entry.distribution.filename, listed.facts.sha256
        path = scan.documents.get(name, {}).get(Sidecar.PROVENANCE)
        document = None if path is None else read_document(path)
        if document is None or not isinstance(document.content, bytes):
            continue
        digests = attested_digests(document.content, name)
        if digests != frozenset({sha256}):
            others = ", ".join(sorted((digests or frozenset()) - {sha256}))
            yield Problem(
                path=scan.sidecar_owners[name, Sidecar.PROVENANCE.value],
                reason=f"It attests a file of another digest, {others}."
                if digests
                else "It is no provenance of this file.",
                advice="Restore the file that it was made for, or remove the document.",
            )
