"""
A streaming multipart parser (RFC 2046 section 5.1). Bytes in, parts out.

It accepts everything that the grammar allows: lines before the first boundary and after the last one,
white space after a boundary, parts without a body. distutils begins each form with an empty line.

The multipart package (1.2 to 2.0) does not suffice. It refuses lines that end in LF alone, as distutils'
`register` and the `upload` of Python 2.7.6 send them, and white space after a boundary; it joins a part
without a body with the next one; whether it accepts a preamble that ends in LF depends on how the bytes
are split. Its handling of quotes in the Content-Disposition of browsers and old clients is used here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from multipart import content_disposition_unquote, parse_options_header

from twisted_index.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Bytes before the first boundary, and again after the last. Mail programs put a sentence there;
#: distutils puts a line end.
MAX_PREAMBLE = 1 << 16
#: Fields and files; each classifier and each dependency is a field.
MAX_PARTS = 10_000
#: Bytes of one header line of a part, and lines per part; RFC 7578 needs three.
_MAX_LINE = 4096
_MAX_LINES = 16

#: Content transfer encodings that change nothing (RFC 2045 section 6.2).
_PLAIN = ("binary", "8bit", "7bit")
_REST_OF_BOUNDARY = re.compile(rb"[ \t]*(\r?\n)")
_EXTENDED_FILENAME = re.compile(
    r";\s*filename\*\s*=\s*(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<value>[^;\s]+)", re.IGNORECASE
)
_INCOMPLETE_REST = re.compile(rb"-?|[ \t]*\r?")


class FormPart(NamedTuple):
    """
    The header of a part.

    Attributes:
        name: The name of the field; empty if it has none.
        filename: None if the part is not a file.
        coding: The Content-Transfer-Encoding in lower case (RFC 7578 section 4.7); empty if it changes
            nothing.
    """

    name: str
    filename: str | None
    coding: str


class MultipartParser:
    """
    Splits one form into its parts. Its events do not depend on how the bytes are split.

    The line end of the first boundary, CRLF or LF alone, is required of all lines. LF alone was sent by
    `upload` of distutils before Python 2.7.7, and by its `register` in all versions.

    Args:
        boundary: From the Content-Type.

    Attributes:
        is_finished: Whether the last boundary has arrived.
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = b"--" + boundary.encode("ascii")
        # A boundary follows a line end; a form may begin with its boundary.
        self._buffer = b"\n"
        self._at = 0
        self._skipped = 0
        self._newline = b""
        self._header: list[tuple[str, str]] = []
        self._blank = 0
        self._parts = 0
        self._step: Callable[[], tuple[FormPart | bytes | None, ...] | None] = self._skip_preamble
        self.is_finished = False

    def feed(self, data: bytes) -> Iterator[FormPart | bytes | None]:
        """
        Parse the next bytes; exhaust the iterator before the next call.

        Args:
            data: The next bytes of the form.

        Returns:
            For each part its header, non-empty pieces of its body, and None at its end.

        Raises:
            BadRequest: The form is malformed.
        """
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while (events := self._step()) is not None:
            yield from events

    # Each step parses from `_at` on, and returns events; None if it needs more bytes.

    def _skip_preamble(self) -> tuple[()] | None:
        at = self._buffer.find(b"\n" + self._boundary)
        # The position of the boundary, or the first at which it may still begin.
        earliest = at if at >= 0 else max(0, len(self._buffer) - len(self._boundary))
        if self._skipped + earliest > MAX_PREAMBLE:
            raise _malformed("the boundary of its Content-Type does not occur")
        if at < 0:
            self._skipped += earliest
            self._at = earliest
            return None
        return self._pass_boundary(at + 1)

    def _pass_boundary(self, at: int) -> tuple[()]:
        self._at = at + len(self._boundary)
        self._step = self._end_boundary
        return ()

    def _end_boundary(self) -> tuple[()] | None:
        rest = _REST_OF_BOUNDARY.match(self._buffer, self._at)
        if rest is not None and rest.end() - self._at <= _MAX_LINE and self._newline in (b"", rest[1]):
            self._newline = rest[1]
            self._at = rest.end()
            self._begin_part()
        elif self._buffer.startswith(b"--", self._at):
            self.is_finished = True
            self._skipped = 0
            self._step = self._skip_epilogue
        elif len(self._buffer) - self._at <= _MAX_LINE and _INCOMPLETE_REST.fullmatch(self._buffer, self._at):
            return None
        else:
            raise _malformed("a boundary line contains further text")
        return ()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadRequest(f"The form has too many parts, more than {MAX_PARTS:,}.")
        self._header = []
        self._step = self._read_head

    def _read_head(self) -> tuple[FormPart, ...] | None:
        end = self._buffer.find(self._newline, self._at)
        earliest = end if end >= 0 else len(self._buffer) - len(self._newline) + 1
        if earliest - self._at > _MAX_LINE or len(self._header) > _MAX_LINES:
            raise _too_long()
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        if line:
            self._at = end + len(self._newline)
            self._add_line(line)
            return ()
        # The empty line is read again: in a part without a body, its line end belongs to the boundary.
        self._blank = len(self._newline)
        self._step = self._read_body
        return (self._describe_part(),)

    def _add_line(self, line: bytes) -> None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed("a part header is not in UTF-8") from None
        if "\n" in text or "\r" in text:
            raise _malformed("its line endings are inconsistent")
        if text[0] in " \t" and self._header:
            name, value = self._header.pop()
            self._header.append((name, f"{value} {text.strip()}"))
            if len(value) + len(text) > _MAX_LINE:
                raise _too_long()
            return
        name, colon, value = text.partition(":")
        if not colon:
            raise _malformed("a part header has no colon")
        self._header.append((name.strip().title(), value.strip()))

    def _describe_part(self) -> FormPart:
        if sum(name == "Content-Disposition" for name, _value in self._header) != 1:
            raise _malformed("a part does not have one Content-Disposition")
        header = dict(self._header)
        kind, options = parse_options_header(
            header["Content-Disposition"], unquote=content_disposition_unquote
        )
        if kind != "form-data":
            raise _malformed("the Content-Disposition of a part is not form-data")
        coding = header.get("Content-Transfer-Encoding", "").lower()
        filename = options.get("filename", _extended_filename(header["Content-Disposition"]))
        return FormPart(options.get("name", ""), filename, "" if coding in _PLAIN else coding)

    def _read_body(self) -> tuple[bytes | None, ...] | None:
        delimiter = self._newline + self._boundary
        at = self._buffer.find(delimiter, self._at)
        end = at if at >= 0 else self._find_incomplete(delimiter)
        data = self._buffer[self._at + self._blank : end]
        if at >= 0:
            self._pass_boundary(at + len(self._newline))
            return (data, None) if data else (None,)
        if not data:
            return None
        self._at, self._blank = end, 0
        return (data,)

    def _find_incomplete(self, delimiter: bytes) -> int:
        """Find where an incomplete delimiter may begin; else the end of the buffer."""
        first = self._buffer.rfind(delimiter[:1], max(self._at, len(self._buffer) - len(delimiter) + 1))
        return first if first >= 0 and delimiter.startswith(self._buffer[first:]) else len(self._buffer)

    def _skip_epilogue(self) -> None:
        self._skipped += len(self._buffer) - self._at
        self._at = len(self._buffer)
        # Plus the two hyphens that end the last boundary.
        if self._skipped > MAX_PREAMBLE + 2:
            raise _malformed("too much data follows its last boundary")


def _extended_filename(disposition: str) -> str | None:
    """
    Read a file name that is spelled `filename*=utf-8''x.whl` (RFC 8187 section 3.2); None without one.

    RFC 7578 section 4.2 forbids it, but urllib3 before 1.25 sends it instead of `filename`.
    """
    match = _EXTENDED_FILENAME.search(disposition)
    return unquote(match["value"], match["charset"], "replace") if match is not None else None


def _too_long() -> BadRequest:
    return BadRequest("The form's part headers are too long.")


def _malformed(why: str) -> BadRequest:
    return BadRequest(f"The form is malformed: {why}.")
