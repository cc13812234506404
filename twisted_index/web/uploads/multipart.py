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

#: Bytes before the first boundary, and again after the last. Mail programs put a sentence there, and
#: distutils a line end.
MAX_PREAMBLE = 1 << 16
#: Fields and files; each classifier and each dependency is one.
MAX_PARTS = 10_000
#: Bytes of one line of a part's header, and how many there may be; RFC 7578 needs three.
_MAX_LINE = 4096
_MAX_LINES = 16

#: What leaves bytes as they are (RFC 2045 section 6.2).
_PLAIN = ("binary", "8bit", "7bit")
_REST_OF_BOUNDARY = re.compile(rb"[ \t]*(\r?\n)")
_EXTENDED_FILENAME = re.compile(
    r";\s*filename\*\s*=\s*(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<value>[^;\s]+)", re.IGNORECASE
)
_BEGUN_REST = re.compile(rb"-?|[ \t]*\r?")


class FormPart(NamedTuple):
    """
    What the header of a part says.

    Attributes:
        name: Of the field; empty if it has none.
        filename: None if it is no file.
        coding: In which its body is sent, lower-case, where that is not as it is (RFC 7578 section 4.7);
            else empty.
    """

    name: str
    filename: str | None
    coding: str


class MultipartParser:
    """
    Tells the parts of one form apart. What it gives does not depend on how the bytes are split.

    How the line of the first boundary ends is how all lines have to: in CRLF, or in LF alone. So did
    the `upload` of distutils before Python 2.7.7, and its `register` to the last.

    Args:
        boundary: What separates them, as the Content-Type says.

    Attributes:
        is_finished: Whether the last boundary has come.
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = b"--" + boundary.encode("ascii")
        # A form may begin with its boundary, which is to begin a line.
        self._buffer = b"\n"
        self._at = 0
        self._skipped = 0
        self._newline = b""
        self._head: list[tuple[str, str]] = []
        self._blank = 0
        self._parts = 0
        self._step: Callable[[], tuple[FormPart | bytes | None, ...] | None] = self._skip_preamble
        self.is_finished = False

    def feed(self, data: bytes) -> Iterator[FormPart | bytes | None]:
        """
        Read on; to be exhausted before the next call.

        Args:
            data: What follows what was fed before.

        Returns:
            For each part what its header says, pieces of its body (none of them empty), and None at
            its end.

        Raises:
            BadRequest: This is no form.
        """
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while (found := self._step()) is not None:
            yield from found

    # Each step reads on from `_at`, and returns what it has found; None if it needs more bytes.

    def _skip_preamble(self) -> tuple[()] | None:
        at = self._buffer.find(b"\n" + self._boundary)
        # Where it cannot stand any more, or where it stands.
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
        elif len(self._buffer) - self._at <= _MAX_LINE and _BEGUN_REST.fullmatch(self._buffer, self._at):
            return None
        else:
            raise _malformed("a boundary line contains further text")
        return ()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadRequest(f"The form has too many parts, more than {MAX_PARTS:,}.")
        self._head = []
        self._step = self._read_head

    def _read_head(self) -> tuple[FormPart, ...] | None:
        end = self._buffer.find(self._newline, self._at)
        earliest = end if end >= 0 else len(self._buffer) - len(self._newline) + 1
        if earliest - self._at > _MAX_LINE or len(self._head) > _MAX_LINES:
            raise _too_long()
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        if line:
            self._at = end + len(self._newline)
            self._add_line(line)
            return ()
        # The empty line is read again: of a part without a body it is the one before the boundary.
        self._blank = len(self._newline)
        self._step = self._read_body
        return (self._described(),)

    def _add_line(self, line: bytes) -> None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed("a part header is not in UTF-8") from None
        if "\n" in text or "\r" in text:
            raise _malformed("its line endings are inconsistent")
        if text[0] in " \t" and self._head:
            name, value = self._head.pop()
            self._head.append((name, f"{value} {text.strip()}"))
            if len(value) + len(text) > _MAX_LINE:
                raise _too_long()
            return
        name, colon, value = text.partition(":")
        if not colon:
            raise _malformed("a part header has no colon")
        self._head.append((name.strip().title(), value.strip()))

    def _described(self) -> FormPart:
        if sum(name == "Content-Disposition" for name, _value in self._head) != 1:
            raise _malformed("a part does not have one Content-Disposition")
        head = dict(self._head)
        kind, options = parse_options_header(head["Content-Disposition"], unquote=content_disposition_unquote)
        if kind != "form-data":
            raise _malformed("the Content-Disposition of a part is not form-data")
        coding = head.get("Content-Transfer-Encoding", "").lower()
        filename = options.get("filename", _extended_filename(head["Content-Disposition"]))
        return FormPart(options.get("name", ""), filename, "" if coding in _PLAIN else coding)

    def _read_body(self) -> tuple[bytes | None, ...] | None:
        delimiter = self._newline + self._boundary
        at = self._buffer.find(delimiter, self._at)
        end = at if at >= 0 else self._begun(delimiter)
        data = self._buffer[self._at + self._blank : end]
        if at >= 0:
            self._pass_boundary(at + len(self._newline))
            return (data, None) if data else (None,)
        if not data:
            return None
        self._at, self._blank = end, 0
        return (data,)

    def _begun(self, delimiter: bytes) -> int:
        """Find where a delimiter may have begun that has not come whole; else the end."""
        first = self._buffer.rfind(delimiter[:1], max(self._at, len(self._buffer) - len(delimiter) + 1))
        return first if first >= 0 and delimiter.startswith(self._buffer[first:]) else len(self._buffer)

    def _skip_epilogue(self) -> None:
        self._skipped += len(self._buffer) - self._at
        self._at = len(self._buffer)
        # With the two hyphens that end the last boundary.
        if self._skipped > MAX_PREAMBLE + 2:
            raise _malformed("too much data follows its last boundary")


def _extended_filename(disposition: str) -> str | None:
    """
    Read a file name that is spelled `filename*=utf-8''x.whl` (RFC 8187 section 3.2); None without one.

    RFC 7578 section 4.2 forbids it, but urllib3 before 1.25 sends it in place of the other.
    """
    found = _EXTENDED_FILENAME.search(disposition)
    return unquote(found["value"], found["charset"], "replace") if found is not None else None


def _too_long() -> BadRequest:
    return BadRequest("The form's part headers are too long.")


def _malformed(why: str) -> BadRequest:
    return BadRequest(f"The form is malformed: {why}.")
