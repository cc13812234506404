"""
All that can be set, as one frozen value with its defaults.

Not for: reading options, environment or files (`tap`, `configuration`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What one client, or all of them, may take. Times in seconds, sizes in bytes.

    Attributes:
        header_timeout: From the first byte of a request to the end of its header (slowloris).
        idle_timeout: A kept-alive connection without a request.
        stall_timeout: A client that takes no byte of its answer for so long is dropped.
        answer_timeout: How long an answer waits for digests before it is 503 (pip gives up at 15).
        stop_timeout: How long running requests may take to finish when the server stops.
        max_connections: In all; None derives it from the limit of open files.
        max_uri: Of a request target, beyond it 414 (RFC 9110 asks for at least 8000).
        max_header: Of a whole request header, beyond it 431.
        threads: That read, hash and unpack.
    """

    header_timeout: float = 20.0
    idle_timeout: float = 60.0
    stall_timeout: float = 60.0
    answer_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_connections: int | None = None
    max_uri: int = 8192
    max_header: int = 16384
    threads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a server serves, where, and how.

    Attributes:
        paths: Absolute folders, read in order.
        listen: Twisted endpoint strings.
        rescan: Seconds after which the files of a page are looked at again for in-place rewrites.
        state: Absolute folder for the ledger and all that is kept; None keeps it in memory.
        logfile: Absolute path of the access log; None for no access log.
        add_headers: Header fields added to every answer.
        display_tracebacks: Show tracebacks to clients; for development.
        cors: Let web pages of other sites read the index.
        public_url: The URL that people are shown; None uses the address they came by.
        page_cache: Bytes of finished pages that are kept in memory.
        short_way: Whether plain requests may be answered without a Request object.
        limits: See Limits.
    """

    paths: tuple[str, ...] = (".",)
    listen: tuple[str, ...] = ("tcp:8080",)
    rescan: float = 2.0
    state: str | None = None
    logfile: str | None = None
    add_headers: tuple[tuple[bytes, bytes], ...] = ()
    display_tracebacks: bool = False
    cors: bool = False
    public_url: str | None = None
    page_cache: int = 64_000_000
    short_way: bool = True
    limits: Limits = Limits()
