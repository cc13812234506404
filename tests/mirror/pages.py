"""Pages of a source, in one line each."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.simple.model import File, Yanked
from twisted_index.simple.names import parse_filename

#: The time of the tests, in seconds since the epoch, and a day.
NOW, DAY = 1_700_000_000.0, 86_400.0


def remote(
    filename: str,
    project: str = "demo",
    *,
    size: int | None = 1000,
    age: float | None = 365 * DAY,
    requires_python: str | None = None,
    yanked: bool = False,
) -> RemoteFile:
    """Make a file of a page; `age` is in seconds, None without an upload time."""
    digest = hashlib.sha256(filename.encode()).hexdigest()
    return RemoteFile(
        file=File(
            filename=filename,
            version=parse_filename(filename, project).version,
            hashes={"sha256": digest},
            size=size,
            upload_time=None if age is None else datetime.fromtimestamp(NOW - age, UTC),
            requires_python=requires_python,
            yanked=Yanked(reason="broken") if yanked else None,
        ),
        url=f"https://files.example/{filename}",
    )


def page(*files: RemoteFile | str, project: str = "demo") -> RemotePage:
    """Make a page; a version stands for a wheel of pure Python."""
    return RemotePage(
        project=project,
        files=tuple(
            file if isinstance(file, RemoteFile) else remote(f"{project}-{file}-py3-none-any.whl", project)
            for file in files
        ),
    )
