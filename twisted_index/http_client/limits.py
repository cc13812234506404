"""Limits of an HTTP client: time-outs, retries, sizes, concurrency."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """
    Time-outs in seconds, retries, sizes in bytes, concurrency.

    Attributes:
        connect: Seconds for a connection.
        head: Seconds from the request to the end of the response head, including the TLS handshake.
        file_head: The same for a file: some indexes fetch it completely before they respond.
        idle: Seconds without a byte of the body.
        total: Seconds for a whole `call`, with all its tries. Far more than a large page takes over a slow
            link: a body that does not stall is not aborted.
        queue: Seconds in the queue for a request slot.
        file_queue: Seconds in the queue for a file slot.
        tries: Maximum of tries for one request.
        back_off: Seconds before the second try; doubled for each further try, plus up to half as jitter.
        retry_after: Longest Retry-After, in seconds, before a retry.
        max_body: Bytes of a body, both received and decoded. The largest pages, of projects with ten
            thousand files and more, have some ten million bytes; parsing takes ten times as much memory.
        parallel: Number of parallel requests.
        files: Number of parallel files; a single uv requests 50.
    """

    connect: float = 5.0
    head: float = 30.0
    file_head: float = 120.0
    idle: float = 20.0
    total: float = 1800.0
    queue: float = 10.0
    file_queue: float = 120.0
    tries: int = 3
    back_off: float = 0.25
    retry_after: float = 3.0
    max_body: int = 64 * 1024 * 1024
    parallel: int = 32
    files: int = 64
