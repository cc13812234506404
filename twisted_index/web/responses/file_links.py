"""Where pages link files: at the index that owns them, so that a link outlives the page. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted_index.indexes.scope import Scope
from twisted_index.simple.formatting import quote_filename
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.simple.model import File, ProjectPage


@dataclass(frozen=True, slots=True)
class FileLinks:
    """
    The URLs of files, absolute or relative to one page.

    Attributes:
        own: The URL of the index that the page belongs to, with its slash.
        root: The same of the index without a name, below which the others are.
        folder: Below which each index has its files.
    """

    own: str
    root: str
    folder: str = "simple"

    def of(self, project: str, *, beside: bool = False) -> Callable[[File], str]:
        """
        Return what gives the URL of each file of a project.

        Args:
            project: A normalized name.
            beside: Whether the page lies where the index has the files of the project: then those that no
                other index owns are linked by their names alone.
        """
        below = f"{self.folder}/{project}/"
        own = "" if beside else self.own + below

        def url_of(file: File) -> str:
            owner = file.owner
            folder = own if owner is None else f"{self.root}{Scope(index=owner).path}{below}"
            return folder + quote_filename(file.filename)

        return url_of


def has_other_owners(page: ProjectPage) -> bool:
    """Return whether a page links any file at another index."""
    return any(file.owner is not None for file in page.files)


def with_provenance_at_owners(page: ProjectPage, links: FileLinks) -> ProjectPage:
    """
    Give the files of other indexes the URLs of their provenance there; the writers know that of the own ones.

    Args:
        page: Of a project.
        links: Absolute.
    """
    url_of = links.of(page.name)
    files = tuple(
        replace(file, provenance_url=url_of(file) + Sidecar.PROVENANCE.value)
        if file.owner is not None and file.provenance_url is None and Sidecar.PROVENANCE in file.sidecars
        else file
        for file in page.files
    )
    return replace(page, files=files)
