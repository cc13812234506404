"""
The simple API in JSON, read from another index (PEPs 691, 700, 714, 740, 792).

The counterpart of `json_writer`. An invalid value costs that value or that file, never the page: the
clients of this index could not repair it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted_index.simple.model import ProjectStatus, Yanked
from twisted_index.simple.parsed import (
    MAX_FILES,
    InvalidPage,
    ParsedFile,
    ParsedPage,
    check_api_version,
    parse_https_url,
    parse_project_status,
    parse_reason,
    parse_size,
    parse_specifiers,
    parse_timestamp,
    valid_digests,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# PEP 714 renamed the key; the third is a mistake of PyPI that pulp repeats.
_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")


def parse_json_page(body: bytes) -> ParsedPage:
    """
    Parse a project page.

    Args:
        body: The whole page; its size is bounded by the caller.

    Raises:
        InvalidPage: The page is not JSON, or has no list of files.
    """
    page = _parse(body)
    meta = page.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    check_api_version(meta.get("api-version"))
    files = page.get("files")
    if not isinstance(files, list):
        raise InvalidPage("it has no list of files")
    if len(files) > MAX_FILES:
        raise InvalidPage("it lists more files than any project has")
    versions = page.get("versions")
    versions = versions if isinstance(versions, list) else []
    return ParsedPage(
        files=tuple(file for entry in files if (file := _file(entry)) is not None),
        versions=tuple(version for version in versions[:MAX_FILES] if isinstance(version, str)),
        status=_status(page, meta),
    )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        page = json.loads(body)
    # Invalid UTF-8 is a ValueError too; thousands of nested brackets raise RecursionError.
    except (ValueError, MemoryError, RecursionError):
        raise InvalidPage("it is not JSON") from None
    if not isinstance(page, dict):
        raise InvalidPage("it is not a JSON object")
    return page


def _status(page: Mapping[str, Any], meta: Mapping[str, Any]) -> ProjectStatus:
    value = page.get("project-status")
    if isinstance(value, dict):
        return parse_project_status(value.get("status"), value.get("reason"))
    # The specification contradicts itself: in its example the two are strings in `meta`.
    return parse_project_status(meta.get("project-status"), meta.get("project-status-reason"))


def _file(entry: object) -> ParsedFile | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        return None
    name = entry.get("filename")
    return ParsedFile(
        url=entry["url"],
        name=name if isinstance(name, str) else None,
        hashes=_hashes(entry.get("hashes")),
        size=parse_size(entry.get("size")),
        upload_time=parse_timestamp(entry.get("upload-time")),
        requires_python=parse_specifiers(entry.get("requires-python")),
        core_metadata=_core_metadata(entry),
        yanked=_yanked(entry.get("yanked")),
        signed=entry.get("gpg-sig") is True,
        provenance_url=parse_https_url(entry.get("provenance")),
    )


def _hashes(value: object) -> dict[str, str]:
    return valid_digests(value.items()) if isinstance(value, dict) else {}


def _core_metadata(entry: Mapping[str, Any]) -> dict[str, str] | None:
    for key in _METADATA_KEYS:
        value = entry.get(key)
        if isinstance(value, dict):
            return valid_digests(value.items())
        if isinstance(value, bool):
            return {} if value else None
    return None


def _yanked(value: object) -> Yanked | None:
    # PEP 691: the value counts by its truth, so an empty reason means not yanked.
    if value is True or (isinstance(value, str) and value):
        return Yanked(reason=parse_reason(value))
    return None
