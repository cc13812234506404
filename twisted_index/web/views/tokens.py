"""Views of the tokens that users make for themselves: JSON only, in the words of the console command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted_index.access.own_tokens import TokenRequest
from twisted_index.access.token_terms import token_event, token_name
from twisted_index.concurrency.maybe_awaitable import result_of
from twisted_index.errors import BadRequest, NotFound
from twisted_index.events.origin import stamp_origin
from twisted_index.interfaces import WHOLE_INDEX, Action
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.name_patterns import ANY_PROJECT, NO_NAME, index_pattern, project_pattern
from twisted_index.web.requests.context import JSON, read_json
from twisted_index.web.responses.response import NOSNIFF, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from twisted_index.access.own_tokens import OwnTokens, TokenUse
    from twisted_index.access.token_records import Token, TokenPermissions
    from twisted_index.interfaces import AuditEvent, IAuditLog
    from twisted_index.web.requests.authorization import Authorizer
    from twisted_index.web.requests.context import RequestContext
    from twisted_index.web.responses.response import Headers

#: The keys that hold patterns. CREATE is no word of its own: it comes with UPLOAD.
_PATTERNS = {
    action.value: action
    for action in (Action.UPLOAD, Action.READ, Action.YANK, Action.DELETE, Action.PROMOTE)
}
_FLAGS = {action.value: action for action in (Action.OPERATE, Action.FOLLOW, Action.MANAGE)}
_KEYS = ("name", *_PATTERNS, *_FLAGS, "indexes", "expires")

#: Patterns of one token, and characters of one of them: names of PyPI and of indexes have at most 100 or so.
_MOST_PATTERNS = 100
_MOST_CHARACTERS = 100

#: For a secret, which no cache may store (RFC 9111 section 5.2.2.5).
_SECRET: Headers = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), *NOSNIFF)


class TokenViews:
    """
    Lets users make, list and revoke tokens.

    Args:
        own_tokens: The tokens; None where none can be kept.
        audit_log: Records the changes; None for none.
        authorizer: Checks who sees the tokens of others.
    """

    def __init__(
        self, own_tokens: OwnTokens | None, audit_log: IAuditLog | None, authorizer: Authorizer
    ) -> None:
        self._tokens = own_tokens
        self._audit_log = audit_log
        self._authorizer = authorizer

    async def create(self, context: RequestContext) -> Response:
        """Make a token, and show its secret once."""
        tokens, user = self._tokens_of(context)
        wanted = parse_token_request(read_json(context.request))
        grouped = bool(context.identity.proxy_groups)
        token, secret = await tokens.create(user, wanted, in_proxy_groups=grouped)
        # A token that could not be recorded is of no use to anyone: its secret is not shown then.
        await self._record(token_event("token-create", token, by=user, now=tokens.now()))
        document = {"token": secret, "name": token.name, "expires": _moment(token.expires)}
        return _document(document, 201, _SECRET)

    async def listing(self, context: RequestContext) -> Response:
        """List the tokens of a user; for one with the right to operate, all of them."""
        tokens, user = self._tokens_of(context)
        body = await tokens.listed(self._only_of(context, user), _write_list)
        return Response(headers=JSON, body=body)

    async def revoke(self, context: RequestContext) -> Response:
        """Revoke a token of a user; for one with the right to operate, any token."""
        tokens, user = self._tokens_of(context)
        token = await tokens.revoke(context.route.token, owner=self._only_of(context, user))
        await self._record(token_event("token-revoke", token, by=user, now=tokens.now()))
        return _document({"revoked": token.name})

    def _tokens_of(self, context: RequestContext) -> tuple[OwnTokens, str]:
        user = context.identity.user
        if self._tokens is None or user is None:
            raise NotFound("This server keeps no tokens: it has no state folder.")
        return self._tokens, user

    def _only_of(self, context: RequestContext, user: str) -> str | None:
        """Return the user whose tokens the client may see; None for those of all."""
        return None if self._authorizer.permits(context.identity, Action.OPERATE, index="") else user

    async def _record(self, event: AuditEvent) -> None:
        if self._audit_log is not None:
            await result_of(self._audit_log.record, stamp_origin(event))


def parse_token_request(document: object) -> TokenRequest:
    """
    Parse the body of a request for a token.

    Raises:
        BadRequest: A key is unknown, or its value cannot be used.
    """
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    for key in document:
        if key not in _KEYS:
            raise BadRequest(f"{key[:80]!r} is not a key here; use {', '.join(_KEYS)}.")
    name, expires = document.get("name"), document.get("expires")
    if not isinstance(name, str):
        raise BadRequest("name must be a string.")
    if "expires" in document and not isinstance(expires, str):
        raise BadRequest("expires must be a string, such as 90d, 2027-01-31 or never.")
    try:
        token_name(name)
    except ValueError as error:
        raise BadRequest(f"name: {error}.") from None
    permissions, indexes = _permissions(document), _indexes(document.get("indexes", NO_NAME))
    if len(indexes) + sum(map(len, permissions.values())) > _MOST_PATTERNS:
        raise BadRequest(f"A token has at most {_MOST_PATTERNS} patterns.")
    return TokenRequest(name=name, permissions=permissions, indexes=indexes, expires=expires)


def _permissions(document: dict[str, Any]) -> TokenPermissions:
    found = {action: _patterns(key, document.get(key, [])) for key, action in _PATTERNS.items()}
    for key, action in _FLAGS.items():
        granted = document.get(key, False)
        if not isinstance(granted, bool):
            raise BadRequest(f"{key} must be true or false.")
        if granted:
            found[action] = (ANY_PROJECT,)
    permissions = {action: patterns for action, patterns in found.items() if patterns}
    if not permissions:
        raise BadRequest('Give at least one permission, such as "upload": ["acme-*"].')
    return permissions


def _patterns(key: str, raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise BadRequest(f'{key} must be a list of patterns of project names, such as ["acme-*"].')
    return _parsed(key, raw, project_pattern)


def _indexes(raw: object) -> tuple[str, ...]:
    """Parse where the permissions hold: a string stands for a list of one."""
    texts = [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest('indexes must be a list of names of indexes, such as ["prod", "pr-*"].')
    return _parsed("indexes", texts, index_pattern)


def _parsed(key: str, texts: list[str], parse: Callable[[str], str]) -> tuple[str, ...]:
    if any(len(text) > _MOST_CHARACTERS for text in texts):
        raise BadRequest(f"{key}: a pattern has at most {_MOST_CHARACTERS} characters.")
    try:
        return tuple(dict.fromkeys(map(parse, texts)))
    except ValueError as error:
        raise BadRequest(f"{key}: {error}.") from None


def _document(document: dict[str, Any], status: int = 200, headers: Headers = JSON) -> Response:
    return Response(status=status, headers=headers, body=json.dumps(document).encode("ascii") + b"\n")


def _write_list(rows: Iterator[TokenUse]) -> bytes:
    """Write a list of tokens, one by one, so that many of them do not hold up other threads."""
    written = (json.dumps(_row(token, used)) for token, used in rows)
    return f'{{"tokens": [{", ".join(written)}]}}\n'.encode("ascii")


def _row(token: Token, used: datetime | None) -> dict[str, Any]:
    granted = token.permissions.items()
    words = {action.value: action in WHOLE_INDEX or list(patterns) for action, patterns in granted}
    return {
        "name": token.name,
        "by": token.by,
        **words,
        **({} if token.indexes == (NO_NAME,) else {"indexes": list(token.indexes)}),
        "created": _moment(token.created),
        "expires": _moment(token.expires),
        "last-used": _moment(used),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else format_upload_time(moment)
