"""
The server's own numbers: what it counts while it answers, and what it reads when it is asked.

Not for: how numbers are written (`exposition`), or the numbers of sources, caches and stores, which
tell them by themselves (`exposition.HasMetrics`).
"""

from __future__ import annotations

import enum
import os
import platform
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.exposition import Sample, counter, gauge, write_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_index.exposition import Metric

_log = Logger()

#: Methods that are told apart. A client may invent as many as it likes, and is not to fill memory.
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
    """

    __slots__ = ("body_bytes", "requests", "upload_bytes", "uploads")

    def __init__(self) -> None:
        self.requests: dict[tuple[bytes, int], int] = {}
        self.body_bytes = 0
        self.uploads = dict.fromkeys(Outcome, 0)
        self.upload_bytes = 0

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

    def metrics(self) -> tuple[Metric, ...]:
        """See `HasMetrics`."""
        return (
            counter(
                "twisted_index_http_requests_total",
                "Requests that were answered.",
                *(
                    Sample(number, (("method", method.decode("ascii")), ("status", str(status))))
                    for (method, status), number in sorted(self.requests.items())
                ),
            ),
            counter(
                "twisted_index_http_response_bytes_total",
                "Bytes of the bodies of answers that were sent.",
                Sample(self.body_bytes),
            ),
            counter(
                "twisted_index_uploads_total",
                "Uploads, by what became of them.",
                *(Sample(number, (("outcome", outcome.value),)) for outcome, number in self.uploads.items()),
            ),
            counter(
                "twisted_index_upload_bytes_total",
                "Bytes of uploaded files that were accepted.",
                Sample(self.upload_bytes),
            ),
        )


def index_metrics(*, connections: int, projects: int | None) -> tuple[Metric, ...]:
    """
    Say how things are at this moment.

    Args:
        connections: That are open.
        projects: In the project list; None, and then it is left out, if that cannot be told now.
    """
    found = [gauge("twisted_index_http_connections", "Connections that are open.", Sample(connections))]
    if projects is not None:
        found.append(gauge("twisted_index_projects", "Projects in the project list.", Sample(projects)))
    return tuple(found)


def build_metrics() -> tuple[Metric, ...]:
    """Say which versions run."""
    labels = (
        ("version", _version("twisted-index")),
        ("twisted", _version("twisted")),
        ("python", platform.python_version()),
    )
    return (gauge("twisted_index_build_info", "Which versions run; always 1.", Sample(1, labels)),)


def _version(distribution: str) -> str:
    # Not at the top: few servers are ever asked.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


#: Where each number stands after the name of the program, which is in parentheses and may hold
#: anything (proc(5), /proc/PID/stat; its fields 14, 15, 22, 23 and 24).
_USER, _SYSTEM, _STARTED, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21


def process_metrics(proc: str = "/proc") -> tuple[Metric, ...]:
    """
    Read what the system knows of this process, under the names that all client libraries use.

    Args:
        proc: Where the proc file system is mounted; without one there are no such numbers.
    """
    found: list[Metric] = []
    for read in (_read_start, _read_use, _read_descriptors):
        try:
            found.extend(read(proc))
        except (OSError, ValueError, IndexError):
            continue
    return tuple(found)


def _read_start(proc: str) -> tuple[Metric, ...]:
    booted = int(_read(f"{proc}/stat").partition(b"\nbtime ")[2].split()[0])
    started = booted + int(_fields(proc)[_STARTED]) / os.sysconf("SC_CLK_TCK")
    text = "When the process began, in seconds since 1970."
    return (gauge("process_start_time_seconds", text, Sample(started)),)


def _read_use(proc: str) -> tuple[Metric, ...]:
    fields = _fields(proc)
    seconds = (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")
    resident = int(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")
    return (
        counter("process_cpu_seconds_total", "Time of the processor that was used.", Sample(seconds)),
        gauge("process_resident_memory_bytes", "Memory that is in use.", Sample(resident)),
        gauge("process_virtual_memory_bytes", "Memory that is reserved.", Sample(int(fields[_VIRTUAL]))),
    )


def _fields(proc: str) -> list[bytes]:
    return _read(f"{proc}/self/stat").rpartition(b")")[2].split()


def _read_descriptors(proc: str) -> tuple[Metric, ...]:
    # The listing itself takes one.
    number = len(os.listdir(f"{proc}/self/fd")) - 1
    most = _read(f"{proc}/self/limits").partition(b"Max open files")[2].split()[0]
    limit = float("inf") if most == b"unlimited" else int(most)
    return (
        gauge("process_open_fds", "Descriptors that are open.", Sample(number)),
        gauge("process_max_fds", "Descriptors that may be open.", Sample(limit)),
    )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_all(parts: Iterable[Callable[[], Iterable[Metric]]]) -> bytes:
    """
    Write the numbers of all parts.

    Args:
        parts: Asked in this order. One that fails is left out and logged; the others count on.
    """
    found: list[Metric] = []
    for part in parts:
        try:
            found.extend(part())
        except Exception:
            _log.failure("Some numbers could not be told")
    return write_metrics(found)
