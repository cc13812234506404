"""From a listing and what is known of its files to the page that is served. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted_index.interfaces import Problem
from twisted_index.ledger import Facts, Refusal
from twisted_index.simple.model import File, ProjectPage, Status, Yanked
from twisted_index.simple.names import file_order, ordered_versions
from twisted_index.sources.listing import DELETED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted_index.sources.inspector import Knowledge
    from twisted_index.sources.listing import Entry, Listing


@dataclass(frozen=True, slots=True)
class Served:
    """A file that is listed: where it lies and what is known of it."""

    entry: Entry
    facts: Facts


def choose(entries: Iterable[Entry], listing: Listing, knowledge: Knowledge) -> dict[str, Served]:
    """
    Choose the files that are listed.

    Of files that are the same to an installer (equal name, version, build and tags) the first
    good one wins, so that two roots never give one name two meanings.

    Returns:
        By file name.
    """
    chosen: dict[object, Served] = {}
    if listing.status.status is Status.QUARANTINED:
        return {}
    for entry in entries:
        known = knowledge.get(entry.path)
        if known is None or known.key != entry.key or not isinstance(known.finding, Facts):
            continue
        if entry.distribution.filename not in listing.deleted:
            chosen.setdefault(entry.distribution.identity, Served(entry, known.finding))
    return {served.entry.distribution.filename: served for served in chosen.values()}


def make_page(project: str, listing: Listing, served: Iterable[Served]) -> ProjectPage:
    """Make the page of a project from the files that are listed."""
    files = sorted((_file(one, listing) for one in served), key=file_order)
    return ProjectPage(
        name=project,
        files=tuple(files),
        versions=ordered_versions(file.version for file in files),
        status=listing.status,
    )


def _file(served: Served, listing: Listing) -> File:
    entry, facts = served.entry, served.facts
    filename = entry.distribution.filename
    reason = listing.yanked.get(filename)
    metadata = None if facts.metadata_sha256 is None else {"sha256": facts.metadata_sha256}
    return File(
        filename=filename,
        version=entry.distribution.version,
        hashes={"sha256": facts.sha256},
        size=entry.key.size,
        upload_time=upload_time(entry.key.mtime_ns, entry.key.ctime_ns),
        requires_python=facts.requires_python,
        core_metadata=metadata,
        yanked=None if reason is None else Yanked(reason=reason),
        companions=frozenset(listing.documents.get(filename, ())),
    )


def upload_time(mtime_ns: int, ctime_ns: int) -> datetime:
    """
    Say since when a file is here.

    The earlier of both times: copies that keep the modification time keep the upload time too,
    so that resolutions by date repeat on a mirror; and a time set into the future does not count.

    Args:
        mtime_ns: Nanoseconds since the epoch.
        ctime_ns: Likewise.
    """
    earlier = max(0, min(mtime_ns, ctime_ns))
    seconds, rest = divmod(earlier, 10**9)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def problems_of(listing: Listing, served: dict[str, Served], knowledge: Knowledge) -> list[Problem]:
    """Say which of a project's files are left out, and why."""
    found = list(listing.problems)
    named = {entry.distribution.filename for entry in listing.entries}
    found.extend(
        Problem(
            path=shown,
            reason="There is no file that it could be about.",
            advice=f"Give it the name of the file that it is about, followed by {ending}; or remove it.",
        )
        for (filename, ending), shown in listing.about.items()
        # The name of a deleted file stays taken without the file.
        if filename not in named and ending != DELETED
    )
    winners = {one.entry.distribution.identity: one for one in served.values()}
    for entry in listing.entries:
        known = knowledge.get(entry.path)
        if known is None:
            continue
        if isinstance(known.finding, Refusal):
            found.append(Problem(path=entry.shown, reason=known.finding.reason, advice=known.finding.advice))
            continue
        problem = _left_out(entry, known.finding, listing, winners.get(entry.distribution.identity))
        if problem is not None:
            found.append(problem)
    return found


def _left_out(entry: Entry, facts: Facts, listing: Listing, winner: Served | None) -> Problem | None:
    if entry.distribution.filename in listing.deleted:
        return Problem(
            path=entry.shown,
            reason="A file of this name was deleted, and its name stays taken.",
            advice="Give the new file another version; if it is the very same one, remove the .deleted file.",
        )
    if winner is None or winner.entry.path == entry.path or winner.facts.sha256 == facts.sha256:
        return None
    return Problem(
        path=entry.shown,
        reason=f"{winner.entry.shown} has other content for the same release and platforms, and comes first.",
        advice="Keep one of the two, or give this one another version or build tag.",
    )
