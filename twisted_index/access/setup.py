"""Access out of settings: what can be known to be wrong at the start is told then."""

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

from twisted_index.access.access import Access, OpenAccess
from twisted_index.access.forwarded import TrustedProxies
from twisted_index.access.htpasswd import HtpasswdChecker
from twisted_index.access.rights import default_rights
from twisted_index.access.rights_file import FixedRights, HasRights, RightsFile
from twisted_index.access.throttle import Throttle
from twisted_index.access.tokens import TokenStore
from twisted_index.access.turns import Lane, Turns
from twisted_index.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.interfaces import IAccess
    from twisted_index.settings import Guarding, Publishing
    from twisted_index.worker import Works

_HTPASSWD = "htpasswd"

_NEEDS_USER = (
    "Uploads need a user: give --auth htpasswd:FILE, or make a token with twisted-index token create NAME"
    " --upload PATTERN, or say --anyone-may-upload."
)
_TWO_ANSWERS = (
    'With a file of rights, --anyone-may-upload has no place: write a rule with allow = ["create", "upload"]'
    ' and to = "everyone".'
)


def make_access(
    guarding: Guarding,
    publishing: Publishing,
    state: str | None,
    reactor: IReactorTime,
    worker: Works,
) -> IAccess:
    """
    Make what says who may do what.

    Files are read once, to see whether they can be; nothing stays open.

    Args:
        guarding: Users, rights, proxies.
        publishing: Whether there are uploads, and whose.
        state: Absolute folder of the state, where tokens are; None without.
        reactor: Tells the time.
        worker: Hashes passwords.

    Returns:
        An IAccess.

    Raises:
        ConfigurationError: Something of it cannot work.
    """
    if guarding.rights is not None and publishing.anyone_may_upload:
        raise ConfigurationError(_TWO_ANSWERS)
    turns = Turns(reactor)
    checkers = [make_checker(description, reactor, worker, turns) for description in guarding.auth]
    tokens = TokenStore(state) if state is not None else None
    if tokens is not None:
        tokens.read()
    proxied = TrustedProxies(guarding.trusted_proxies).vouch
    users = bool(checkers) or proxied or (tokens is not None and tokens.exists())
    if publishing.upload and not users and not publishing.anyone_may_upload:
        raise ConfigurationError(_NEEDS_USER)
    if not users and tokens is None and guarding.rights is None:
        return OpenAccess(anyone_may_upload=publishing.anyone_may_upload)
    return Access(
        checkers=checkers,
        tokens=tokens,
        rights=_rights(guarding, publishing, reactor),
        throttle=Throttle(reactor),
        worker=worker,
        clock=reactor,
        proxied=proxied,
    )


def _rights(guarding: Guarding, publishing: Publishing, clock: IReactorTime) -> HasRights:
    if guarding.rights is not None:
        return RightsFile.at(guarding.rights, clock)
    return FixedRights(default_rights(anyone_may_upload=publishing.anyone_may_upload))


def make_checker(description: str, clock: IReactorTime, worker: Works, turns: Turns) -> ICredentialsChecker:
    """
    Make a checker of passwords.

    Args:
        description: Of strcred: `TYPE` or `TYPE:ARGUMENTS`.
        clock: Reactor.
        worker: Hashes.
        turns: Shared by all checkers that hash.

    Raises:
        ConfigurationError: There is no such type, its arguments are wrong, or it checks no passwords.
    """
    kind, _, argument = description.partition(":")
    if kind == _HTPASSWD:
        # Not by way of the plugin: the list of plugins may be out of date, and it brings no worker.
        return _htpasswd(argument, clock, worker, turns)
    if kind == "unix":
        _require_crypt()
    if kind == "file":
        _require_readable(argument)
    try:
        checker = strcred.makeChecker(description)
    except strcred.InvalidAuthType:
        raise ConfigurationError(f"--auth {kind}: there is no such type; there are: {_types()}.") from None
    except Exception as error:
        # Any exception, since these are plugins of anybody's; never with the arguments, which may
        # be passwords.
        raise ConfigurationError(f"--auth {kind}: {_why(error, argument)}") from error
    if IUsernamePassword not in checker.credentialInterfaces:
        raise ConfigurationError(f"--auth {kind}: this checks no passwords; there are: {_types()}.")
    return _adapted(kind, checker, worker, turns)


def _htpasswd(path: str, clock: IReactorTime, worker: Works, turns: Turns) -> HtpasswdChecker:
    if not path:
        raise ConfigurationError(f"--auth {_HTPASSWD}: write {_HTPASSWD}:FILE.")
    checker = HtpasswdChecker(os.path.abspath(os.path.expanduser(path)), worker, clock, turns)
    checker.load()
    return checker


def _require_readable(path: str) -> None:
    """Refuse a file that Twisted's own checker would only find out about at the first password."""
    try:
        with open(path, "rb"):
            return
    except OSError as error:
        raise ConfigurationError(f"--auth file: {path or 'FILE'}: {error.strerror}.") from error


def _require_crypt() -> None:
    """Refuse what would let in nobody: Twisted reads the users of the system with these modules."""
    if importlib.util.find_spec("crypt") is None or importlib.util.find_spec("spwd") is None:
        raise ConfigurationError("--auth unix: Python 3.13 and later cannot read these; use htpasswd:FILE.")


def _types() -> str:
    """List the types of checkers of passwords that are installed."""
    found = {_HTPASSWD}
    for factory in strcred.findCheckerFactories():
        if IUsernamePassword in factory.credentialInterfaces:
            found.add(factory.authType)
    with contextlib.suppress(ConfigurationError):
        _require_crypt()
        return ", ".join(sorted(found))
    return ", ".join(sorted(found - {"unix"}))


def _why(error: Exception, argument: str) -> str:
    text = str(error)
    if not text or (argument and argument in text):
        return "what stands behind the colon cannot be used."
    return f"{text}."


def _adapted(kind: str, checker: Any, worker: Works, turns: Turns) -> ICredentialsChecker:
    """Make up for what two of Twisted's own checkers lack."""
    if kind == "memory" and isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Its plugin gives text where cred speaks of bytes, and would never let anybody in.
        users: dict[Any, Any] = checker.users
        checker.users = {_octets(user): _octets(password) for user, password in users.items()}
    if kind == "unix":
        return _InThread(checker, worker, turns)
    found: ICredentialsChecker = checker
    return found


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@implementer(ICredentialsChecker)
class _InThread:
    """
    A checker that hashes where it is asked, asked in a thread.

    Args:
        checker: Answers at once.
        worker: Has the threads.
        turns: Says who is next.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, checker: Any, worker: Works, turns: Turns) -> None:
        self._checker = checker
        self._worker = worker
        self._turns = turns

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Ask it in a thread."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: Any) -> Any:
        await self._turns.take(getattr(credentials, "lane", Lane()))
        try:
            found = await self._worker.run(_answer, self._checker.requestAvatarId, credentials)
        finally:
            self._turns.done()
        if found is None:
            raise UnauthorizedLogin
        return found


def _answer(ask: Callable[[Any], Deferred[Any]], credentials: Any) -> Any:
    """Take the answer out of a Deferred that has it already; None if it failed."""
    answers: list[Any] = []
    ask(credentials).addCallbacks(answers.append, lambda failure: failure.trap(UnauthorizedLogin) and None)
    return answers[0] if answers else None
