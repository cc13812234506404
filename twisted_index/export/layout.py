"""What an export is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_index.export.files_url import IFilesUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLayout:
    """
    What is written into an export.

    Attributes:
        json_only: Whether the directory URLs are JSON pages, and there are no others.
        files_url: Where the files are; None for beside the pages.
        public_url: URL of the exported index, for links that have to be absolute; None if it is unknown.
        links: Whether files are symbolic links to those of the folders.
    """

    json_only: bool = False
    files_url: IFilesUrl | None = None
    public_url: str | None = None
    links: bool = False

    @property
    def has_files(self) -> bool:
        """Whether the files are beside the pages."""
        return self.files_url is None
