"""Which files a change is about: a name in any spelling, or a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.errors import BadRequest, NotFound
from twisted_index.simple.names import InvalidFilename, parse_filename

if TYPE_CHECKING:
    from twisted_index.backends.layout.inventory import Inventory
    from twisted_index.backends.layout.project_scan import ScannedFile


def select_shown(inventory: Inventory, version: str | None, filename: str | None) -> dict[str, ScannedFile]:
    """
    Return the files with this version or name that no tombstone names; of equal names the served one.

    Raises:
        BadRequest: Neither is given.
        NotFound: There is none.
    """
    if filename is not None:
        entries = find_equivalents(inventory, filename)
    elif version is not None:
        entries = inventory.of_version(version)
    else:
        raise BadRequest("Give a file or a version.")
    entries = [entry for entry in entries if not inventory.is_hidden(entry)]
    if not entries:
        raise not_found(filename if filename is not None else f"{inventory.project}=={version}")
    files: dict[str, ScannedFile] = {}
    for entry in entries:
        files.setdefault(entry.distribution.filename, entry)
    return files


def find_equivalents(inventory: Inventory, filename: str) -> list[ScannedFile]:
    """Return the files that installers treat as the one of this name; none if it is no file's name."""
    try:
        return inventory.equivalents_of(parse_filename(filename, inventory.project))
    except InvalidFilename:
        return []


def not_found(name: str) -> NotFound:
    """Return the error for a file or release that is not there."""
    shown = name if name.isascii() and name.isprintable() else ascii(name)
    return NotFound(f"There is no {shown} here.")
