"""
A page of an upstream, read and checked: only what is a file of the project, at a URL that may be asked.

Pure, and slow for large pages: the caller runs it in a thread. Not for: asking (`client`).
"""

from __future__ import annotations

from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from twisted_index.errors import BadGateway
from twisted_index.simple import html_reading, json_reading
from twisted_index.simple.model import Companion, File, Status
from twisted_index.simple.names import InvalidFilename, Kind, ordered_versions, parse_filename, version_key
from twisted_index.simple.stated import UnreadablePage
from twisted_index.upstream.origins import BadURL, clean_url, is_downgrade
from twisted_index.upstream.remote import RemoteFile, RemotePage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_index.simple.names import Distribution
    from twisted_index.simple.stated import StatedFile, StatedPage

#: What pages are asked for as (PEP 691): JSON says more, and is read faster.
ACCEPT = b"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

_JSON = ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json")
_HTML = (
    "application/vnd.pypi.simple.v1+html",
    "application/vnd.pypi.simple.latest+html",
    "text/html",
    "application/xhtml+xml",
)

#: Characters of a version that is looked at.
_MAX_VERSION = 128
#: Commas and brackets of a page in JSON: Python's reader lets no other thread run, and 60 MB of nothing
#: else kept it for half a minute, and 1.7 GB. A file has about a dozen.
_MAX_MARKS = 1_000_000


def read_page(
    project: str,
    body: bytes,
    *,
    content_type: str,
    url: str,
    whole: bool = True,
    etag: str | None = None,
    modified: str | None = None,
) -> RemotePage:
    """
    Read a project page.

    Args:
        project: The normalized name that was asked for.
        body: Decoded, of bounded size.
        content_type: As it came; it alone says which format this is.
        url: Where the page was found, after all redirects.
        whole: False if nothing but the end of the connection said that this is all. Such a page
            must end like one.
        etag: Goes into the result.
        modified: Likewise.

    Raises:
        BadGateway: This is no page of the simple API.
    """
    try:
        stated = _stated(body, content_type, whole)
    except UnreadablePage as error:
        raise BadGateway(f"The page of {project} cannot be used: {error.reason}.") from None
    is_quarantined = stated.status.status is Status.QUARANTINED
    files = () if is_quarantined else tuple(_files(project, stated, url))
    return RemotePage(
        project=project,
        files=files,
        versions=() if is_quarantined else _other_versions(stated.versions, files),
        status=stated.status,
        etag=etag,
        modified=modified,
    )


def _stated(body: bytes, content_type: str, whole: bool) -> StatedPage:
    field = Message()
    field["Content-Type"] = content_type
    media_type = field.get_content_type() if content_type else ""
    if media_type in _JSON:
        if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_MARKS:
            raise UnreadablePage("it is larger than any page of files")
        return json_reading.read_project_page(body)
    if media_type not in _HTML:
        what = media_type[:80] if media_type.isprintable() and media_type.isascii() else "something"
        raise UnreadablePage(f"it is {what or 'of no type'} instead of a simple API page")
    if not whole and b"</html" not in body[-4096:].lower() and b"</body" not in body[-4096:].lower():
        raise UnreadablePage("it was broken off")
    if b"<" not in body:  # an empty page has tags all the same; an empty answer is an accident
        raise UnreadablePage("it is no HTML")
    return html_reading.read_project_page(body, field.get_content_charset())


def _files(project: str, stated: StatedPage, url: str) -> Iterator[RemoteFile]:
    base = url
    if stated.base is not None:
        try:
            base = clean_url(stated.base, base=url)
        except BadURL as error:
            raise BadGateway(f"The page of {project} cannot be used: of its base, {error}.") from None
    seen = set()
    for entry in stated.files:
        file = _file(project, entry, base, url)
        if file is not None and file.file.filename not in seen:
            seen.add(file.file.filename)
            yield file


def _file(project: str, entry: StatedFile, base: str, page_url: str) -> RemoteFile | None:
    """Make a file of an entry; None if it is none of this project's, or may not be fetched."""
    try:
        url = clean_url(entry.url, base=base)
    except BadURL:
        return None
    if is_downgrade(page_url, url):
        return None
    distribution = _distribution(project, entry, url)
    if distribution is None:
        return None
    is_wheel = distribution.kind is Kind.WHEEL
    file = File(
        filename=distribution.filename,
        version=distribution.version,
        hashes=entry.hashes,
        size=entry.size,
        upload_time=entry.upload_time,
        requires_python=entry.requires_python,
        core_metadata=(entry.core_metadata or {}) if is_wheel else None,
        yanked=entry.yanked,
        companions=frozenset({Companion.SIGNATURE} if entry.signed else ()),
        provenance_url=entry.provenance_url,
    )
    return RemoteFile(file=file, url=url, offers_metadata=is_wheel and entry.core_metadata is not None)


def _distribution(project: str, entry: StatedFile, url: str) -> Distribution | None:
    """
    Find out what a link is the file of.

    The end of the URL counts, as it does for pip: web servers cut long names short in the text of
    their listings. Only where it names no distribution at all (`…/download?id=7`), what the page
    calls the file does.
    """
    for name in (unquote(urlsplit(url).path.rpartition("/")[2]), entry.name):
        try:
            found = parse_filename(name or "", project)
        except InvalidFilename:
            continue
        return found if found.project == project else None
    return None


def _other_versions(stated: tuple[str, ...], files: tuple[RemoteFile, ...]) -> tuple[str, ...]:
    """Put what is stated in order, without what is no version and what the files say already."""
    known = {version_key(file.file.version) for file in files}
    short = (version.strip() for version in stated if len(version) <= _MAX_VERSION)
    return tuple(
        version
        for version in ordered_versions(short)
        if (key := version_key(version)) not in known and key[0] == 0
    )
