"""The `.copies` file of a project's folder: which of its entries are copies of an index. Blocking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted_index.files.anonymous_file import remove, sync_folder, write_atomically
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COPIES = b".copies"


def read(folder: bytes) -> Mapping[str, ManifestLine]:
    """Return the lines by name."""
    try:
        with open(os.path.join(folder, COPIES), "rb") as file:
            lines = file.read().decode().splitlines()
    except FileNotFoundError:
        return {}
    return {line.name: line for line in map(_parse, lines)}


def record(root: bytes, folder: bytes, lines: Iterable[ManifestLine]) -> None:
    """Add lines, or replace those of the same names."""
    _write(root, folder, {**read(folder), **{line.name: line for line in lines}})


def forget(root: bytes, folder: bytes, names: Iterable[str]) -> None:
    """Remove lines."""
    known, names = read(folder), set(names)
    if names & known.keys():
        _write(root, folder, {name: line for name, line in known.items() if name not in names})


def _write(root: bytes, folder: bytes, lines: Mapping[str, ManifestLine]) -> None:
    path = os.path.join(folder, COPIES)
    if not lines:
        remove(path)
        sync_folder(folder)
        return
    write_atomically(root, path, b"".join(_format(lines[name]) for name in sorted(lines)))


def _format(line: ManifestLine) -> bytes:
    time = format_upload_time(line.time.replace(microsecond=0))
    return (
        "  ".join((line.sha256 or "-", str(line.size), time, line.name, line.note)).rstrip().encode() + b"\n"
    )


def _parse(text: str) -> ManifestLine:
    sha256, size, written, name, *note = text.split(None, 4)
    time = parse_timestamp(written)
    assert time is not None
    return ManifestLine(name=name, sha256=sha256, size=int(size), time=time, note="".join(note))
