"""Limits of an HTTP client: time-outs, retries, sizes, concurrency."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """
    Time-outs in seconds, retries, sizes in bytes, concurrency.

    Attributes:
        connect: For a connection.
        head: From the request to the end of the response's head, with the TLS handshake.
        file_head: The same for a file: some indexes fetch all of it before they begin to answer.
        idle: Without a byte of the body.
        total: For a whole `call`, with all its tries. Far more than a large page takes over a slow
            link: what does not pause is not given up.
        queue: For a place among the requests that may run.
        file_queue: For a place among the files that come.
        tries: Of one request.
        back_off: Before the second try; twice as long before the next, and up to half of it more.
        retry_after: Longest Retry-After that is waited for.
        max_body: Of a body, as it comes and decoded. The largest pages in the field, of projects
            with ten thousand files and more, have some ten million bytes; and Python makes ten
            times as much of a page while it is read.
        parallel: Requests at once.
        files: Files at once; one uv alone asks for 50.
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
