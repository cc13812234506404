"""The reason of a yank or a status, as its file has it."""

from __future__ import annotations

#: Bytes of a reason to write; just below what `project_scan` reads.
_MAX_REASON = 4000


def format_reason(reason: str) -> bytes:
    """Format the reason of a yank or a status as the one line of its file."""
    line = " ".join(reason.split()).encode("utf-8", "replace")[:_MAX_REASON]
    return line.decode("utf-8", "ignore").encode() + b"\n"
