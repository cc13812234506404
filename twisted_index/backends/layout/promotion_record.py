"""
What a promotion has written down for the case that it is cut off, and what it has done. Pure.

The same in a folder and in a bucket: `.staged/ID/promotion.json`, beside `.staged/ID.list`, which hides the
files that it names, one name a line.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from twisted_index.backends.layout.entries import YANKED
from twisted_index.backends.layout.facts import FileFacts
from twisted_index.interfaces import AuditAction, AuditEvent, PromotedFile, PromotionOutcome
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import (
    InvalidFilename,
    is_valid_name,
    normalize,
    parse_filename,
    version_sort_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_SIDECARS = (Sidecar.SIGNATURE.value, Sidecar.PROVENANCE.value, YANKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """
    A file that is promoted.

    Attributes:
        project: Normalized.
        name: The file name.
        sha256: Lower-case hex digest.
        size: Bytes.
        metadata_sha256: See `FileFacts`.
        requires_python: See `FileFacts`.
        folder: The folder in the target's root that it goes to; empty for the root itself.
        sidecars: The suffixes of what comes along.
        deleted: The lines by which the same bytes were deleted, which go when the file comes.
        origin: The folder in the source's root that a moved file lies in, empty for the root itself; None
            if the file is copied.
    """

    project: str
    name: str
    sha256: str
    size: int
    metadata_sha256: str | None
    requires_python: str | None
    folder: str
    sidecars: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    origin: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the file and of what comes along, the file last."""
        return (*(self.name + suffix for suffix in self.sidecars), self.name)

    @property
    def facts(self) -> FileFacts:
        """What its inspection found."""
        return FileFacts(
            sha256=self.sha256, metadata_sha256=self.metadata_sha256, requires_python=self.requires_python
        )

    def is_sound(self) -> bool:
        """Return whether its names are those of one file of the project: they say what is removed."""
        try:
            distribution = parse_filename(self.name, self.project)
        except InvalidFilename:
            return False
        folders = [folder for folder in (self.folder, self.origin) if folder]
        return (
            distribution.project == self.project
            and set(self.sidecars) <= set(_SIDECARS)
            and all(is_valid_name(folder) and normalize(folder) == self.project for folder in folders)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRecord:
    """
    What a promotion has written down.

    Attributes:
        id: Its name in `.staged/`.
        source: The index that the files come from.
        target: The index that they go to.
        releases: As `PROJECT==VERSION`.
        by: Who has begun it.
        yanked: See `PromotionRequest`.
        move: See `PromotionRequest`.
        moment: Nanoseconds since 1970, at which all files are published; None until they may be placed.
        files: Those that are placed; none until then.
    """

    id: str
    source: str
    target: str
    releases: tuple[str, ...]
    by: str
    yanked: bool = False
    move: bool = False
    moment: int | None = None
    files: tuple[StagedFile, ...] = ()

    def is_sound(self) -> bool:
        """Return whether its files are those of its releases: no others were held against the rules."""
        releases = {_release(*release.partition("==")[::2]) for release in self.releases}
        distributions = (parse_filename(file.name, file.project) for file in self.files)
        return all(_release(each.project, each.version) in releases for each in distributions)

    def to_bytes(self) -> bytes:
        """Format it as JSON."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, text: bytes) -> PromotionRecord:
        """
        Parse it.

        Raises:
            ValueError: It is none, or speaks of what is no file of a project.
        """
        try:
            cells = json.loads(text)
            files = tuple(StagedFile(**_tuples(StagedFile, each)) for each in cells.pop("files"))
            record = cls(**_tuples(cls, cells), files=files)
            is_sound = (
                _is_typed_record(record)
                and all(_is_typed(each) and each.is_sound() for each in files)
                and record.is_sound()
            )
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError("It is no record of a promotion.") from error
        if not is_sound:
            raise ValueError("It is no record of a promotion.")
        return record


def _release(project: str, version: str) -> tuple[str, object]:
    return normalize(project), version_sort_key(version)


def _tuples(cls: type, cells: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(cls)}
    if not cells.keys() <= known:
        raise TypeError
    return {name: tuple(value) if isinstance(value, list) else value for name, value in cells.items()}


def _is_typed_record(record: PromotionRecord) -> bool:
    strings = (record.id, record.source, record.target, record.by, *record.releases)
    return all(isinstance(text, str) for text in strings) and (
        # What a file can have as its time.
        record.moment is None or (isinstance(record.moment, int) and 0 < record.moment < 1 << 63)
    )


def _is_typed(file: StagedFile) -> bool:
    texts = (file.project, file.name, file.sha256, file.folder, *file.sidecars, *file.deleted)
    maybe = (file.metadata_sha256, file.requires_python, file.origin)
    return (
        all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in maybe)
        and isinstance(file.size, int)
        and is_valid_name(file.project)
        and normalize(file.project) == file.project
    )


def new_id() -> str:
    """Return an ID that sorts by time and is used only once."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionResult:
    """
    What a promotion has done.

    Attributes:
        id: The promotion.
        published: The files that are new in the target.
        present: The names of those that were there already, with the same bytes.
    """

    id: str
    published: tuple[StagedFile, ...] = ()
    present: tuple[str, ...] = ()

    @property
    def outcome(self) -> PromotionOutcome:
        """What is said of it."""
        published = tuple(
            PromotedFile(project=file.project, filename=file.name, sha256=file.sha256, size=file.size)
            for file in self.published
        )
        return PromotionOutcome(id=self.id, published=published, present=self.present)


def promotion_events(
    result: PromotionResult, *, by: str, source: str, index: str, now: datetime
) -> Iterator[AuditEvent]:
    """
    Yield the audit event of each file that has come.

    Args:
        result: What was done.
        by: Who has promoted.
        source: What to call the index that they come from.
        index: The name of the one that they went to.
        now: Aware.
    """
    for file in result.published:
        yield AuditEvent(
            time=now,
            by=by,
            action=AuditAction.PROMOTE,
            project=file.project,
            filename=file.name,
            detail=f"sha256={file.sha256} from {source}, promotion {result.id}",
            index=index,
        )
