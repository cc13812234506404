"""What a release is to be, and what of it is there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.github.model import Asset, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """
    A file to attach to a release.

    Attributes:
        name: The name of the asset.
        size: In bytes.
        sha256: Lower-case hex digest.
        open: Opens it anew.
    """

    name: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms:
    """
    What a release is to be, besides its files. What is None or False stays as the server has it.

    Attributes:
        tag: Its tag.
        title: Its name.
        notes: Its text, in Markdown.
        is_prerelease: Whether it is marked as a pre-release.
        target: The branch or commit of which the server makes the tag, if that is not there.
    """

    tag: str
    title: str | None = None
    notes: str | None = None
    is_prerelease: bool = False
    target: str | None = None

    def as_json(self, *, is_draft: bool) -> dict[str, Any]:
        """Return the document that the API takes."""
        given = {"name": self.title, "body": self.notes, "target_commitish": self.target}
        return {
            "tag_name": self.tag,
            "draft": is_draft,
            **({"prerelease": True} if self.is_prerelease else {}),
            **{name: value for name, value in given.items() if value is not None},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """
    What a release has for a file.

    Attributes:
        file: The file.
        same: The asset that is this file; None if it has to be uploaded.
        others: What else is in its place: incomplete assets, and other content.
    """

    file: OutgoingFile
    same: Asset | None
    others: tuple[Asset, ...]

    @property
    def assets(self) -> tuple[Asset, ...]:
        """All of them."""
        return (*self.others, self.same) if self.same is not None else self.others

    @property
    def step(self) -> str:
        """What is done: keep, replace or upload."""
        return "keep" if self.same is not None else "replace" if self.others else "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlan:
    """
    What is to be done.

    Attributes:
        release: The draft, or the published release; None if there is none.
        files: What it has for each file.
        foreign: Names of its other assets, which stay.
    """

    release: Release | None
    files: tuple[FilePlan, ...]
    foreign: tuple[str, ...] = ()

    @property
    def is_published(self) -> bool:
        """Whether the release is published."""
        return self.release is not None and not self.release.is_draft

    @property
    def lacking(self) -> str:
        """What separates it from the files, as a clause; empty if nothing does."""
        absent = [one.file.name for one in self.files if one.step == "upload"]
        other = [one.file.name for one in self.files if one.step == "replace"]
        clauses = [f"lacks {_listed(absent)}"] if absent else []
        clauses += [f"has other content as {_listed(other)}"] if other else []
        return " and ".join(clauses)


def _listed(names: list[str]) -> str:
    """Join names, but for too many."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
