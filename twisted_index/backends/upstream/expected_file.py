"""What a downloaded file must be: the upstream's promises, and plausibility checks without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.backends.upstream.download_buffer import ALGORITHMS
from twisted_index.http_client.agent import is_archive_coding
from twisted_index.simple.archives.limits import MAX_UNPACKED
from twisted_index.simple.core_metadata import BadArchive, check_archive

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """
    What a file has to be.

    Attributes:
        filename: For the log.
        upstream: Whose it is, likewise.
        size: In bytes; None if unknown.
        hashes: Algorithm to lower-case hex digest.
    """

    filename: str
    upstream: str
    size: int | None
    hashes: Mapping[str, str]

    @property
    def is_promised(self) -> bool:
        """Whether there is a digest that proves it."""
        return not ALGORITHMS.isdisjoint(self.hashes)

    def accepts_coding(self, coding: str) -> bool:
        """
        Say whether it may arrive with an unrequested content coding, which is not decoded.

        Bytes that are promised are right whatever they are called. Of others the name tells: web servers
        call archives coded that they send as they are, `.tar.gz` is gzip to them.
        """
        return not coding or self.is_promised or is_archive_coding(coding, self.filename)

    def looks_like_html(self, begin: bytes) -> bool:
        """
        Say whether a page has come instead, as front ends send it under any name.

        Only where nothing else tells: what comes first is pinned.
        """
        return not self.is_promised and begins_like_html(begin)

    def is_complete(self, descriptor: int) -> bool:
        """Say whether a file is a whole archive of the kind that its name says, and close it. Blocks."""
        with open(descriptor, "rb") as file:
            try:
                check_archive(file, self.filename, MAX_UNPACKED)
            except BadArchive:
                return False
        return True


def begins_like_html(begin: bytes) -> bool:
    """Tell by its first bytes whether a page has come; no archive, signature or JSON begins like one."""
    return begin.lstrip()[:1] == b"<"
