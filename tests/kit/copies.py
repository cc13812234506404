"""Files in a folder that are recorded as copies of another index's."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from twisted_index.backends.folder import copies
from twisted_index.simple.manifest import ManifestLine
from twisted_index.testing import BuiltFile

SINCE = datetime(2026, 11, 1, 10, tzinfo=UTC)
SOURCE = "https://index.example/files/"


def line_of(name: str, content: bytes) -> ManifestLine:
    """Make the line that records a file."""
    digest = hashlib.sha256(content).hexdigest()
    return ManifestLine(name=name, sha256=digest, size=len(content), time=SINCE, note=SOURCE + name)


def record(folder: Path, *lines: ManifestLine) -> None:
    """Record files in a project's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    copies.record(os.fsencode(folder.parent), os.fsencode(folder), lines)


def place(root: Path, *files: BuiltFile) -> None:
    """Place files as copies, each recorded before it is there."""
    for file in files:
        record(root / file.project, line_of(file.filename, file.content))
        file.write_to(root / file.project)


def place_beside(folder: Path, name: str, content: bytes) -> None:
    """Place a sidecar or a status as a copy."""
    record(folder, line_of(name, content))
    (folder / name).write_bytes(content)
