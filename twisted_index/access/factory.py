"""Builds access control from settings, and reports invalid ones at the start."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from twisted.cred import strcred
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_index.access.control import AccessControl, AnonymousAccess
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.access.login_throttle import LoginThrottle
from twisted_index.access.rights import default_rights
from twisted_index.access.rights_file import FixedRights, IRightsProvider, RightsFile
from twisted_index.access.tokens import TokenStore
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.concurrency.fair_queue import FairQueue, QueueKey
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.access.token_place import TokenPlace
    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.config.settings import AccessSettings, UploadSettings
    from twisted_index.interfaces import IAccessControl

_HTPASSWD = "htpasswd"

_NEEDS_USER = (
    "Uploads require a user: set --auth htpasswd:FILE, create a token with twisted-index token create NAME"
    " --upload PATTERN, or set --anonymous-upload."
)
_CONFLICTING_RIGHTS = (
    '--anonymous-upload cannot be combined with a file of rights; write a rule with allow = ["create",'
    ' "upload"] and to = "everyone".'
)


def make_access(
    guarding: AccessSettings,
    publishing: UploadSettings,
    state: str | None,
    reactor: IReactorTime,
    worker: IThreadRunner,
    throttle: LoginThrottle | None = None,
    report: Callable[[str], None] | None = None,
    *,
    default_index: str = "",
    shared_tokens: TokenPlace | None = None,
) -> IAccessControl:
    """
    Build access control.

    Reads each file once, to check it; nothing stays open.

    Args:
        guarding: Users, rights, proxies.
        publishing: Whether uploads are enabled, and for which clients.
        state: Absolute path of the state folder, which holds the tokens; None without one.
        reactor: The clock.
        worker: Hashes passwords.
        throttle: Counts failed logins; the same when settings are reloaded. None for a new one.
        report: See `AccessControl`.
        default_index: See `Rights`.
        shared_tokens: Where the tokens lie, if not in the state folder.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    if guarding.rights is not None and publishing.anonymous_upload:
        raise ConfigurationError(_CONFLICTING_RIGHTS)
    throttle = throttle or LoginThrottle(reactor)
    checkers = [make_checker(description, reactor, worker, throttle.turns) for description in guarding.auth]
    tokens = TokenStore(state, place=shared_tokens) if state is not None else None
    if tokens is not None and shared_tokens is None:
        tokens.read()
    proxied = make_proxies(guarding).asserts_users
    users = bool(checkers) or proxied or (tokens is not None and tokens.exists())
    if publishing.upload and not users and not publishing.anonymous_upload:
        raise ConfigurationError(_NEEDS_USER)
    if not users and tokens is None and guarding.rights is None:
        return AnonymousAccess(anonymous_upload=publishing.anonymous_upload)
    return AccessControl(
        checkers=checkers,
        tokens=tokens,
        rights=_rights(guarding, publishing, default_index),
        throttle=throttle,
        worker=worker,
        clock=reactor,
        proxies_assert_users=proxied,
        max_token_age=guarding.max_token_age,
        report=report,
    )


def make_proxies(guarding: AccessSettings) -> TrustedProxies:
    """Build the trusted proxies from settings."""
    return TrustedProxies(
        guarding.trusted_proxies,
        user_header=guarding.user_header,
        groups_header=guarding.groups_header,
        groups_separator=guarding.groups_separator,
    )


def _rights(guarding: AccessSettings, publishing: UploadSettings, default_index: str) -> IRightsProvider:
    if guarding.rights is not None:
        proxy_groups = guarding.groups_header is not None
        return RightsFile.at(guarding.rights, proxy_groups=proxy_groups, default_index=default_index)
    return FixedRights(default_rights(anonymous_upload=publishing.anonymous_upload))


def make_checker(
    description: str, clock: IReactorTime, worker: IThreadRunner, turns: FairQueue
) -> ICredentialsChecker:
    """
    Build a password checker.

    Args:
        description: `TYPE` or `TYPE:ARGUMENTS`, in the syntax of strcred.
        clock: The reactor.
        worker: Hashes passwords.
        turns: The queue for hashing, shared by all checkers.

    Raises:
        ConfigurationError: The type is unknown, its arguments are wrong, or it checks no passwords.
    """
    kind, _, argument = description.partition(":")
    if kind == _HTPASSWD:
        # Without the plugin: the plugin cache may be stale, and the plugin has no worker.
        return _htpasswd(argument, clock, worker, turns)
    if kind == "unix":
        _require_crypt()
    if kind == "file":
        _require_readable(argument)
    try:
        checker = strcred.makeChecker(description)
    except strcred.InvalidAuthType:
        raise ConfigurationError(f"--auth {kind}: unknown type; available: {_types()}.") from None
    except Exception as error:
        # Any exception, since these are third-party plugins; never with the arguments, which may
        # be passwords.
        raise ConfigurationError(f"--auth {kind}: {_error_text(error, argument)}") from error
    if IUsernamePassword not in checker.credentialInterfaces:
        raise ConfigurationError(f"--auth {kind}: this type checks no passwords; available: {_types()}.")
    return _adapt(kind, checker, worker, turns)


def _htpasswd(path: str, clock: IReactorTime, worker: IThreadRunner, turns: FairQueue) -> HtpasswdChecker:
    if not path:
        raise ConfigurationError(f"--auth {_HTPASSWD}: write {_HTPASSWD}:FILE.")
    checker = HtpasswdChecker(os.path.abspath(os.path.expanduser(path)), worker, clock, turns)
    checker.load()
    return checker


def _require_readable(path: str) -> None:
    """Reject an unreadable file, which Twisted's own checker would only report at the first login."""
    try:
        with open(path, "rb"):
            return
    except OSError as error:
        raise ConfigurationError(f"--auth file: {path or 'FILE'}: {error.strerror}.") from error


def _require_crypt() -> None:
    """Reject `unix` where Python lacks the modules that Twisted needs to read the system's users."""
    if importlib.util.find_spec("crypt") is None or importlib.util.find_spec("spwd") is None:
        raise ConfigurationError(
            "--auth unix: Python 3.13 and later cannot read the system's users; use htpasswd:FILE."
        )


def _types() -> str:
    """Return the installed types of password checkers, for messages."""
    types = {_HTPASSWD}
    for factory in strcred.findCheckerFactories():
        if IUsernamePassword in factory.credentialInterfaces:
            types.add(factory.authType)
    with contextlib.suppress(ConfigurationError):
        _require_crypt()
        return ", ".join(sorted(types))
    return ", ".join(sorted(types - {"unix"}))


def _error_text(error: Exception, argument: str) -> str:
    text = str(error)
    if not text or (argument and argument in text):
        return "the part after the colon cannot be used."
    return f"{text}."


def _adapt(kind: str, checker: Any, worker: IThreadRunner, turns: FairQueue) -> ICredentialsChecker:
    """Repair two of Twisted's own checkers."""
    if kind == "memory" and isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Its plugin passes text where cred compares bytes, so it would reject every user.
        users: dict[Any, Any] = checker.users
        checker.users = {_octets(user): _octets(password) for user, password in users.items()}
    if kind == "unix":
        return _InThread(checker, worker, turns)
    result: ICredentialsChecker = checker
    return result


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@implementer(ICredentialsChecker)
class _InThread:
    """
    Runs a blocking checker in a thread.

    Args:
        checker: Returns a fired Deferred.
        worker: The threads.
        turns: The queue for hashing.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checker: Any, worker: IThreadRunner, turns: FairQueue) -> None:
        self._checker = checker
        self._worker = worker
        self._turns = turns

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Run the checker in a thread."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Any:
        avatar_id = await self._turns.run(
            getattr(credentials, "queue_key", QueueKey),
            lambda: self._worker.run(_call, self._checker.requestAvatarId, credentials),
        )
        if avatar_id is None:
            raise UnauthorizedLogin
        return avatar_id


def _call(check: Callable[[Any], Deferred[Any]], credentials: Any) -> Any:
    """Return the result of a fired Deferred; None if it failed."""
    results: list[Any] = []
    check(credentials).addCallbacks(results.append, lambda failure: failure.trap(UnauthorizedLogin) and None)
    return results[0] if results else None
