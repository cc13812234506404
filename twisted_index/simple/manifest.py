"""
A line of a project's manifest: `sha256  size  time  name  note`. Pure.

`PROJECT/.deleted` has one line for each deleted file. `PROJECT/.copies` has one for each file that is a copy
of another index's, and for its sidecars and the files that set a status. Two blanks separate the fields, as
in the output of `sha256sum`; a digest or size that is not known is `-`. People edit these files too, so tabs
and single blanks separate as well, and a line may end as Windows ends it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.parsed import parse_timestamp

if TYPE_CHECKING:
    from datetime import datetime

#: Bytes of a note; the rest is cut off.
MAX_NOTE = 4000

# The characters of distributions' names (`_filenames.ALPHABET`); no name begins like a hidden file or an
# option. The quantifiers are possessive, so that a long line of garbage takes one pass.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}+"
# What sets a project's status (PEP 792) has a name like a hidden file.
_ANY_NAME = rf"(?:{_NAME}|\.(?:archived|deprecated|quarantined))"


def _line_of(name: str) -> re.Pattern[bytes]:
    return re.compile(
        r"^(?:\xef\xbb\xbf)?(?:[0-9A-Fa-f]{64}|-)[ \t]++(?:[0-9]{1,19}+|-)[ \t]++"
        rf"[0-9]{{4}}-[0-9:.T-]++Z[ \t]++({name})(?:[ \t][^\n]*+|\r?)$".encode("latin-1"),
        re.MULTILINE,
    )


_LINE, _ANY_LINE = _line_of(_NAME), _line_of(_ANY_NAME)


class InvalidLine(ValueError):
    """A line, or the name in it, that is none of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestLine:
    """
    What a line says of a file.

    Attributes:
        name: The file name.
        time: Aware.
        sha256: Lower-case hex digest of the file; None if it is not known.
        size: Bytes of the file; None if they are not known.
        note: One line of free text.
    """

    name: str
    time: datetime
    sha256: str | None = None
    size: int | None = None
    note: str = ""


def format_line(line: ManifestLine) -> bytes:
    """
    Format a line, with its newline.

    Raises:
        InvalidLine: The name is not that of a distribution file, a sidecar or a status.
    """
    if re.fullmatch(_ANY_NAME, line.name) is None:
        raise InvalidLine(f"{line.name!r} is not the name of a distribution file.")
    fields = (
        line.sha256 or "-",
        "-" if line.size is None else str(line.size),
        format_upload_time(line.time.replace(microsecond=0)),
        line.name,
        _cut(" ".join(line.note.split())),
    )
    return "  ".join(fields).rstrip().encode() + b"\n"


def parse_line(text: bytes) -> ManifestLine:
    """
    Parse a line, with or without its end.

    Raises:
        InvalidLine: It is not a line of a manifest.
    """
    if _ANY_LINE.fullmatch(text.rstrip(b"\r\n")) is None:
        raise InvalidLine(f"{text[:100]!r} is not a line of a manifest.")
    sha256, size, written, name, *note = text.decode("utf-8-sig", "replace").split(None, 4)
    time = parse_timestamp(written)
    if time is None:
        raise InvalidLine(f"{written!r} is no time.")
    return ManifestLine(
        name=name,
        sha256=None if sha256 == "-" else sha256.lower(),
        size=None if size == "-" else int(size),
        time=time,
        note=" ".join(" ".join(note).split()),
    )


def find_names(block: bytes) -> list[bytes]:
    """
    Return the names of distribution files and sidecars in all lines of a block; 0.5 s for a million.

    The dates of their times are not checked. Statuses are left out, as no tombstone takes their names.
    """
    return _LINE.findall(block)


def _cut(note: str) -> str:
    return note.encode("utf-8", "replace")[:MAX_NOTE].decode("utf-8", "ignore")
