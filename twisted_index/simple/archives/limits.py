"""Limits of archives and of documents beside them, and the error for exceeding them."""

from __future__ import annotations

from twisted_index.simple.archives.errors import BadArchive

#: Bytes of a METADATA or PKG-INFO. The largest known ones have some hundred thousand.
MAX_METADATA = 16 * 1024 * 1024
#: Bytes of a signature or provenance document that are served.
MAX_DOCUMENT = 1 << 20
#: Bytes that an archive may unpack to while it is read; the largest real sdists stay below 2 GiB.
MAX_UNPACKED = 8 << 30
#: Members of an archive. The largest known wheels have some ten thousand.
MAX_MEMBERS = 200_000
#: Bytes of a zip archive's central directory: enough for MAX_MEMBERS with long names.
MAX_DIRECTORY = 64 * 1024 * 1024
#: Bytes of one extended header of a tar (a long name, a set of pax records).
MAX_TAR_HEADER = 1024 * 1024
#: Bytes of the names and targets of a tar's links that are stored.
MAX_LINKS = 1024 * 1024
#: Bytes of memory of the xz decoder; its highest preset, -9, takes 65 MiB.
MAX_XZ_MEMORY = 128 * 1024 * 1024
#: Bytes that are read or unpacked in one step.
CHUNK = 128 * 1024


def too_big(what: str) -> BadArchive:
    """Return the error for a file that `what`, for example "has more members"."""
    return BadArchive(f"The file {what} than this index unpacks.", "Make it smaller.")
