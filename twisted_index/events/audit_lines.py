"""The lines of the audit log, one JSON object per event: written, parsed, and read from the end of a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from twisted_index.interfaces import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 16
#: Bytes of a line, so that what is no event does not fill the memory.
_MAX_LINE = 1 << 20
_FIELDS = ("time", "by", "action", "project", "filename", "detail")
#: What a line has only where it is not empty.
_RARE_FIELDS = ("index", "address", "client")
#: How each line starts; the time follows, in UTC.
LINE_START = b'{"time": "'


def write_event(event: AuditEvent) -> bytes:
    """Write an event as one line of JSON."""
    values = {name: getattr(event, name) for name in _FIELDS}
    values |= {name: value for name in _RARE_FIELDS if (value := getattr(event, name))}
    values["time"] = event.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(values).encode() + b"\n"


def parse_event(line: bytes) -> AuditEvent | None:
    """Read a line; None if it is no whole event."""
    try:
        values = json.loads(line)
        time = datetime.fromisoformat(values["time"])
        texts = {name: str(values.get(name, "")) for name in (*_FIELDS[1:], *_RARE_FIELDS)}
        return AuditEvent(time=time.astimezone(UTC), **texts) if time.tzinfo is not None else None
    # Whatever a torn line may have become: no JSON, no mapping, no time.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def blocks_from_end(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield a file in blocks of whole lines with their offsets, the last one first.

    Args:
        file: Open for reading.
        end: The end of the last line, in bytes from the start.
    """
    position, rest = end, b""
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size) + rest
        # The first line may begin in the block before.
        cut = block.find(b"\n") + 1 if position else 0
        if position and not cut:
            rest = block if len(block) <= _MAX_LINE else b""
            continue
        rest = block[:cut]
        yield position + cut, block[cut:]
