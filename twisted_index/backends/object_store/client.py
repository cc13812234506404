"""
A bucket of a real store, by the library obstore. Blocking.

Nothing is asked for before the first call: a process that forks after it hangs in its next one.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_index.backends.object_store.bucket import (
    Listing,
    ObjectChanged,
    ObjectContent,
    ObjectExists,
    StoredObject,
    WriteForbidden,
)
from twisted_index.backends.object_store.patience import Patience
from twisted_index.backends.object_store.s3_listing import list_objects
from twisted_index.backends.object_store.s3_requests import S3Requests, is_set
from twisted_index.backends.object_store.store_errors import (
    AccessDenied,
    WantsQuotes,
    cause_of,
    unavailable,
    variables_of,
)
from twisted_index.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from twisted_index.config.bucket_location import Location

    _Unmet = type[ObjectExists] | type[ObjectChanged] | None

_log = Logger()

_PIECE = 1 << 20
#: Bytes of the first piece of a stream, and of later ones, at least.
_FIRST_PIECE, _LATER_PIECES = 16 << 10, 256 << 10
#: Seconds for which the same failure is logged once.
_REPORT_SECONDS = 60.0
#: A body may take as long as its reader does; a connection that says nothing may not.
_TIMEOUTS = {"timeout": "10min", "read_timeout": "20s", "connect_timeout": "5s"}
_RETRIES: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}
#: With any of these set to true, a store may be at an http:// URL.
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP", "AZURE_STORAGE_USE_HTTP")
#: With any of these, credentials are not looked for at the address of instance metadata.
_CREDENTIALS = {
    "s3": re.compile("AWS_(ACCESS_KEY_ID|WEB_IDENTITY_TOKEN_FILE|CONTAINER_CREDENTIALS_.*|SKIP_SIGNATURE)"),
    "az": re.compile("AZURE_.*(KEY|SAS|SECRET|TOKEN|CONNECTION_STRING|EMULATOR|SKIP_SIGNATURE).*"),
    "gs": re.compile("GOOGLE_.*(SERVICE_ACCOUNT|CREDENTIALS|SKIP_SIGNATURE).*"),
}
#: Where a store is; the library breaks down on what is no URL.
_ENDPOINT = re.compile("AWS_ENDPOINT(_URL(_S3)?)?|AZURE_(STORAGE_)?ENDPOINT")


class StoreBucket:
    """
    A `Bucket` of an object store.

    Args:
        location: Where it is.
        instance_metadata: Whether credentials may be asked for at the address of instance metadata.

    Raises:
        ConfigurationError: The library is not installed, or there are no credentials.
    """

    def __init__(self, location: Location, *, instance_metadata: bool = False) -> None:
        try:
            import obstore
        except ImportError:
            raise ConfigurationError(
                f"{location.url} needs the library obstore: pip install 'twisted-index[objects]'."
            ) from None
        self._obstore: Any = obstore
        self._location = location
        self._reported, self._reported_at = "", 0.0
        self._patience = Patience()
        self._quotes_writes = False
        for name, value in os.environ.items():
            if value and _ENDPOINT.fullmatch(name) and not re.match(r"https?://[^/\s]", value):
                raise ConfigurationError(f"{name} has to be a URL, such as https://store.example:9000.")
        names = [name for name, value in os.environ.items() if value]
        if not instance_metadata and not any(map(_CREDENTIALS[location.scheme].fullmatch, names)):
            raise ConfigurationError(
                f"There are no credentials for {location.url}: set {variables_of(location.scheme)}, or"
                " instance-metadata = true to ask the machine that this runs on."
            )

    @property
    def url(self) -> str:
        """See `Bucket`."""
        return self._location.url

    @cached_property
    def _store(self) -> Any:
        from obstore.store import AzureStore, GCSStore, S3Store

        options = self._options
        name, prefix = self._location.bucket, self._location.prefix or None
        if self._location.scheme == "az":
            return AzureStore(name, prefix=prefix, **options)
        if self._location.scheme == "gs":
            return GCSStore(name, prefix=prefix, **options)
        return S3Store(name, prefix=prefix, **options)

    @property
    def _options(self) -> Any:
        client = {**_TIMEOUTS, "allow_http": any(map(is_set, _ALLOW_HTTP))}
        return {"client_options": client, "retry_config": _RETRIES}

    @cached_property
    def _requests(self) -> S3Requests:
        return S3Requests(self._location.bucket, self._options)

    def list_all(self, prefix: str = "", *, limit: int | None = None) -> Listing:
        """See `Bucket`."""
        with self._waiting():
            if self._location.scheme == "s3":
                return self._list_s3(prefix, level=False, limit=limit)
            objects: dict[str, StoredObject] = {}
            requests = 0
            for chunk in self._obstore.list(self._store, prefix or None, chunk_size=1000):
                requests += 1
                objects |= _objects_in(chunk)
                if limit is not None and len(objects) > limit:
                    return Listing(objects=objects, is_complete=False, requests=requests)
        return Listing(objects=objects, requests=max(1, requests))

    @property
    def can_seek(self) -> bool:
        """See `Bucket`. For Azure the library lists all, and drops what comes before."""
        return self._location.scheme != "az"

    def list_after(self, key: str) -> Listing:
        """See `Bucket`."""
        with self._waiting():
            if self._location.scheme == "s3":
                return self._list_s3("", level=False, limit=0, after=key)
            for chunk in self._obstore.list(self._store, offset=key or None, chunk_size=1000):
                return Listing(objects=_objects_in(chunk), is_complete=len(chunk) < 1000)
        return Listing()

    def list_level(self, prefix: str = "") -> Listing:
        """See `Bucket`."""
        with self._waiting():
            if self._location.scheme == "s3":
                return self._list_s3(prefix, level=True, limit=None)
            found = self._obstore.list_with_delimiter(self._store, prefix or None)
        objects = _objects_in(found["objects"])
        folders = frozenset(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"]) - {""}
        return Listing(
            objects=objects, folders=folders, requests=max(1, -(-(len(objects) + len(folders)) // 1000))
        )

    def _list_s3(self, prefix: str, *, level: bool, limit: int | None, after: str | None = None) -> Listing:
        base = f"{self._location.prefix}/" if self._location.prefix else ""
        return list_objects(self._requests.get, base, prefix, level=level, limit=limit, after=after)

    def read(self, key: str, *, limit: int, etag: str = "") -> ObjectContent | None:
        """See `Bucket`."""
        with self._waiting(ObjectChanged if etag else None):
            try:
                found = self._obstore.get(
                    self._store, key, options={"if_match": _quoted(etag)} if etag else None
                )
            except FileNotFoundError as error:
                # A proxy whose backend is away answers 404 as well, and that would empty what is read.
                if self._location.scheme == "s3" and "NoSuchKey" not in str(error):
                    raise OSError("404 without NoSuchKey") from error
                return None
            stored = _object(found.meta)
            if stored.size > limit:
                raise ObjectChanged(key)
            metadata = _metadata_of(found)
            return ObjectContent(object=stored, content=_whole(found, stored), metadata=metadata)

    def read_metadata(self, key: str, *, etag: str) -> Mapping[str, str]:
        """See `Bucket`."""
        with self._calling(ObjectChanged):
            try:
                # The library's HEAD does not return it.
                return _metadata_of(self._get_range(key, {"range": (0, 1), "if_match": _quoted(etag)}))
            except FileNotFoundError:
                raise ObjectChanged(key) from None

    def read_range(self, key: str, start: int, stop: int, *, etag: str) -> bytes:
        """See `Bucket`."""
        pieces = list(self.stream(key, start, stop, etag=etag))
        return b"".join(pieces)

    def stream(self, key: str, start: int, stop: int, *, etag: str) -> Iterator[bytes]:
        """See `Bucket`."""
        left = stop - start
        options = {"range": (start, stop), "if_match": _quoted(etag)}
        with self._calling(ObjectChanged):
            try:
                found = self._get_range(key, options)
            except FileNotFoundError:
                raise ObjectChanged(key) from None
            skip = start - found.range[0]
            for piece in _grown(found.stream(min_chunk_size=_FIRST_PIECE)):
                data = piece[skip : skip + left]
                skip = max(0, skip - len(piece))
                left -= len(data)
                yield from (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
                if not left:
                    return
        if left:
            raise Unavailable("The object store has sent less than the whole object.")

    def _get_range(self, key: str, options: dict[str, Any]) -> Any:
        try:
            return self._obstore.get(self._store, key, options=options)
        except self._obstore.exceptions.GenericError as error:
            if "non-partial response" not in str(error):
                raise
            # A store without ranges, such as rclone: what comes before is read, and dropped.
            return self._obstore.get(self._store, key, options={"if_match": options["if_match"]})

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        return self._put(key, content, "create", metadata, ObjectExists)

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        return self._put(key, content, "overwrite", metadata)

    def replace(self, key: str, content: bytes, *, etag: str, metadata: Mapping[str, str]) -> StoredObject:
        """See `Bucket`."""
        # Ceph 16 takes a bare ETag only, and Cloudflare R2 a quoted one only, which it says.
        if not self._quotes_writes:
            try:
                return self._put(key, content, {"e_tag": etag}, metadata, ObjectChanged)
            except WantsQuotes:
                self._quotes_writes = True
        return self._put(key, content, {"e_tag": _quoted(etag)}, metadata, ObjectChanged)

    def _put(
        self, key: str, content: bytes, mode: Any, metadata: Mapping[str, str], unmet: _Unmet = None
    ) -> StoredObject:
        with self._writing(unmet):
            try:
                # In one request: a condition is not kept for an object in parts.
                result = self._obstore.put(
                    self._store, key, content, attributes=dict(metadata), mode=mode, use_multipart=False
                )
            except FileNotFoundError:
                # No answer to a write: parts of the store are away.
                raise Unavailable("The object store could not write.") from None
        return StoredObject(key=key, size=len(content), etag=_etag(result.get("e_tag")), modified_ns=0)

    def put_file(self, key: str, file: BinaryIO, size: int, *, metadata: Mapping[str, str]) -> None:
        """See `Bucket`."""
        # Its parts are written by calls: from an iterator that the library reads, no call could be made.
        with self._writing(), self._opened(key, metadata) as writer:
            for piece in _parts(file, size):
                writer.write(piece)

    def _opened(self, key: str, metadata: Mapping[str, str]) -> Any:
        """Open an object for writing in parts; it is there once that is closed without an error."""
        return self._obstore.open_writer(
            self._store, key, attributes=dict(metadata), buffer_size=5 * _PIECE, max_concurrency=4
        )

    def delete(self, key: str) -> None:
        """See `Bucket`."""
        with self._writing():
            try:
                self._obstore.delete(self._store, key)
            except FileNotFoundError:
                return

    def copy(self, key: str, target: str) -> None:
        """See `Bucket`."""
        with self._writing():
            try:
                self._obstore.copy(self._store, key, target)
            except FileNotFoundError:
                raise ObjectChanged(key) from None

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """See `Bucket`."""
        with self._calling():
            return str(self._obstore.sign(self._store, "GET", key, timedelta(seconds=seconds)))

    @contextmanager
    def _writing(self, unmet: _Unmet = None) -> Iterator[None]:
        try:
            with self._waiting(unmet):
                yield
        except AccessDenied as error:
            raise WriteForbidden(
                f"The credentials of this server may not write to {self.url}: grant them that."
            ) from error

    @contextmanager
    def _waiting(self, unmet: _Unmet = None) -> Iterator[None]:
        with self._patience.waiting(), self._calling(unmet):
            yield

    @contextmanager
    def _calling(self, unmet: _Unmet = None) -> Iterator[None]:
        """
        Translate the errors of the library.

        Args:
            unmet: What it means that the condition of the call is not met. Without one, a store that answers
                409 or 412 refuses for a reason of its own, such as a policy of the bucket.
        """
        errors = self._obstore.exceptions
        met = {ObjectExists: errors.AlreadyExistsError, ObjectChanged: errors.PreconditionError}
        try:
            yield
        except BaseException as error:
            if unmet is not None and isinstance(error, met[unmet]):
                raise unmet(str(self.url)) from error
            # The library's panics are no exceptions that are caught elsewhere.
            known = (errors.BaseError, OSError, ValueError, NotImplementedError)
            if not isinstance(error, known) and not _is_panic(error):
                raise
            failure = unavailable(error, self.url)
            self._report(failure.message, error)
            raise failure from error

    def _report(self, sentence: str, error: BaseException) -> None:
        """Log a failure, if it is another one than the last, or that was a while ago."""
        now = time.monotonic()
        if sentence != self._reported or now > self._reported_at + _REPORT_SECONDS:
            self._reported, self._reported_at = sentence, now
            _log.error("{url}: {sentence} ({error})", url=self.url, sentence=sentence, error=cause_of(error))


def _grown(chunks: Iterable[Any]) -> Iterator[bytes]:
    """Join what comes: the first piece is passed on at once, later ones are large: each costs a turn."""
    waiting, size, wanted = [], 0, _FIRST_PIECE
    for chunk in chunks:
        waiting.append(bytes(chunk))
        size += len(waiting[-1])
        if size >= wanted:
            yield b"".join(waiting)
            waiting, size, wanted = [], 0, _LATER_PIECES
    if waiting:
        yield b"".join(waiting)


def _objects_in(found: Iterable[Any]) -> dict[str, StoredObject]:
    return {stored.key: stored for stored in map(_object, found)}


def _object(meta: Any) -> StoredObject:
    modified = meta["last_modified"]
    return StoredObject(
        key=meta["path"],
        size=meta["size"],
        etag=_etag(meta["e_tag"]),
        modified_ns=int(modified.timestamp()) * 10**9 + modified.microsecond * 1000,
    )


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


def _metadata_of(found: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in found.attributes.items()}


def _whole(found: Any, stored: StoredObject) -> bytes:
    """Read an object, and no more than it has: the length that a store announces may be untrue."""
    pieces, left = [], stored.size
    for piece in found.stream(min_chunk_size=_PIECE):
        pieces.append(bytes(piece))
        left -= len(pieces[-1])
        if left < 0:
            break
    if left:
        raise Unavailable("The object store has sent another number of bytes than the object has.")
    return b"".join(pieces)


def _etag(value: str | None) -> str:
    return (value or "").strip('"')


def _quoted(etag: str) -> str:
    """Return an ETag as RFC 9110 writes it, which every store takes where it reads."""
    return f'"{etag}"'


def _parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    file.seek(0)
    while size:
        piece = file.read(min(size, 5 * _PIECE))
        if not piece:
            raise Unavailable("The received file has become shorter.")
        size -= len(piece)
        yield piece
