"""The projects that the entries of a folder claim, even by damaged names. Public through `names`."""

from __future__ import annotations

import re

from twisted_index.simple._filenames import (
    ALPHABET,
    RETIRED_FORMATS,
    SDIST_EXTENSIONS,
    UNSUPPORTED_ARCHIVES,
    WHEEL_EXTENSION,
    InvalidFilename,
    one_of,
    read_filename,
    split_sdist_stem,
)
from twisted_index.simple._project_names import is_valid_name, normalize

# Suffixes of unfinished files of browsers, download tools and copying programs.
UNFINISHED_SUFFIXES = (
    ".part",
    ".partial",
    ".tmp",
    ".temp",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".aria2",
)
# And those of editors.
_TEMPORARY_SUFFIXES = (*UNFINISHED_SUFFIXES, ".swp", "~")

# A file's sidecars and markers.
_CLAIMING_SUFFIXES = (".metadata", ".asc", ".provenance", ".yanked", ".deleted")


def is_temporary(entry: str) -> bool:
    """Whether the name of a folder's entry marks it as hidden or unfinished."""
    return entry.startswith((".", "~", "#")) or entry.lower().endswith(_TEMPORARY_SUFFIXES)


# Prefixes of copying programs: a dot (rsync), "._" (macOS), "~" or a word (Syncthing).
_BEFORE = r"(?:\.syncthing\.|~syncthing~|[^A-Za-z0-9]*+)"

# Extensions of Python distributions and little else: such names claim without a version too.
_DISTINCTIVE_EXTENSIONS = (
    WHEEL_EXTENSION,
    ".egg",
    ".tgz",
    *(suffix for suffix in (*SDIST_EXTENSIONS, *UNSUPPORTED_ARCHIVES) if suffix.startswith(".tar.")),
    ".tar",
)

# An extension may be followed by any text that is not a part of it: a sidecar's suffix, a temporary one,
# rsync's ".XXXXXX", ".sha256", ".1", " (copy)". The last extension counts.
_DAMAGED = re.compile(
    rf"{_BEFORE}(?P<stem>.+)"
    rf"(?:(?P<speaking>{one_of(_DISTINCTIVE_EXTENSIONS)})"
    rf"|(?P<other>{one_of((*SDIST_EXTENSIONS, *UNSUPPORTED_ARCHIVES, *RETIRED_FORMATS))}))"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE | re.DOTALL,
)

_BEFORE_VERSION = re.compile(r"(.+?)-v?[0-9]", re.IGNORECASE | re.DOTALL)


def claimed_project(entry: str) -> str | None:
    """
    Return the project that an entry of a flat folder claims by its name, whether it can be listed or not.

    A claimed name is never requested from an upstream, so that no upstream can take over the name of a
    private project while its wheel is being copied, is damaged, or has left a marker behind. In doubt an
    archive claims; a file that is not an archive, or a word without a version, does not.

    Args:
        entry: Any file name, decoded in any way.

    Returns:
        The project's normalized name; None if the entry claims none.
    """
    try:
        return read_filename(entry).project
    except InvalidFilename:
        pass
    damaged = _DAMAGED.match(entry)
    if damaged is None:
        return _project_of_bare(entry)
    extension = damaged["speaking"] or damaged["other"]
    try:
        return read_filename(damaged["stem"] + extension.lower()).project
    except InvalidFilename:
        return _project_of_damaged(damaged["stem"], (damaged["speaking"] or "").lower())


def _project_of_bare(entry: str) -> str | None:
    """Find the project in a name without an extension, if it has the suffix of a companion file."""
    lower = entry.lower()
    for suffix in (*_CLAIMING_SUFFIXES, *_TEMPORARY_SUFFIXES):
        if lower.endswith(suffix):
            split = split_sdist_stem(entry[: -len(suffix)].lstrip("."))
            return None if split is None else normalize(split[0])
    return None


def _project_of_damaged(stem: str, speaking: str) -> str | None:
    """
    Find the project in a name that is not valid.

    Args:
        stem: The name without its extension.
        speaking: The extension, if it is one that claims without a version; else empty.
    """
    valid = ALPHABET.match(stem)
    if valid is None:
        return None
    if speaking != WHEEL_EXTENSION:
        split = split_sdist_stem(valid[0])
        if split is not None:
            return normalize(split[0])
    before_version = _BEFORE_VERSION.match(valid[0])
    if before_version is not None:
        return _as_project(before_version[1])
    if speaking == WHEEL_EXTENSION:
        return _as_project(valid[0].partition("-")[0])
    return _as_project(valid[0].rpartition("-")[0]) if speaking else None


def _as_project(name: str) -> str | None:
    name = name.strip("-_.")
    return normalize(name) if is_valid_name(name) else None
