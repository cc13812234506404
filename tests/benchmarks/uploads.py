"""
Uploads wheels to the servers that take their files in no other way.

Not for: measuring uploads.
"""

from __future__ import annotations

import base64
import email.parser
import hashlib
import urllib.request
import zipfile
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS = 60


def upload(url: str, wheel: Path, user: str, password: str) -> None:
    """Upload a wheel as twine does (the legacy upload API)."""
    content, boundary = wheel.read_bytes(), uuid4().hex
    form = bytearray()
    for name, value in _fields(wheel, content):
        form += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    form += f'--{boundary}\r\nContent-Disposition: form-data; name="content"; '.encode()
    form += f'filename="{wheel.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
    form += content + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(url, bytes(form), method="POST")
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    request.add_header("Authorization", basic(user, password))
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        answer.read()


def basic(user: str, password: str) -> str:
    """Write credentials (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _fields(wheel: Path, content: bytes) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(wheel) as archive:
        place = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.parser.BytesParser().parsebytes(archive.read(place), headersonly=True)
    yield from ((":action", "file_upload"), ("protocol_version", "1"), ("filetype", "bdist_wheel"))
    yield "pyversion", wheel.name.removesuffix(".whl").split("-")[-3]
    yield "sha256_digest", hashlib.sha256(content).hexdigest()
    for field in ("Metadata-Version", "Name", "Version", "Requires-Python"):
        if metadata[field]:
            yield field.lower().replace("-", "_"), str(metadata[field])
    for needed in metadata.get_all("Requires-Dist", []):
        yield "requires_dist", str(needed)
