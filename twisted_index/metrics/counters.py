"""
Counters of responses and uploads.

Plain numbers, since every request passes here; `exposition` turns them into metrics.
"""

from __future__ import annotations

import enum

from twisted_index.metrics.wanted import WantedProjects

#: Methods with a counter. Others share one, so that invented methods cannot fill memory.
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"})
_OTHER = b"other"


class Outcome(enum.Enum):
    """
    What became of an upload.

    ACCEPTED is a new file, UNCHANGED one of which the very same bytes were there already, REFUSED
    the client's fault (a status below 500) and FAILED ours.
    """

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    FAILED = "failed"


class Counters:
    """
    What a server counts while it answers: plain numbers, all of them in the reactor.

    Attributes:
        requests: By method and status.
        body_bytes: Of the bodies of answers, as far as they were sent.
        uploads: By outcome.
        upload_bytes: Of files that were accepted.
        wanted: What installers asked for and could not get.
    """

    __slots__ = ("body_bytes", "requests", "upload_bytes", "uploads", "wanted")

    def __init__(self) -> None:
        self.requests: dict[tuple[bytes, int], int] = {}
        self.body_bytes = 0
        self.uploads = dict.fromkeys(Outcome, 0)
        self.upload_bytes = 0
        self.wanted = WantedProjects()

    def count(self, method: bytes, status: int, sent: int) -> None:
        """
        Count an answered request. On the way of every one of them.

        Args:
            method: As the client wrote it.
            status: Of the answer.
            sent: Bytes of its body.
        """
        self.body_bytes += sent
        try:
            self.requests[method, status] += 1
        except KeyError:
            key = (method if method in _METHODS else _OTHER, status)
            self.requests[key] = self.requests.get(key, 0) + 1

    def count_upload(self, outcome: Outcome, size: int = 0) -> None:
        """
        Count an upload.

        Args:
            outcome: What became of it.
            size: Of the file in bytes; counts if it was accepted.
        """
        self.uploads[outcome] += 1
        if outcome is Outcome.ACCEPTED:
            self.upload_bytes += size
