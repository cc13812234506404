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
    The promised properties of a file.

    Attributes:
        filename: Also tells the archive format.
        upstream: URL of the upstream, for the log.
        size: In bytes; None if unknown.
        hashes: Algorithm to lower-case hex digest.
    """

    filename: str
    upstream: str
    size: int | None
    hashes: Mapping[str, str]

    @property
    def is_promised(self) -> bool:
        """Whether the upstream promised a digest that this server can verify."""
        return not ALGORITHMS.isdisjoint(self.hashes)

    def accepts_coding(self, coding: str) -> bool:
        """
        Return whether the response may have an unrequested content coding, which is not decoded.

        A promised digest decides by itself. Otherwise the file name does: web servers label archives with
        a coding although they send them as they are; a `.tar.gz` is gzip to them.
        """
        return not coding or self.is_promised or is_archive_coding(coding, self.filename)

    def looks_like_html(self, begin: bytes) -> bool:
        """
        Return whether the body is an HTML page instead, as front ends send it for any URL.

        Only without a promised digest: the first download is pinned.
        """
        return not self.is_promised and begins_like_html(begin)

    def is_complete(self, descriptor: int) -> bool:
        """Return whether a file is a whole archive of the type in its name; closes it. Blocks."""
        with open(descriptor, "rb") as file:
            try:
                check_archive(file, self.filename, MAX_UNPACKED)
            except BadArchive:
                return False
        return True


def begins_like_html(begin: bytes) -> bool:
    """Tell HTML by its first bytes; no archive, signature or JSON begins with `<`."""
    return begin.lstrip()[:1] == b"<"
