"""
A project in the legacy JSON API of PyPI, which scripts, bandersnatch and poetry use.

It was never specified; the keys are those of PyPI. All keys are always present, null if unknown; only
unknown digests are left out. Pure.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from twisted_index.simple.formatting import (
    core_metadata,
    offered_files,
    offered_versions,
    relative_url,
    yank_reason,
)
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import (
    DistributionType,
    InvalidFilename,
    canonical_version,
    normalize,
    parse_filename,
    version_sort_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_index.simple._versions import VersionKey
    from twisted_index.simple.model import File, ProjectPage

#: The media type of these documents.
LEGACY_CONTENT_TYPE = b"application/json"

#: The body for a missing project or release: PyPI's, since clients compare it.
NOT_FOUND = b'{"message": "Not Found"}\n'

#: Downloads are not counted; PyPI sends the same value since it does not count either.
_NOT_COUNTED = -1
_DOWNLOADS = {"last_day": _NOT_COUNTED, "last_month": _NOT_COUNTED, "last_week": _NOT_COUNTED}
#: Fields of `info` from single-line fields of the core metadata, by their names in `packaging`.
_LINES = (
    "author",
    "author_email",
    "description_content_type",
    "download_url",
    "home_page",
    "license",
    "license_expression",
    "maintainer",
    "maintainer_email",
    "requires_python",
    "summary",
)
#: Fields of `info` from repeated fields.
_LISTS = ("dynamic", "license_files", "provides_extra", "requires_dist")


def latest_version(page: ProjectPage) -> str | None:
    """
    Choose the release that represents a project, like PyPI.

    Releases that are not yanked are preferred, then final ones, then the highest.

    Returns:
        The version as the page spells it; None if no file is offered.
    """
    releases = {files[0].version: files for files in _releases(page).values()}
    return max(releases, key=lambda version: _rank(version, releases[version]), default=None)


def _rank(version: str, files: list[File]) -> tuple[bool, bool, bool, VersionKey]:
    key = version_sort_key(version)
    is_valid = isinstance(key, Version)
    is_final = isinstance(key, Version) and not key.is_prerelease
    # Invalid versions rank below all valid ones, though `version_sort_key` sorts them last.
    return (not _all_yanked(files), is_final, is_valid, key)


def latest_releases(page: ProjectPage, limit: int) -> list[tuple[str, datetime]]:
    """
    Return the releases that came last, each with the time of its newest file, the latest first.

    Yanked files do not count, nor do those whose time is not known.
    """
    found: list[tuple[datetime, str]] = []
    for files in _releases(page).values():
        times = [file.upload_time for file in files if file.upload_time is not None and file.yanked is None]
        if times:
            found.append((max(times), files[0].version))
    return [(version, time) for time, version in sorted(found, reverse=True)[:limit]]


def find_version(page: ProjectPage, version: str) -> str | None:
    """
    Find a version in any of its spellings (PEP 440 compares them).

    Returns:
        The version as the page spells it; None if the project has no such version.
    """
    canonical = canonical_version(version)
    return next((item for item in offered_versions(page) if canonical_version(item) == canonical), None)


def _version_files(page: ProjectPage, version: str) -> list[File]:
    """Return the files of a version, in any of its spellings."""
    return _releases(page).get(canonical_version(version), [])


def _releases(page: ProjectPage) -> dict[str, list[File]]:
    """Group the files by release, however their versions are spelled."""
    releases: dict[str, list[File]] = {}
    for file in offered_files(page):
        releases.setdefault(canonical_version(file.version), []).append(file)
    return releases


def _all_yanked(files: list[File]) -> bool:
    return bool(files) and all(file.yanked is not None for file in files)


def metadata_file(page: ProjectPage, version: str) -> File | None:
    """Return the file whose core metadata describes a release: only wheels have some."""
    return next((file for file in _version_files(page, version) if core_metadata(file) is not None), None)


def write_project(
    page: ProjectPage,
    metadata: bytes | None,
    version: str | None = None,
    *,
    base_url: str | None = None,
    file_url: Callable[[File], str] | None = None,
) -> bytes:
    """
    Write a project, or one release of it.

    Args:
        page: With at least one file, if no version is given.
        metadata: The core metadata of the release, perhaps invalid; None if there is none: then `info`
            is taken from the page.
        version: From `find_version`; None for the latest, together with all `releases`.
        base_url: URL of the index; None makes all URLs relative to that of the document,
            `pypi/PROJECT/json` or `pypi/PROJECT/VERSION/json`.
        file_url: Returns the absolute URL of a file; None if it lies below `base_url`.
    """
    depth = 2 if version is None else 3
    base = "../" * depth if base_url is None else f"{base_url.rstrip('/')}/"
    selected = version if version is not None else latest_version(page) or ""
    below = f"{base}simple/{page.name}/"
    url_of = file_url or (lambda file: below + relative_url(file))
    files = _version_files(page, selected)
    document: dict[str, Any] = {
        "info": _info(page, selected, files, parse_core_metadata(metadata), base),
        "last_serial": 0,
        "ownership": {"organization": None, "roles": []},
        "urls": [_file(file, url_of(file)) for file in files],
        "vulnerabilities": [],
    }
    if version is None:
        releases = _releases(page)
        document["releases"] = {
            item: [_file(file, url_of(file)) for file in releases.get(canonical_version(item), ())]
            for item in offered_versions(page)
        }
    # Not sorted: the releases are in the order of their versions.
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def parse_core_metadata(document: bytes | None) -> Mapping[str, Any]:
    """
    Parse core metadata as far as it is valid.

    Returns:
        The values by the names of the fields in `packaging`. Of repeated single-line fields the first one
        counts; invalid fields are left out.
    """
    if document is None:
        return {}
    try:
        # Imported here: it imports a parser of licenses and more, which would slow down the start.
        from packaging.metadata import parse_email

        fields, rest = parse_email(document)
    # The email parser has raised various errors on odd input over the years; the page is valid without
    # the metadata.
    except Exception:
        return {}
    parsed: dict[str, Any] = dict(fields)
    for name, values in rest.items():
        key = name.replace("-", "_")
        if key in _LINES and values and isinstance(values[0], str):
            parsed.setdefault(key, values[0])
    for encoded in rest.get("description", ()):
        if isinstance(encoded, bytes):  # In another encoding than UTF-8.
            parsed.setdefault("description", encoded.decode("utf-8", "replace"))
    return parsed


def _info(
    page: ProjectPage, version: str, files: list[File], fields: Mapping[str, Any], base: str
) -> dict[str, Any]:
    reasons = [yank_reason(file) for file in files]
    project_url = f"{base}project/{page.name}/"
    values = {name: fields.get(name) for name in (*_LINES, *_LISTS)}
    if values["requires_python"] is None:
        values["requires_python"] = next(
            (file.requires_python for file in files if file.requires_python), None
        )
    yanked = _all_yanked(files)
    return {
        **values,
        "bugtrack_url": None,
        "classifiers": fields.get("classifiers") or [],
        "description": fields.get("description") or "",
        "docs_url": None,
        "downloads": _DOWNLOADS,
        "keywords": _joined(fields.get("keywords")),
        "name": _name(page, fields),
        "package_url": project_url,
        "platform": _joined(fields.get("platforms")),
        "project_url": project_url,
        "project_urls": fields.get("project_urls"),
        "release_url": project_url,
        "version": version,
        "yanked": yanked,
        "yanked_reason": next((reason for reason in reasons if reason), None) if yanked else None,
    }


def _name(page: ProjectPage, fields: Mapping[str, Any]) -> str:
    """Return the project's name as its authors spell it."""
    name = fields.get("name")
    return name if isinstance(name, str) and normalize(name) == page.name else page.name


def _joined(values: Any) -> str | None:
    return ",".join(values) if values else None


def _file(file: File, url: str) -> dict[str, Any]:
    kind, python = _kind(file)
    metadata = core_metadata(file)
    digests = {name: file.hashes[name] for name in ("blake2b_256", "md5", "sha256") if name in file.hashes}
    moment = None if file.upload_time is None else file.upload_time.astimezone(UTC).replace(tzinfo=None)
    entry = {
        "comment_text": None,
        "core-metadata": {"sha256": metadata} if metadata else metadata is not None,
        "digests": digests,
        "downloads": _NOT_COUNTED,
        "filename": file.filename,
        "has_sig": Sidecar.SIGNATURE in file.sidecars,
        "packagetype": kind,
        "python_version": python,
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": None if moment is None else moment.isoformat(timespec="seconds"),
        "upload_time_iso_8601": None if moment is None else moment.isoformat(timespec="microseconds") + "Z",
        "url": url,
        "yanked": file.yanked is not None,
        "yanked_reason": yank_reason(file) or None,
    }
    return {**entry, "md5_digest": digests["md5"]} if "md5" in digests else entry


def _kind(file: File) -> tuple[str, str]:
    """Return the package type, and the Python version: the Python tag of a wheel, else `source`."""
    if not file.filename.endswith(".whl"):
        return DistributionType.SDIST.value, "source"
    try:
        tags = parse_filename(file.filename).tags
    except InvalidFilename:
        tags = file.filename.removesuffix(".whl")
        return DistributionType.WHEEL.value, tags.split("-")[-3] if tags.count("-") > 2 else "py3"
    return DistributionType.WHEEL.value, tags.split("-")[0]
