"""What an upstream source has done so far, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Measures:
    """
    Counts since the start.

    Attributes:
        page_hits: Pages that were given without a request.
        page_misses: Pages that had to be fetched.
        page_revalidated: Pages that the upstream said are still so.
        page_stale: Old pages that were given since the upstream could not be asked.
        file_hits: Files and documents that were there.
        file_misses: Files and documents that had to be fetched.
        file_joined: Files that somebody else was fetching already.
        files_refused: Files that were not what was promised.
        bytes_from_upstream: Bytes of files that came.
        bytes_in_cache: Bytes that the files of the cache take, as far as is known.
    """

    page_hits: int = 0
    page_misses: int = 0
    page_revalidated: int = 0
    page_stale: int = 0
    file_hits: int = 0
    file_misses: int = 0
    file_joined: int = 0
    files_refused: int = 0
    bytes_from_upstream: int = 0
    bytes_in_cache: int = 0

    def as_numbers(self) -> dict[str, int]:
        """Give them by name."""
        return asdict(self)
