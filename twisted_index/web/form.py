"""
The form of an upload, read as it arrives (RFC 7578, RFC 2046 section 5.1). Bytes in, values out.

What no check needs is looked at and dropped, so that a form takes little memory whatever is in it.
Not for: what the fields mean (`uploadclaim`), or where the file goes (`uploadreceiver`).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header

from twisted_index.errors import BadRequest, TooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multipart import MultipartSegment

#: Bytes of one field. A description is the longest, and PyPI's own had a few hundred kilobytes.
MAX_FIELD = 8 << 20
#: Bytes of all fields.
MAX_FIELDS = 16 << 20
#: Bytes of an armored signature.
MAX_SIGNATURE = 1 << 20
#: Bytes of a form besides its file: the above, and what stands around them.
MAX_BESIDE = 20 << 20
#: Fields and files; each classifier and each dependency is one.
MAX_PARTS = 10_000
#: Bytes of one line of a part's header, and how many there may be; RFC 7578 needs three.
_MAX_HEADER_LINE = 4096
_MAX_HEADER_LINES = 16
#: Bytes of a field that is read: names, versions and digests.
_MAX_READ_FIELD = 1024

#: The fields that are read; the metadata is read from the file itself.
READ_FIELDS = frozenset(
    {
        ":action",
        "protocol_version",
        "filetype",
        "name",
        "version",
        "metadata_version",
        "md5_digest",
        "sha256_digest",
        "blake2_256_digest",
    }
)

# RFC 2046 allows 70 characters of a smaller set; others are seen, and do no harm.
_BOUNDARY = re.compile(r"[!-~ ]{0,199}[!-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    A form that has come to its end.

    Attributes:
        fields: The values of each of `READ_FIELDS` that was given; an empty one was not (row 107).
        filename: Of the `content` part, as it came; None if there was no such part.
        size: Bytes of the `content` part.
        signature: Of the `gpg_signature` part; None if there was none, or an empty one.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0
    signature: bytes | None = None


def boundary_of(content_type: bytes | None) -> str:
    """
    Find what separates the parts.

    Args:
        content_type: The Content-Type field of the request.

    Raises:
        UnsupportedMediaType: It is no form that can hold a file.
        BadRequest: It is one, but says nothing usable.
    """
    kind, options = parse_options_header((content_type or b"").decode("latin-1"))
    if kind != "multipart/form-data":
        raise UnsupportedMediaType("Send the file as multipart/form-data, as twine and uv do.")
    boundary: str = options.get("boundary", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise BadRequest("The Content-Type names no boundary that could separate the parts of a form.")
    return boundary


class _Text:
    """A field whose value is not needed: it is only made sure that it is text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.size = 0

    def add(self, data: bytes | bytearray, *, last: bool = False) -> None:
        self.size += len(data)
        try:
            text = self._decoder.decode(data, final=last)
        except UnicodeDecodeError:
            raise BadRequest(f"The field {self._name} is not in UTF-8.") from None
        self.check(text)

    def check(self, text: str) -> None:
        if "\0" in text:
            raise BadRequest(f"The field {self._name} holds a NUL.")

    def end(self, fields: dict[str, list[str]]) -> None:
        self.add(b"", last=True)


class _Value(_Text):
    """A field that is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._text = ""

    def check(self, text: str) -> None:
        super().check(text)
        if self.size > _MAX_READ_FIELD:
            raise BadRequest(f"The field {self._name} is longer than {_MAX_READ_FIELD} bytes.")
        self._text += text

    def end(self, fields: dict[str, list[str]]) -> None:
        super().end(fields)
        value = self._text.strip()
        if _CONTROL.search(value):
            raise BadRequest(f"The field {self._name} holds control characters.")
        # Old tools send UNKNOWN for what they do not know; PyPI drops it too.
        if value and value != "UNKNOWN":
            fields.setdefault(self._name, []).append(value)


class FormReader:
    """
    Reads the form of an upload.

    Args:
        boundary: From `boundary_of`.
        max_content: Bytes of the file.
    """

    def __init__(self, boundary: str, *, max_content: int) -> None:
        self._max_content = max_content
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_LINE,
            max_header_count=_MAX_HEADER_LINES,
            max_segment_count=MAX_PARTS,
            strict=True,
        )
        self._first = b"--" + boundary.encode("ascii")
        self._last = b"\r\n" + self._first + b"--"
        # A form may begin with its boundary, as if after the end of a line.
        self._tail = b"\r\n"
        self._ended = False
        self._total = 0
        self._of_fields = 0
        self._fields: dict[str, list[str]] = {}
        self._field: _Text | None = None
        self._in_content = False
        self._signature: bytearray | None = None
        self._in_signature = False
        self.filename: str | None = None
        self.size = 0

    @property
    def given(self) -> frozenset[str]:
        """Which of `READ_FIELDS` have come so far."""
        return frozenset(self._fields)

    def feed(self, data: bytes) -> list[bytes]:
        """
        Read on.

        Args:
            data: What follows what was fed before; not empty.

        Returns:
            What it holds of the `content` part.

        Raises:
            BadRequest: It is no form of an upload.
            TooLarge: The file is larger than is taken, or what is beside it.
        """
        self._check_begin(data)
        self._total += len(data)
        if self._total > self._max_content + MAX_BESIDE:
            raise TooLarge("The form is larger than is taken here.")
        content: list[bytes] = []
        if not self._ended:
            try:
                for event in self._parser.parse(data):
                    self._take(event, content)
            except ParserLimitReached:
                raise BadRequest("The form has too many parts, or too long headers of them.") from None
            except MultipartError as error:
                raise BadRequest(f"The form is malformed: {_told(error)}.") from None
        self._note_end(data)
        return content

    def finish(self) -> Form:
        """
        Give what was read, at the end of the body.

        Raises:
            BadRequest: The form had not come to its end.
        """
        try:
            self._parser.close()
        except MultipartError:
            self._ended = False
        if not self._ended:
            raise BadRequest("The form breaks off before its end, or something follows its end.")
        return Form(
            fields={name: tuple(values) for name, values in self._fields.items()},
            filename=self.filename,
            size=self.size,
            signature=bytes(self._signature) if self._signature else None,
        )

    # The parser of the library passes over what stands before the first boundary and follows the last
    # one, or not, as the pieces fall. No client sends anything there.

    def _check_begin(self, data: bytes) -> None:
        wanted = self._first[self._total : self._total + len(data)]
        if not data.startswith(wanted):
            raise BadRequest("The form is malformed: it does not begin with its boundary.")

    def _note_end(self, data: bytes) -> None:
        most = len(self._last) + 2
        before = self._tail
        self._tail = data[-most:] if len(data) >= most else (self._tail + data)[-most:]
        after = self._tail.rpartition(self._last)[2]
        ended = self._last in self._tail and after in (b"", b"\r", b"\r\n")
        if (self._ended and not ended) or (ended and (before + data).count(self._last) > 1):
            raise BadRequest("Something follows the end of the form.")
        self._ended = ended

    def _take(self, event: MultipartSegment | bytes | None, content: list[bytes]) -> None:
        if event is None:
            self._end_part()
        elif not isinstance(event, (bytes, bytearray)):
            self._begin_part(event)
        elif self._in_content:
            self.size += len(event)
            if self.size > self._max_content:
                raise TooLarge(too_large(self._max_content))
            content.append(bytes(event))
        elif self._in_signature:
            self._add_to_signature(event)
        else:
            self._add_to_field(event)

    def _begin_part(self, part: MultipartSegment) -> None:
        if sum(name == "Content-Disposition" for name, _value in part.headerlist) != 1:
            raise BadRequest("A part of the form has more than one Content-Disposition.")
        name, filename = part.name or "", part.filename
        if name == "content":
            self._begin_content(filename)
        elif name == "gpg_signature" and filename is not None:
            if self._signature is not None:
                raise BadRequest("The form holds gpg_signature more than once.")
            self._signature = bytearray()
            self._in_signature = True
        elif filename is not None:
            raise BadRequest(f"Only content and gpg_signature may be files; {shown(name)} is one.")
        elif name in READ_FIELDS:
            self._field = _Value(name)
        else:
            self._field = _Text(shown(name))

    def _begin_content(self, filename: str | None) -> None:
        if self.filename is not None:
            raise BadRequest("The form holds more than one content; send one file at a time.")
        if not filename:
            raise BadRequest("The field content has to be sent as a file, with its name.")
        self.filename = filename
        self._in_content = True

    def _add_to_signature(self, data: bytes | bytearray) -> None:
        assert self._signature is not None
        if len(self._signature) + len(data) > MAX_SIGNATURE:
            raise BadRequest(f"The signature is larger than {MAX_SIGNATURE >> 10} KiB.")
        self._signature += data

    def _add_to_field(self, data: bytes | bytearray) -> None:
        assert self._field is not None
        self._of_fields += len(data)
        self._field.add(data)
        if self._field.size > MAX_FIELD or self._of_fields > MAX_FIELDS:
            raise BadRequest("The fields of the form are longer than is taken here.")

    def _end_part(self) -> None:
        if self._field is not None:
            self._field.end(self._fields)
        self._field = None
        self._in_content = self._in_signature = False


def too_large(most: int) -> str:
    """Say that a file is larger than so many bytes."""
    size = f"{most / 1_000_000:,.0f} MB" if most >= 1_000_000 else f"{most:,} bytes"
    return f"The file is larger than {size}, the most that is taken here."


def shown(text: str) -> str:
    """Give what somebody sent as it can stand in a sentence: short, and in visible ASCII."""
    visible = "".join(character if " " <= character <= "~" else "?" for character in text)
    return visible if len(visible) <= 80 else f"{visible[:77]}..."


def _told(error: MultipartError) -> str:
    text = shown(str(error.args[0]) if error.args else "")
    return text[:1].lower() + text[1:].rstrip(".")
