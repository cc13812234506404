"""
The form of an upload, parsed while it arrives (RFC 7578, RFC 2046 section 5.1). Bytes in, values out.

Fields that no check needs are dropped, so a form takes little memory whatever it contains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.errors import BadRequest, ContentTooLarge, UnsupportedMediaType
from twisted_index.web.uploads.multipart import MultipartParser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.web.uploads.multipart import FormPart

#: Bytes of one field. Descriptions are the longest; the largest on PyPI have a few hundred kilobytes.
MAX_FIELD = 8 << 20
#: Bytes of all fields.
MAX_FIELDS = 16 << 20
#: Bytes of an armored signature.
MAX_SIGNATURE = 1 << 20
#: Bytes of a form besides its file: the fields, the signature, and their headers and boundaries.
MAX_FORM_OVERHEAD = 20 << 20
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

# RFC 2046 allows 70 characters of a smaller set; others occur, and are harmless.
_BOUNDARY = re.compile(r"[!-~ ]{0,199}[!-~]")
# Java programs leave out the quotes of ----=_Part_1_12.34, though it is not a token.
_PARAMETER = re.compile(
    r';\s*(?P<name>[^;="\s]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^;"\s]+))'
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """
    A complete form.

    Attributes:
        fields: The values of `READ_FIELDS` by name. Empty values are left out: pdm sends a dozen of
            them, and uv always sends `requires_python`.
        filename: The file name of the `content` part, as sent; None without such a part.
        size: Bytes of the `content` part.
        signature: The body of the `gpg_signature` part; None without such a part, or if it is empty.
        signature_name: The file name of that part, as sent.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0
    signature: bytes | None = None
    signature_name: str | None = None


def parse_boundary(content_type: bytes | None) -> str:
    """
    Read the boundary of a form.

    Args:
        content_type: The Content-Type field of the request.

    Raises:
        UnsupportedMediaType: The body is not a form that can hold a file.
        BadRequest: The boundary is missing or unusable.
    """
    kind, _semicolon, options = (content_type or b"").decode("latin-1").partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise UnsupportedMediaType("Send the file as multipart/form-data, as twine and uv do.")
    matches = (match for match in _PARAMETER.finditer(f";{options}") if match["name"].lower() == "boundary")
    first = next(matches, None)
    boundary = first["token"] or re.sub(r"\\(.)", r"\1", first["quoted"]) if first is not None else ""
    if _BOUNDARY.fullmatch(boundary) is None:
        raise BadRequest("The Content-Type has no valid multipart boundary.")
    return boundary


class _SkippedField:
    """A field whose value is dropped; it may be in any encoding, such as Latin-1 from Python 2."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)

    def end(self, fields: dict[str, list[str]]) -> None:
        """Add the value to the fields of the form."""


class _ReadField(_SkippedField):
    """A field whose value is read."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._data = b""

    def add(self, data: bytes) -> None:
        super().add(data)
        if self.size > _MAX_READ_FIELD:
            raise BadRequest(f"The field {self._name} is longer than {_MAX_READ_FIELD} bytes.")
        self._data += data

    def end(self, fields: dict[str, list[str]]) -> None:
        try:
            value = self._data.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise BadRequest(f"The field {self._name} is not in UTF-8.") from None
        if _CONTROL.search(value):
            raise BadRequest(f"The field {self._name} contains control characters.")
        # Old tools send UNKNOWN for missing values; PyPI drops it too.
        if value and value != "UNKNOWN":
            fields.setdefault(self._name, []).append(value)


class MultipartFormParser:
    """
    Parses the form of an upload.

    Args:
        boundary: From `parse_boundary`.
        max_content: Bytes of the file.
    """

    def __init__(self, boundary: str, *, max_content: int) -> None:
        self._max_content = max_content
        self._parts = MultipartParser(boundary)
        self._total = 0
        self._field_bytes = 0
        self._fields: dict[str, list[str]] = {}
        self._field: _SkippedField | None = None
        self._in_content = False
        self._signature: bytearray | None = None
        self._signature_name: str | None = None
        self._in_signature = False
        self.filename: str | None = None
        self.size = 0

    @property
    def received_fields(self) -> frozenset[str]:
        """The names among `READ_FIELDS` that have arrived so far."""
        return frozenset(self._fields)

    @property
    def action(self) -> str | None:
        """The `:action` of the form, if it has arrived."""
        return self._fields.get(":action", [None])[-1]

    def feed(self, data: bytes) -> list[bytes]:
        """
        Parse the next bytes.

        Args:
            data: The next bytes of the form; not empty.

        Returns:
            The bytes of the `content` part among them.

        Raises:
            BadRequest: The form is malformed or not that of an upload.
            ContentTooLarge: The file or the rest of the form is larger than the limit.
        """
        self._total += len(data)
        if self._total > self._max_content + MAX_FORM_OVERHEAD:
            raise ContentTooLarge("The form is larger than the server accepts.")
        content: list[bytes] = []
        for event in self._parts.feed(data):
            self._take(event, content)
        return content

    def finish(self) -> UploadForm:
        """
        Return the form, at the end of the body.

        Raises:
            BadRequest: The form is incomplete.
        """
        if not self._parts.is_finished:
            raise BadRequest("The form is truncated.")
        return UploadForm(
            fields={name: tuple(values) for name, values in self._fields.items()},
            filename=self.filename,
            size=self.size,
            signature=bytes(self._signature) if self._signature else None,
            signature_name=self._signature_name,
        )

    def _take(self, event: FormPart | bytes | None, content: list[bytes]) -> None:
        if event is None:
            self._end_part()
        elif not isinstance(event, bytes):
            self._begin_part(event)
        elif self._in_content:
            self.size += len(event)
            if self.size > self._max_content:
                raise ContentTooLarge(too_large(self._max_content))
            content.append(event)
        elif self._in_signature:
            self._add_to_signature(event)
        else:
            self._add_to_field(event)

    def _begin_part(self, part: FormPart) -> None:
        name, filename = part.name, part.filename
        if not name:
            raise BadRequest("A part of the form has no name.")
        if part.coding and (filename is not None or name in READ_FIELDS):
            raise BadRequest(
                f"The field {printable_excerpt(name)} has the encoding {printable_excerpt(part.coding)};"
                " send it without one."
            )
        if name == "content":
            self._begin_content(filename)
        elif name == "gpg_signature" and filename is not None:
            if self._signature is not None:
                raise BadRequest("The form has gpg_signature more than once.")
            self._signature = bytearray()
            self._signature_name = filename
            self._in_signature = True
        elif filename is not None:
            raise BadRequest(
                f"Only content and gpg_signature may be files; {printable_excerpt(name)} is one."
            )
        elif name in READ_FIELDS:
            self._field = _ReadField(name)
        else:
            self._field = _SkippedField()

    def _begin_content(self, filename: str | None) -> None:
        if self.filename is not None:
            raise BadRequest("The form has more than one content; send one file at a time.")
        if not filename:
            raise BadRequest("The field content must be sent as a file with a name.")
        self.filename = filename
        self._in_content = True

    def _add_to_signature(self, data: bytes) -> None:
        assert self._signature is not None
        if len(self._signature) + len(data) > MAX_SIGNATURE:
            raise BadRequest(f"The signature is larger than {MAX_SIGNATURE >> 10} KiB.")
        self._signature += data

    def _add_to_field(self, data: bytes) -> None:
        assert self._field is not None
        self._field_bytes += len(data)
        self._field.add(data)
        if self._field.size > MAX_FIELD or self._field_bytes > MAX_FIELDS:
            raise BadRequest("The fields of the form are longer than the server accepts.")

    def _end_part(self) -> None:
        if self._field is not None:
            self._field.end(self._fields)
        self._field = None
        self._in_content = self._in_signature = False


def too_large(most: int) -> str:
    """Write the message for a file larger than a number of bytes."""
    size = f"{most / 1_000_000:,.0f} MB" if most >= 1_000_000 else f"{most:,} bytes"
    return f"The file is larger than the limit of {size}."


def printable_excerpt(text: str) -> str:
    """Make text of a client fit for a message: short, and in visible ASCII."""
    visible = "".join(character if " " <= character <= "~" else "?" for character in text)
    return visible if len(visible) <= 80 else f"{visible[:77]}..."
