"""
`.export`: which files of a folder an export wrote, so that it replaces and removes no others. Pure.

A line is `sha256  path`, as of sha256sum, which so verifies the whole export. It is no line of
`simple.manifest`: a page has a path and no time, and with one no two exports would be the same.

While an export writes, a line is added before its file has its name; so a path can have several, one of which
is true.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted_index.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The name of the file.
MANIFEST = ".export"

#: Possessive: a long line of garbage takes one pass.
_NAME = rb"[A-Za-z0-9._+!-]++"
_LINE = re.compile(rb"([0-9a-f]{64})  ((?:(?!\.\.?/)%s/)*+(?!\.\.?$)%s)$" % (_NAME, _NAME), re.MULTILINE)


def parse_manifest(data: bytes, place: str) -> dict[str, set[str]]:
    """
    Parse a manifest. A last line without its end was cut off, and counts for nothing.

    Args:
        data: The content.
        place: The path of the file, for errors.

    Returns:
        Every digest recorded for a path, by path.

    Raises:
        Conflict: It is none.
    """
    whole = data[: data.rfind(b"\n") + 1]
    lines = _LINE.findall(whole)
    if len(lines) != whole.count(b"\n"):
        raise Conflict(f"{place} is not the manifest of an export; move it away, or choose another folder.")
    recorded: dict[str, set[str]] = {}
    for digest, path in lines:
        recorded.setdefault(path.decode(), set()).add(digest.decode())
    return recorded


def format_manifest(digests: Mapping[str, str]) -> bytes:
    """Format the digests of all files, by path."""
    return b"".join(manifest_line(path, digests[path]) for path in sorted(digests))


def manifest_line(path: str, digest: str) -> bytes:
    """Format one line, with its end."""
    return f"{digest}  {path}\n".encode()


def paths_by_project(paths: Iterable[str]) -> dict[str, list[str]]:
    """Sort paths by the project that they belong to; those that are about no project come under ""."""
    sorted_paths: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("/", 2)
        sorted_paths.setdefault(parts[1] if len(parts) == 3 else "", []).append(path)
    return sorted_paths
