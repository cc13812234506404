"""
The answer to "why?": the lines of an explanation that a client may see. Pure.

A release that is not visible yet is nothing for readers, and the name of an index that a client may not read
is not said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted_index.errors import Found
from twisted_index.simple.explanation import HiddenFile, Obstacle, SourceAnswer, SourceKind
from twisted_index.simple.formatting import one_line, sentence
from twisted_index.simple.model import Status
from twisted_index.simple.names import canonical_version, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.interfaces import Explanation
    from twisted_index.simple.model import File

#: Lines of one answer; a version has fewer.
MAX_LINES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """
    Who asks.

    Attributes:
        may_read: Takes the name of an index; returns whether they may read the project there.
        operates: Whether they see who did what.
        publishes: Whether they see what is not published yet.
    """

    may_read: Callable[[str], bool] = lambda _index: True
    operates: bool = True
    publishes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyLine:
    """
    One known file.

    Attributes:
        filename: Its name.
        version: Its version; empty if its name has none.
        says: Why it is listed as it is, or hidden: one sentence; empty if there is nothing to say.
        index: The index that has it, or whose upstream has it; empty for the one without a name.
        path: Below its root; empty for one of an upstream.
        hidden: What hides it; None if it is listed.
    """

    filename: str
    version: str
    index: str
    says: str = ""
    path: str = ""
    hidden: HiddenFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """
    An answer.

    Attributes:
        project: The normalized name.
        version: The version that was asked for; empty for all.
        index: The index that was asked; empty for the one without a name.
        status: The HTTP status that the page has now.
        summary: That in one sentence.
        sources: As in `Explanation`.
        lines: In order of version, then file name.
        left_out: The number of lines beyond `MAX_LINES`.
    """

    project: str
    version: str
    index: str
    status: int
    summary: str
    sources: tuple[SourceAnswer, ...]
    lines: tuple[WhyLine, ...]
    left_out: int = 0

    @property
    def owner(self) -> SourceAnswer | None:
        """The source that owns the name; None if it is not owned."""
        return next((answer for answer in self.sources if answer.claims), None)


def answer_why(found: Explanation, project: str, version: str, index: str, asker: Asker) -> Why:
    """
    Make the answer for one client.

    Args:
        found: The explanation.
        project: A normalized name.
        version: In any spelling; empty for all.
        index: The index that was asked; empty for the one without a name.
        asker: The client.
    """
    shown = [_shown(file, asker) for file in found.hidden if asker.publishes or _is_public(file)]
    every = [
        *(_listed(file, found, index) for file in found.files),
        *(_hidden(file, index) for file in shown),
    ]
    lines = [line for line in every if not version or _is_of(line, version)]
    lines.sort(key=lambda line: (version_sort_key(line.version), line.filename, line.path))
    return Why(
        project=project,
        version=version,
        index=index,
        status=_status(found),
        summary=_summary(found, project, len(every)),
        sources=tuple(_named(answer, index) for answer in found.sources if _may_see(answer, asker)),
        lines=tuple(lines[:MAX_LINES]),
        left_out=max(0, len(lines) - MAX_LINES),
    )


def _is_of(line: WhyLine, version: str) -> bool:
    return canonical_version(line.version) == canonical_version(version)


def _is_public(file: HiddenFile) -> bool:
    return file.obstacle is not Obstacle.STAGED


def _shown(file: HiddenFile, asker: Asker) -> HiddenFile:
    return file if asker.operates else replace(file, note="")


def _may_see(answer: SourceAnswer, asker: Asker) -> bool:
    """Return whether a client may know that a source was asked: one of an index that it may read."""
    return answer.index is None or asker.may_read(answer.index)


def _named(answer: SourceAnswer, index: str) -> SourceAnswer:
    """Name the index that was asked."""
    if answer.index is None and answer.kind is SourceKind.FOLDER and index:
        return replace(answer, name=f"index {index}", index=index)
    return answer


def _listed(file: File, found: Explanation, index: str) -> WhyLine:
    says = []
    if file.yanked is not None:
        says.append(sentence("It is yanked", file.yanked.reason))
    if file.filename in found.copies:
        says.append("It is opened as a copy that lies here.")
    return WhyLine(
        filename=file.filename,
        version=file.version,
        says=one_line(" ".join(says)),
        index=index if file.owner is None else file.owner,
        path=found.paths.get(file.filename, ""),
    )


def _hidden(file: HiddenFile, index: str) -> WhyLine:
    note = f" ({one_line(file.note)})" if file.note else ""
    return WhyLine(
        filename=file.filename,
        version=file.version,
        says=file.reason + note,
        index=index if file.index is None else file.index,
        path=file.path,
        hidden=file,
    )


def _status(found: Explanation) -> int:
    if found.error is not None:
        return found.error.status
    return 404 if found.page is None else 200


def _summary(found: Explanation, project: str, known: int) -> str:
    page = found.page
    if isinstance(found.error, Found):
        return found.error.message
    if found.error is not None:
        return f"There is no page of {project} now: {found.error.message}"
    if page is None:
        absence = "" if found.snapshot is None else found.snapshot.absence
        return f"There is no project {project} here. {absence}".rstrip()
    files = "1 known file" if known == 1 else f"{known} known files"
    status = "" if page.status.status is Status.ACTIVE else f" The project is {page.status.status.value}."
    return f"The page of {project} lists {len(found.files)} of {files}.{status}"
