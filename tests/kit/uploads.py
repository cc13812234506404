"""What tests of uploads share: forms as bytes, a store and rights in memory, a site that takes uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twisted_index.config.settings import Limits, UploadSettings
from twisted_index.errors import Conflict, Unauthorized
from twisted_index.interfaces import (
    ANONYMOUS,
    Action,
    Credentials,
    IAccessControl,
    Identity,
    ISpool,
    IStore,
    Upload,
)
from twisted_index.testing.in_memory import SiteInMemory
from twisted_index.web.requests.authorization import Authorizer
from twisted_index.web.requests.client_info import ClientInfoReader
from twisted_index.web.requests.context import RequestContext
from twisted_index.web.requests.routes import Endpoint, Route, is_upload_path
from twisted_index.web.responses.send import send_response
from twisted_index.web.server.site import IndexSite
from twisted_index.web.uploads.slots import UploadSlots
from twisted_index.web.uploads.view import UploadView

BOUNDARY = "a-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
NAME = "demo-1.0-py3-none-any.whl"
#: A user who may, one who may not, and one who may only upload to what is there: all with the password "pw".
ALICE, BOB, CAROL = (f"Basic {code}" for code in ("YWxpY2U6cHc=", "Ym9iOnB3", "Y2Fyb2w6cHc="))


def part(name: str, value: bytes | str, filename: str | None = None, kind: str | None = None) -> bytes:
    """Write one part of a form, with what stands before it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if kind is not None:
        head += f"\r\nContent-Type: {kind}"
    return head.encode() + b"\r\n\r\n" + (value.encode() if isinstance(value, str) else value) + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
ACTION = part(":action", "file_upload")


def form(*parts: bytes, end: bytes = END) -> bytes:
    """Write a form."""
    return b"".join(parts) + end


def upload_form(content: bytes = b"wheel", filename: str = NAME, **fields: str) -> bytes:
    """Write the form that twine would send, nearly."""
    said = [part(name, value) for name, value in fields.items()]
    return form(ACTION, part("protocol_version", "1"), *said, part("content", content, filename))


@implementer(ISpool)
class MemorySpool:
    """A spool that notes how it was closed; it writes at once, or when it is told to."""

    def __init__(self, slow: bool = False) -> None:
        self.data = bytearray()
        self.closed = 0
        self.slow = slow
        self.pending: Deferred[None] | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    def expect_digests(self, names: Collection[str]) -> None:
        assert not self.data, "said too late"

    def digests(self, names: Collection[str] = ()) -> Mapping[str, str]:
        return {
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "md5": hashlib.md5(self.data).hexdigest(),
            "blake2b_256": hashlib.blake2b(self.data, digest_size=32).hexdigest(),
        }

    def write(self, data: bytes) -> Deferred[None]:
        assert not self.closed, "written after it was closed"
        assert self.pending is None, "written while it was written"
        self.data += data
        if not self.slow:
            return succeed(None)
        self.pending = Deferred()
        return self.pending

    def go_on(self) -> None:
        """Let the write that is waited for be done."""
        assert self.pending is not None
        pending, self.pending = self.pending, None
        pending.callback(None)

    def close(self) -> None:
        assert self.pending is None, "closed while it was written"
        self.closed += 1


@implementer(IStore)
class MemoryStore:
    """Keeps files by their names."""

    def __init__(self, slow: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.uploads: list[Upload] = []
        self.spools: list[MemorySpool] = []
        self.slow = slow

    def spool(self) -> MemorySpool:
        self.spools.append(MemorySpool(self.slow))
        return self.spools[-1]

    def publish(self, upload: Upload) -> bool:
        spool = upload.spool
        assert isinstance(spool, MemorySpool)
        self.uploads.append(upload)
        spool.close()
        there = self.files.setdefault(upload.filename, bytes(spool.data))
        if there != spool.data:
            raise Conflict(f"File already exists: {upload.filename} is here with other bytes.")
        return len([one for one in self.uploads if one.filename == upload.filename]) == 1

    @property
    def left(self) -> int:
        """Spools that nobody has let go of."""
        assert all(spool.closed <= 1 for spool in self.spools)
        return sum(not spool.closed for spool in self.spools)

    def delete(self, project: str, filename: str, *, by: str) -> None:
        raise NotImplementedError

    def yank(self, project: str, *, version=None, filename=None, reason="", by: str) -> tuple[str, ...]:
        raise NotImplementedError

    def unyank(self, project: str, *, version=None, filename=None, by: str) -> tuple[str, ...]:
        raise NotImplementedError

    def set_status(self, project: str, status: Any, *, by: str) -> None:
        raise NotImplementedError


@implementer(IAccessControl)
@dataclass
class MemoryAccess:
    """Knows Alice, Bob and Carol; finds them at once, or when `waiting` is fired."""

    public_read: bool = True
    has_users: bool = True
    generation: int = 0
    anyone: bool = False
    slow: bool = False
    waiting: list[Deferred[None]] = field(default_factory=list)

    async def authenticate(self, credentials: Credentials) -> Identity:
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if credentials.authorization is None:
            return ANONYMOUS
        for user, right in (("alice", ALICE), ("bob", BOB), ("carol", CAROL)):
            if credentials.authorization.decode() == right:
                return Identity(user=user)
        raise Unauthorized("The user name or password is wrong.")

    def permits(self, identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
        if self.anyone or identity.user == "alice":
            return True
        if identity.user == "carol":
            return action is Action.UPLOAD and project in ("", "demo")
        return action is Action.READ


class _Taking(Resource):
    """Answers every POST by `UploadView.answer`, and every GET."""

    isLeaf = True

    def __init__(self, uploads: UploadView) -> None:
        Resource.__init__(self)
        self.uploads = uploads

    @property
    def slots(self) -> UploadSlots:
        return self.uploads.slots

    def upload_at(
        self, request: Any, segments: Sequence[bytes], *, is_root: bool
    ) -> tuple[UploadView, None] | None:
        return (self.uploads, None) if is_upload_path(segments, mounted=False) else None

    def render_GET(self, request: Any) -> bytes:
        return b"here\n"

    def render_POST(self, request: Any) -> int:
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        context = RequestContext(request=request, route=Route(Endpoint.UPLOAD))
        answer = Deferred.fromCoroutine(self.uploads.answer(context))
        answer.addCallback(lambda response: None if gone else send_response(request, response))
        answer.addErrback(lambda failure: gone or failure)
        return NOT_DONE_YET


class UploadSite(SiteInMemory):
    """A site that takes uploads, without a port."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        access: MemoryAccess | None = None,
        limits: Limits | None = None,
        upload_settings: UploadSettings | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        self.access = access or MemoryAccess()
        self.uploads = uploads_of(self.store, self.access, upload_settings)
        clock = Clock()
        super().__init__(IndexSite(_Taking(self.uploads), reactor=clock, limits=limits), clock)

    def upload(
        self,
        body: bytes,
        *,
        path: str = "/legacy/",
        headers: Mapping[str, str] | None = None,
        as_user: str | None = ALICE,
    ) -> Any:
        """Upload a form on a connection of its own."""
        return self.get(path, method="POST", headers=fields_of(headers, as_user), body=body)


def uploads_of(store: Any, access: Any, upload_settings: UploadSettings | None = None) -> UploadView:
    origins = ClientInfoReader()
    return UploadView(
        store, Authorizer(access, origins), origins, settings=upload_settings or UploadSettings(upload=True)
    )


def fields_of(headers: Mapping[str, str] | None = None, as_user: str | None = ALICE) -> dict[str, str]:
    """Give the header fields of an upload."""
    usual = {"Content-Type": CONTENT_TYPE}
    if as_user is not None:
        usual["Authorization"] = as_user
    return usual | dict(headers or {})


def head(fields: Iterable[tuple[str, str]], path: str = "/legacy/", version: str = "1.1") -> bytes:
    """Write the header of an upload."""
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: index.test",
        *(f"{name}: {value}" for name, value in fields),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
