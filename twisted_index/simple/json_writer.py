"""
The simple API in JSON (simple repository API specification; PEPs 691, 700, 714, 740, 792).

One wrong type in one file makes uv reject the whole page, so unknown values are left out instead of
written as null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted_index.simple.formatting import (
    API_VERSION,
    core_metadata,
    format_upload_time,
    offered_files,
    offered_versions,
    one_line,
    provenance_base_url,
    provenance_url,
    relative_url,
    yank_reason,
)
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_index.simple.model import File, ProjectList, ProjectPage, ProjectStatus

#: The media type of these pages (PEP 691).
JSON_CONTENT_TYPE = b"application/vnd.pypi.simple.v1+json"

# PEP 700 makes a size mandatory from 1.1 on.
_VERSION_WITHOUT_SIZES = "1.0"


def write_json_list(project_list: ProjectList) -> bytes:
    """Write the list of projects, with their serials as PyPI has them if they are known."""
    return _encode(
        {
            "meta": {**_serial(project_list.last_serial), "api-version": API_VERSION},
            "projects": [
                {**_serial(project_list.serials.get(name)), "name": name} for name in project_list.names
            ],
        }
    )


def _serial(serial: int | None) -> dict[str, int]:
    return {} if serial is None else {"_last-serial": serial}


def write_json_page(
    page: ProjectPage,
    *,
    public_url: str | None = None,
    file_url: Callable[[File], str] = relative_url,
) -> bytes:
    """
    Write the page of a project.

    Args:
        page: Its files are written in their order.
        public_url: URL of the index. Provenance of local files is written only if it is https.
        file_url: Returns the URL of a file, absolute or relative to the page; micropip needs absolute ones.
    """
    files = offered_files(page)
    provenance = provenance_base_url(page.name, public_url)
    return _encode(
        {
            "files": [_file(file, file_url(file), provenance) for file in files],
            "meta": {"api-version": _api_version(files)},
            "name": page.name,
            "project-status": _status(page.status),
            "versions": offered_versions(page),
        }
    )


def _api_version(files: Iterable[File]) -> str:
    return _VERSION_WITHOUT_SIZES if any(file.size is None for file in files) else API_VERSION


def _status(status: ProjectStatus) -> dict[str, str]:
    marker = {"status": status.status.value}
    reason = one_line(status.reason)
    return {**marker, "reason": reason} if reason else marker


def _file(file: File, url: str, provenance_of: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "hashes": _hashes(file.hashes.get("sha256")),
        "url": url,
    }
    # PEP 714 renamed `dist-info-metadata`, which is not written: pips of 2022 and 2023 crash on it.
    if (metadata := core_metadata(file)) is not None:
        entry["core-metadata"] = _hashes(metadata) or True
    if Sidecar.SIGNATURE in file.sidecars:
        entry["gpg-sig"] = True
    if (provenance := provenance_url(file, provenance_of)) is not None:
        entry["provenance"] = provenance
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.size is not None:
        entry["size"] = file.size
    if file.upload_time is not None:
        entry["upload-time"] = format_upload_time(file.upload_time)
    # PEP 592 allows an empty reason, which pip interprets as "not yanked" in JSON.
    if (reason := yank_reason(file)) is not None:
        entry["yanked"] = reason or True
    return entry


def _hashes(sha256: str | None) -> dict[str, str]:
    # No other algorithm: pip checks only the first, and aborts if hashlib does not have it.
    return {"sha256": sha256} if sha256 else {}


def _encode(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # A lone surrogate, from a file name that is not UTF-8, must not make the page fail.
    return text.encode("utf-8", "replace") + b"\n"
