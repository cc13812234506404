"""
Counters of responses and uploads.

Plain numbers, since every request passes here; `exposition` turns them into metrics.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from typing import Literal, TypeAlias, get_args

from twisted_index.metrics.wanted import WantedProjects

#: Methods with a counter. Others share one, so that invented methods cannot fill memory.
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"})
_OTHER = b"other"

#: What a request is for. Plain strings, whose hash Python caches.
Kind: TypeAlias = Literal["page", "list", "file", "upload", "upstream", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Upper bounds of durations in seconds, for a histogram.
BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


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
        requests: By method, status and kind; the kind is empty for what was refused before its header
            was complete.
        durations: For each kind the numbers of requests between the `BOUNDS`. The fast path measures
            nothing: what is in `requests` only came from there.
        seconds: For each kind the sum of these durations.
        body_bytes: Of the bodies of answers, as far as they were sent.
        uploads: By outcome.
        upload_bytes: Of files that were accepted.
        wanted: What installers asked for and could not get.
    """

    __slots__ = ("body_bytes", "durations", "requests", "seconds", "upload_bytes", "uploads", "wanted")

    def __init__(self) -> None:
        self.requests: dict[tuple[bytes, int, Kind | Literal[""]], int] = {}
        self.durations: dict[Kind, list[int]] = {kind: [0] * (len(BOUNDS) + 1) for kind in KINDS}
        self.seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self.body_bytes = 0
        self.uploads = dict.fromkeys(Outcome, 0)
        self.upload_bytes = 0
        self.wanted = WantedProjects()

    def count(self, method: bytes, status: int, sent: int, kind: Kind | Literal[""]) -> None:
        """
        Count an answered request. On the way of every one of them.

        Args:
            method: As the client wrote it.
            status: Of the answer.
            sent: Bytes of its body.
            kind: See the attribute.
        """
        self.body_bytes += sent
        try:
            self.requests[method, status, kind] += 1
        except KeyError:
            key = (method if method in _METHODS else _OTHER, status, kind)
            self.requests[key] = self.requests.get(key, 0) + 1

    def measure(self, kind: Kind, seconds: float) -> None:
        """Count the duration of a request that is in `requests` too."""
        self.durations[kind][bisect_left(BOUNDS, seconds)] += 1
        self.seconds[kind] += seconds

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
