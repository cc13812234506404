"""What upstreams said of a project, and which of their files are not listed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twisted_index.simple.explanation import HiddenFile, Obstacle, SourceAnswer, SourceKind
from twisted_index.simple.formatting import printable, sentence
from twisted_index.simple.model import Status
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twisted_index.backends.upstream.page_store import PageState
    from twisted_index.errors import SimpleIndexError


def upstream_name(url: str) -> str:
    """Return the origin of an upstream, as the path of a URL may be a secret; a repository as it is."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else url.rstrip("/")


def unasked_upstream(url: str, why: str) -> SourceAnswer:
    """See `IExplains.unasked`."""
    return SourceAnswer(kind=SourceKind.UPSTREAM, name=upstream_name(url), says=why, asked=False)


def answers_of(
    asked: Sequence[tuple[str, PageState | None]], found: str | None, error: SimpleIndexError | None
) -> tuple[SourceAnswer, ...]:
    """
    List what each upstream said.

    Args:
        asked: The URL of each in order, and its state in memory.
        found: The URL of the one whose page is served, or that was asked last; None if there is an error.
        error: The error of the first one without a fresh state.
    """
    answers: list[SourceAnswer] = []
    for at, (url, state) in enumerate(asked):
        if url == found:
            answers.append(_answer(url, _page_in_words(state), claims=_has_page(state)))
            owner = upstream_name(url)
            later = asked[at + 1 :]
            return (
                *answers,
                *(unasked_upstream(one, f"was not asked, as {owner} has it") for one, _ in later),
            )
        if state is not None and state.page is None and state.freshness():
            answers.append(_answer(url, "has no such project"))
        elif error is not None:
            answers.append(_answer(url, f"did not answer: {error.message}"))
            later = asked[at + 1 :]
            why = f"was not asked, as {upstream_name(url)} may have it"
            return (*answers, *(unasked_upstream(one, why) for one, _ in later))
        else:
            answers.append(_answer(url, "did not answer, and had no such project before"))
    return tuple(answers)


def hidden_files(state: PageState, *, offline: bool) -> Iterator[HiddenFile]:
    """Yield the files that an upstream's page has or had, and that are not listed."""
    record = state.record
    if record is None:
        return
    project = record.page.project
    for entry in record.page.files:
        filename = entry.file.filename
        if filename in state.files:
            continue
        obstacle, reason = Obstacle.REMOVED, "The upstream no longer has the project."
        if record.page.status.status is Status.QUARANTINED:
            obstacle = Obstacle.QUARANTINED
            reason = sentence("The project is quarantined", record.page.status.reason)
        elif offline and not record.is_absent:
            obstacle, reason = Obstacle.OFFLINE, "This server is offline, and the file is not in its cache."
        yield HiddenFile(filename=filename, version=entry.file.version, obstacle=obstacle, reason=reason)
    for filename in record.removed:
        yield HiddenFile(
            filename=printable(filename),
            version=_version_of(filename, project),
            obstacle=Obstacle.REMOVED,
            reason="The upstream does not list it any more.",
        )


def _answer(url: str, says: str, *, claims: bool = False) -> SourceAnswer:
    return SourceAnswer(kind=SourceKind.UPSTREAM, name=upstream_name(url), says=says, claims=claims)


def _has_page(state: PageState | None) -> bool:
    return state is not None and state.page is not None


def _page_in_words(state: PageState | None) -> str:
    if state is None or state.page is None:
        return "has no such project"
    count = len(state.files)
    says = f"has {count} files of it" if count != 1 else "has 1 file of it"
    left_out = {} if state.record is None else state.record.page.left_out
    reasons = (
        f"{number} more {'is' if number == 1 else 'are'} left out, because {reason}"
        for reason, number in left_out.items()
    )
    if state.record is not None:
        says += f", as of {datetime.fromtimestamp(state.record.fetched_at, UTC):%Y-%m-%d %H:%M:%S UTC}"
    return "; ".join((says, *reasons))


def _version_of(filename: str, project: str) -> str:
    try:
        return parse_filename(filename, project).version
    except InvalidFilename:
        return ""
