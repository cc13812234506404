"""
Starts servers on a core of their own, and tells what a process and its children took.

Not for: what is started (`servers`, `peers`) or what is asked (`load`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.002
_SAMPLE_SECONDS = 5.0


class CannotStart(Exception):
    """A server that did not answer; the message is its own last line."""


@dataclass(frozen=True, slots=True)
class Cores:
    """
    The cores of servers and of clients: one each where there are two, so that neither takes the other's.

    Attributes:
        everything: All that this process may use.
        server: The server's.
        client: The load's.
    """

    everything: frozenset[int]
    server: frozenset[int]
    client: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Take the first core for servers and the last one for clients."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(frozenset(cores), frozenset(cores[:1]), frozenset(cores[-1:]))


@contextlib.contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """What is started in here stays on these cores: children inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def preferred(cores: frozenset[int], *processes: int) -> Iterator[None]:
    """
    Run processes on these cores whenever they have something to do, as if all others were elsewhere.

    Where that is not allowed they take their turns as the others do.
    """
    threads = [int(path.name) for pid in processes for path in Path(f"/proc/{pid}/task").iterdir()]
    before = {thread: os.sched_getaffinity(thread) for thread in threads}
    try:
        for thread in threads:
            os.sched_setaffinity(thread, cores)
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
        yield
    finally:
        for thread in threads:
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, before[thread])


class Process:
    """
    A server with all its children, in a session of its own.

    Args:
        command: What to run.
        log: Where its output goes.
        cores: Where it runs.
        environment: Instead of this process's.
        folder: Where it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cores: frozenset[int],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self.began = time.monotonic()
        with on(cores), log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd=folder,
            )

    def await_port(self, port: int, seconds: float = 60.0) -> None:
        """Wait until it listens."""
        deadline = self.began + seconds
        while time.monotonic() < deadline:
            if self._popen.poll() is not None:
                raise CannotStart(self.last_line())
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return
            time.sleep(_POLL_SECONDS)
        raise CannotStart(f"no port after {seconds:.0f} s: {self.last_line()}")

    def last_line(self) -> str:
        """Give the last line of its output that says anything."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it ended without a word")

    def members(self) -> list[int]:
        """Give the ids of all its processes: those of its session."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if int(entry.name) and os.getsid(int(entry.name)) == self._popen.pid:
                    found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> float:
        """Tell the seconds of CPU, user and system, that it has taken so far."""
        return sum(_cpu_seconds(pid) for pid in self.members())

    def resident_bytes(self) -> int:
        """Tell what it holds in memory; what processes share counts for each."""
        return sum(_resident(pid) for pid in self.members())

    def kill(self) -> None:
        """End it with no chance to do anything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> None:
        """End it: politely, and then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_STOP_SECONDS)


def watch(server: Process, until: float) -> Iterator[str]:
    """
    Look at what a server holds until a moment of the monotonic clock.

    Yields:
        A line for each half of that time: the most memory and the most descriptors in it.
    """
    samples: list[tuple[float, int]] = []
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(_SAMPLE_SECONDS, max(0.1, left)))
        descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.members())
        samples.append((server.resident_bytes() / 1e6, descriptors))
    half = len(samples) // 2
    for label, part in (("first half", samples[:half]), ("second half", samples[half:])):
        memory, seen = zip(*part, strict=True)
        yield f"{label}: {max(memory):.1f} MB resident, {max(seen)} descriptors at most"


def _cpu_seconds(pid: int) -> float:
    # stat counts whole ticks, and threads and children that have ended; schedstat counts nanoseconds of
    # the threads that live. The greater one is the better one.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own, children = (int(fields[n]) + int(fields[n + 1]) for n in (11, 13))
        threads = 0
        with contextlib.suppress(OSError):
            threads = sum(
                int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
            )
    except OSError:
        return 0.0
    return max(own * _TICK, threads / 1e9) + children * _TICK


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().split("\n"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
