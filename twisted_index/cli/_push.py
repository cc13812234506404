"""
Uploading releases of an index to another server, by the upload API that twine speaks.

Wheels come before the sdist, so that no installer builds what a wheel is about to come for. A file that the
other server has with the same bytes is success there, so the same command goes on after a failure.
"""

from __future__ import annotations

import email.parser
import email.policy
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.web.http_headers import Headers

from twisted_index.errors import ConfigurationError, Conflict, PromotionRefused, RefusedPart, SimpleIndexError
from twisted_index.export.project_reader import PackageFolders, ProjectReader
from twisted_index.files.safe_open import open_regular_file
from twisted_index.http_client.client import HTTPClient
from twisted_index.http_client.credentials import BasicCredentials, NetrcCredentials, credentials_in
from twisted_index.http_client.framed_body import FramedBody
from twisted_index.http_client.limits import ClientLimits
from twisted_index.http_client.stall_guard import Stalled
from twisted_index.http_client.urls import InvalidURL, normalize_url, origin_of
from twisted_index.simple.archives.errors import BadArchive
from twisted_index.simple.archives.limits import MAX_DOCUMENT, MAX_UNPACKED
from twisted_index.simple.core_metadata import ZipArchive, read_sdist_metadata, read_wheel_metadata
from twisted_index.simple.formatting import printable
from twisted_index.simple.model import Sidecar
from twisted_index.simple.names import DistributionType, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted_index.backends.folder.inspection_cache import InspectionCache
    from twisted_index.backends.layout.project_scan import ScannedFile
    from twisted_index.export.project_reader import ReadProject
    from twisted_index.http_client.client import HTTPResponse
    from twisted_index.http_client.credentials import ICredentials

#: Bytes of an answer that are shown.
_SHOWN = 300
#: Seconds for a server to look at a whole file before it responds.
_HEAD = 600.0
_PLURALS = {"classifier": "classifiers", "project-url": "project_urls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedFile:
    """
    A file to upload.

    Attributes:
        entry: The file.
        sha256: Lower-case hex digest.
        metadata: Its core metadata; empty if it has none that can be read.
        signature: The path of its signature; None without one.
    """

    entry: ScannedFile
    sha256: str
    metadata: bytes
    signature: bytes | None

    @property
    def name(self) -> str:
        """The file name."""
        return self.entry.distribution.filename


def files_of(roots: tuple[bytes, ...], releases: Iterable[str], cache: InspectionCache) -> list[PushedFile]:
    """
    Find the files of releases.

    Args:
        roots: The folders of the index itself.
        releases: As `PROJECT==VERSION`.
        cache: Knows digests.

    Returns:
        By release, wheels first.

    Raises:
        PromotionRefused: A release is not there, or is yanked: an upload cannot say so.
    """
    reader = ProjectReader([PackageFolders(roots, lambda _project: True)], cache)
    parts = reader.parts_by_project()[0]
    found: list[PushedFile] = []
    refusals: list[RefusedPart] = []
    for release in releases:
        project, _equals, version = release.partition("==")
        read = reader.read(project, parts[project]) if project in parts else None
        files = [] if read is None else list(_files(read, version, refusals))
        if not files and not any(part.name == release for part in refusals):
            refusals.append(RefusedPart(name=release, reason="There is no such release in the folder."))
        found += sorted(files, key=lambda file: file.entry.distribution.kind is not DistributionType.WHEEL)
    if refusals:
        raise PromotionRefused(refusals)
    return found


def _files(read: ReadProject, version: str, refusals: list[RefusedPart]) -> Iterator[PushedFile]:
    if read.page is None or read.scan is None:
        return
    for file in read.page.files:
        if version_sort_key(file.version) != version_sort_key(version):
            continue
        if file.yanked is not None:
            refusals.append(RefusedPart(name=file.filename, reason="It is yanked, which no upload can say."))
            continue
        listed = read.listed[file.filename]
        yield PushedFile(
            entry=listed.entry,
            sha256=file.hashes["sha256"],
            metadata=_metadata_of(listed.entry),
            signature=read.scan.documents.get(file.filename, {}).get(Sidecar.SIGNATURE),
        )


async def push(
    client: UploadClient, files: Sequence[PushedFile]
) -> tuple[list[PushedFile], list[RefusedPart]]:
    """
    Upload files, one after the other.

    Args:
        client: Of the server.
        files: In order.

    Returns:
        Those that are there now, and why the others are not.
    """
    done: list[PushedFile] = []
    refused: list[RefusedPart] = []
    for file in files:
        try:
            await client.upload(file)
        except SimpleIndexError as error:
            refused.append(RefusedPart(name=file.name, reason=error.message))
        else:
            done.append(file)
    return done, refused


class UploadClient:
    """
    Uploads files to one server.

    Args:
        url: Of its upload API, as twine takes it; may have a user and a password.
        reactor: Twisted's reactor.
        environ: TWINE_USERNAME and TWINE_PASSWORD, else netrc, say who uploads.
        advance: Called with the number of bytes of each piece.

    Raises:
        ConfigurationError: It is no URL.
    """

    def __init__(
        self, url: str, reactor: Any, *, environ: Mapping[str, str], advance: Callable[[int], None]
    ) -> None:
        try:
            self._url = normalize_url(url, may_have_user=True)
        except InvalidURL as error:
            raise ConfigurationError(f"--to: {error}.") from None
        self._reactor = reactor
        self._advance = advance
        self._client = HTTPClient(
            origin_of(self._url),
            reactor,
            "server",
            environ=environ,
            egress_policy=None,
            credentials=credentials_in(url) or _credentials(self._url, environ),
            limits=ClientLimits(),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def upload(self, file: PushedFile) -> None:
        """
        Upload a file; one that is there with the same bytes is success.

        Raises:
            Conflict: The server refuses it, in its own words.
            SimpleIndexError: It cannot be sent.
        """
        opened = open_regular_file(file.entry.path)
        if opened is None:
            raise Conflict("It is no file any more.")
        boundary = secrets.token_hex(16)
        before, after = _form(file, boundary)
        size = file.entry.key.size
        body = FramedBody(opened, size, before, after, reactor=self._reactor, advance=self._advance)
        headers = Headers({b"Content-Type": [f"multipart/form-data; boundary={boundary}".encode()]})
        sending = self._client.request("POST", self._url, headers, body.producer, head=_HEAD)
        try:
            response = await body.guard.wait(sending)
        except Stalled as error:
            raise Conflict(error.message) from None
        finally:
            body.finish()
        await self._check(response)

    async def _check(self, response: HTTPResponse) -> None:
        text = (await response.body.read()).decode("utf-8", "replace").strip()
        if response.status in (200, 201):
            return
        if 300 <= response.status < 400:
            location = printable(response.header(b"Location"))
            raise Conflict(f"The server redirects to {location}, which uploads do not follow; use that URL.")
        first = printable(text.partition("\n")[0])[:_SHOWN]
        raise Conflict(f"The server responded with {response.status}: {first}")


def _credentials(url: str, environ: Mapping[str, str]) -> ICredentials:
    user, password = environ.get("TWINE_USERNAME"), environ.get("TWINE_PASSWORD")
    if user and password:
        return BasicCredentials(user=user.encode(), password=password.encode())
    return NetrcCredentials(url, environ)


def _form(file: PushedFile, boundary: str) -> tuple[bytes, bytes]:
    """Return what is before and after the file in a form (RFC 7578), with the fields that twine sends."""
    distribution = file.entry.distribution
    is_wheel = distribution.kind is DistributionType.WHEEL
    fields = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("filetype", "bdist_wheel" if is_wheel else "sdist"),
        ("pyversion", distribution.tags.partition("-")[0] if is_wheel else "source"),
        ("sha256_digest", file.sha256),
        *_metadata_fields(file.metadata),
    ]
    names = {name for name, _value in fields}
    known = (
        ("metadata_version", "2.1"),
        ("name", distribution.project),
        ("version", distribution.version),
    )
    fields += [(name, value) for name, value in known if name not in names]
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    if file.signature is not None and (signature := _document(file.signature)) is not None:
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="gpg_signature";'
            f' filename="{file.name}.asc"\r\n\r\n'.encode()
            + signature
            + b"\r\n"
        )
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{file.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    return b"".join(parts), f"\r\n--{boundary}--\r\n".encode()


def _metadata_fields(metadata: bytes) -> Iterator[tuple[str, str]]:
    """Yield the fields of core metadata as the upload API names them."""
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(metadata)
    for header, value in message.items():
        text = str(value).encode("ascii", "surrogateescape").decode("utf-8", "replace")
        yield _PLURALS.get(header.lower(), header.lower().replace("-", "_")), text
    body = message.get_payload(decode=True)
    if isinstance(body, bytes) and body.strip() and "Description" not in message:
        yield "description", body.decode("utf-8", "replace")


def _metadata_of(entry: ScannedFile) -> bytes:
    distribution = entry.distribution
    try:
        with open(entry.path, "rb") as file:
            if distribution.kind is DistributionType.WHEEL:
                return read_wheel_metadata(ZipArchive(file))
            return read_sdist_metadata(file, distribution.extension, MAX_UNPACKED)
    except (BadArchive, OSError):
        # Old sdists have none; what the server needs of it is in the name.
        return b""


def _document(path: bytes) -> bytes | None:
    file = open_regular_file(path, follow_links=False)
    if file is None:
        return None
    with file:
        return file.read(MAX_DOCUMENT)
