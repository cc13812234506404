"""Views that change files: deleting, yanking, project statuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import BadRequest, UnsupportedMediaType
from twisted_index.interfaces import Action
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.simple.names import is_valid_name, normalize
from twisted_index.web.requests.context import JSON, read_small_body
from twisted_index.web.responses.response import Response, with_change
from twisted_index.web.responses.send import header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.web.server import Request

    from twisted_index.interfaces import IStore
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext

_YES = ("true", "yes", "1", "on")
_NO = ("false", "no", "0", "off")
#: Fields of a form; only five have a meaning.
_MOST_FIELDS = 100


class ManageViews:
    """
    Passes changes on to a store.

    Args:
        store: Makes the changes.
        authorizer: Checks the rights of the client.
    """

    def __init__(self, store: IStore, authorizer: Authorizer) -> None:
        self._store = store
        self._authorizer = authorizer

    async def delete(self, context: RequestContext) -> Response:
        """Delete the file that the URL names."""
        route = context.route
        if route.sidecar is not None:
            raise BadRequest("Delete the file itself; its sidecars are deleted with it.")
        await result_of(self._store.delete, route.project, route.filename, by=context.identity.name)
        return self._done({"deleted": route.filename}, route.project)

    async def yank(self, context: RequestContext) -> Response:
        """Yank or unyank a release or a file."""
        fields = _read_fields(context.request)
        project = _project(fields)
        identity = await self._authorizer.require(context.request, Action.YANK, project)
        version, filename = fields.get("version"), fields.get("filename")
        if (version is None) is (filename is None):
            raise BadRequest("Give either version or filename.")
        if not _is_true(fields.get("yanked", "true")):
            files = await result_of(
                self._store.unyank, project, version=version, filename=filename, by=identity.name
            )
            return self._done({"project": project, "yanked": False, "files": list(files)}, project)
        reason = fields.get("reason", "")
        files = await result_of(
            self._store.yank, project, version=version, filename=filename, reason=reason, by=identity.name
        )
        done = {"project": project, "yanked": True, "reason": reason, "files": list(files)}
        return self._done(done, project)

    async def set_status(self, context: RequestContext) -> Response:
        """Set the status of a project (PEP 792)."""
        fields = _read_fields(context.request)
        project = _project(fields)
        identity = await self._authorizer.require(context.request, Action.YANK, project)
        known = [status.value for status in Status]
        if fields.get("status") not in known:
            raise BadRequest(f"Give a status: one of {', '.join(known)}.")
        status = ProjectStatus(status=Status(fields["status"]), reason=fields.get("reason", ""))
        await result_of(self._store.set_status, project, status, by=identity.name)
        done = {"project": project, "status": status.status.value, "reason": status.reason}
        return self._done(done, project)

    def _done(self, document: Mapping[str, Any], project: str) -> Response:
        body = json.dumps(document, ensure_ascii=False).encode("utf-8") + b"\n"
        return with_change(Response(headers=JSON, body=body), self._store, [project])


def _read_fields(request: Request) -> dict[str, str]:
    """Read the request body: a JSON object of strings and booleans, or a form as curl's `-d` sends it."""
    kind = (header(request, b"Content-Type") or b"").partition(b";")[0].strip().lower()
    reader = _READERS.get(kind)
    if reader is None:
        raise UnsupportedMediaType("Send application/json, or application/x-www-form-urlencoded.")
    return reader(read_small_body(request))


def _read_form(body: bytes) -> dict[str, str]:
    """Read a form; the last value of a repeated field wins."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise BadRequest("The body is not a form in UTF-8.") from None
    return dict(pairs)


def _read_json(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body)
        # JSON can express a lone surrogate; UTF-8 cannot.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON in UTF-8.") from None
    if not isinstance(document, dict) or not all(map(_is_field, document.items())):
        raise BadRequest("The body must be a JSON object of strings; yanked may be true or false.")
    return {key: str(value) for key, value in document.items()}


_READERS: Mapping[bytes, Callable[[bytes], dict[str, str]]] = {
    b"application/json": _read_json,
    b"application/x-www-form-urlencoded": _read_form,
}


def _is_field(pair: tuple[str, object]) -> bool:
    name, value = pair
    return isinstance(value, str) or (name == "yanked" and isinstance(value, bool))


def _is_true(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise BadRequest("yanked must be true or false.")
    return text.lower() in _YES


def _project(fields: Mapping[str, str]) -> str:
    name = fields.get("project", "")
    if not is_valid_name(name):
        raise BadRequest("Give a valid project name.")
    return normalize(name)
