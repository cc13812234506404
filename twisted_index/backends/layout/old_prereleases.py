"""Which files `keep-prereleases` no longer keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.simple.names import is_prerelease, public_version
from twisted_index.simple.retention import StoredFile, superseded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.simple.model import File


def find_old_prereleases(files: Sequence[File], keep: int, uploaded: str) -> list[StoredFile]:
    """
    Return the files of old pre-releases. For a thread, as a page may have thousands of files.

    Args:
        files: Those of the project.
        keep: How many pre-releases to keep.
        uploaded: The version that was just uploaded, which stays.
    """
    release = public_version(uploaded)
    prereleases = [
        StoredFile(
            filename=file.filename,
            version=file.version,
            uploaded=0.0 if file.upload_time is None else file.upload_time.timestamp(),
            yanked=file.yanked is not None,
        )
        for file in files
        if is_prerelease(file.version)
    ]
    old = superseded(prereleases, keep, latest_uploads=True)
    return [file for file in old if public_version(file.version) != release]
