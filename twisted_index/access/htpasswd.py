"""
Users with hashed passwords in a file of Apache's `htpasswd`.

A checker for Twisted's cred, for any Twisted server: `--auth htpasswd:FILE`. It reads the file again
when it changes, and hashes passwords in threads.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from twisted_index.access.authorization_header import MAX_PASSWORD, TOKEN_USER
from twisted_index.access.fingerprint import fingerprint
from twisted_index.access.known_identities import IWatchedUsers
from twisted_index.access.password_hashes import NEEDS_EXTRA, PasswordHash, parse_hash
from twisted_index.concurrency.fair_queue import FairQueue, QueueKey
from twisted_index.concurrency.lru import LRU
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.files.watched_file import CHECK_TIMEOUT, WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds for which a correct password is cached: an installer sends it with hundreds of requests. The
#: entry belongs to one hash of the file.
_CACHE_SECONDS = 60.0
_MAX_CACHED = 1000

#: Lines with an error that are reported.
_SHOWN_LINES = 5

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """
    The content of an htpasswd file.

    Attributes:
        hashes: Password hash by user name, UTF-8.
        line_errors: Error message by line number, without the line's content.
        dummy_hash: The slowest hash in the file, checked for unknown users so that the response time does
            not reveal them.
    """

    hashes: Mapping[bytes, PasswordHash]
    line_errors: Mapping[int, str]
    dummy_hash: PasswordHash | None


def parse_users(data: bytes) -> Users:
    """Parse an htpasswd file. An invalid line is skipped."""
    hashes: dict[bytes, PasswordHash] = {}
    line_errors: dict[int, str] = {}
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        line = raw.strip()
        if line and not line.startswith(b"#"):
            try:
                user, stored = _parse_line(line)
                if user in hashes:
                    raise ValueError("duplicate user; the first line counts")
                hashes[user] = stored
            except ValueError as error:
                line_errors[number] = str(error)
    dummy_hash = max(hashes.values(), key=lambda stored: stored.cost, default=None)
    return Users(hashes=hashes, line_errors=line_errors, dummy_hash=dummy_hash)


def _parse_line(line: bytes) -> tuple[bytes, PasswordHash]:
    user, colon, rest = line.partition(b":")
    if not colon:
        raise ValueError("the line is not user:hash")
    try:
        name = user.decode()
    except UnicodeDecodeError:
        raise ValueError("the user's name is not UTF-8") from None
    if not name or name == TOKEN_USER or _CONTROL.search(name):
        raise ValueError("invalid user name")
    # As in Apache, another colon ends the hash.
    return user, parse_hash(rest.partition(b":")[0])


@implementer(ICredentialsChecker, IWatchedUsers)
class HtpasswdChecker:
    """
    Checks passwords against an htpasswd file.

    Args:
        path: The absolute path of the file.
        worker: Hashes passwords, and reads the file.
        clock: The reactor.
        queue: The queue for hashing; None for one of its own.

    Attributes:
        status: Whether each line of the file could be used.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self, path: str, worker: IThreadRunner, clock: IReactorTime, queue: FairQueue | None = None
    ) -> None:
        self._path = path
        self._worker = worker
        self._clock = clock
        self._queue = queue or FairQueue(clock)
        self._file = WatchedFile(path, parse_users)
        self.status = ReloadStatus("file of users", path)
        self._latest: Users | None = None
        self._reading: FreshSingleFlight[None, Users] = FreshSingleFlight(self._read)
        self._known = LRU[bytes, float](_MAX_CACHED)

    def load(self) -> Users:
        """
        Read the file. Blocking; called at the start.

        Raises:
            ConfigurationError: The file is unreadable or has no valid line, or a package is missing.
        """
        try:
            users = self._file.read()
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the users cannot be read: {error.strerror}.") from error
        for number, line_error in users.line_errors.items():
            if line_error == NEEDS_EXTRA or not users.hashes:
                raise ConfigurationError(f"{self._path}: line {number}: {line_error}.")
        self._set_users(users)
        self._latest = users
        return users

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        """
        Check a password.

        Args:
            credentials: Provides IUsernamePassword; may have a `queue_key`, see `FairQueue.acquire`.

        Returns:
            The user's name, UTF-8; fails with UnauthorizedLogin, or Unavailable if the file is unreadable.
        """
        return Deferred.fromCoroutine(self._request(credentials))

    async def _request(self, credentials: Any) -> bytes | tuple[()]:
        user, password = _octets(credentials.username), _octets(credentials.password)
        if len(password) > MAX_PASSWORD:
            raise UnauthorizedLogin
        users = await self._current()
        stored = users.hashes.get(user)
        cache_key = self._cache_key(user, password, stored)
        if stored is not None and self._is_cached(cache_key):
            return user
        compared = stored or users.dummy_hash
        matches = compared is not None and await self._queue.run(
            getattr(credentials, "queue_key", QueueKey),
            lambda: self._worker.run(compared.matches, password),
        )
        if stored is None or not matches:
            raise UnauthorizedLogin
        self._remember(cache_key)
        return user

    def validity(self) -> Callable[[], bool]:
        """See `IWatchedUsers`."""
        return self._file.validity()

    def has_user(self, name: str) -> bool:
        """See `IWatchedUsers`."""
        users = self._file.last()
        return users is not None and _octets(name) in users.hashes

    async def has(self, user: str) -> bool:
        """See `IWatchedUsers`."""
        return user.encode() in (await self._current()).hashes

    # -- The file

    async def check(self) -> None:
        """See `ReloadedFile`."""
        if self._file.cached() is None:
            # A file that does not answer stays as it was.
            with contextlib.suppress(WaitedTooLong, Unavailable):
                await self._reading.run(None).addTimeout(CHECK_TIMEOUT, self._clock)

    async def _current(self) -> Users:
        """Return the current users, reading a changed file once for all waiting requests."""
        users = self._file.cached()
        return await self._reading.run(None) if users is None else users

    async def _read(self, _key: None) -> Users:
        try:
            users = await self._worker.run(self._file.read)
        except (OSError, ConfigurationError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.status.fail(f"{self._path}: the users cannot be read: {reason}.", "All users are rejected.")
            raise Unavailable("Passwords cannot be checked right now.") from error
        self._set_users(users)
        if users is not self._latest:
            self._latest = users
            self.status.take_effect()
        return users

    def _set_users(self, users: Users) -> None:
        if not users.line_errors:
            self.status.succeed()
            return
        errors = [f"line {number}: {error}" for number, error in users.line_errors.items()]
        more = len(errors) - _SHOWN_LINES
        shown = [*errors[:_SHOWN_LINES], *([f"{more} more"] if more > 0 else [])]
        self.status.fail(f"{self._path}: {'; '.join(shown)}.", "These lines are left out.")

    # -- The password

    def _cache_key(self, user: bytes, password: bytes, stored: PasswordHash | None) -> bytes:
        """Digest everything that the result depends on."""
        return fingerprint(user, password, stored.text if stored is not None else b"")

    def _is_cached(self, cache_key: bytes) -> bool:
        expires = self._known.get(cache_key)
        return expires is not None and self._clock.seconds() < expires

    def _remember(self, cache_key: bytes) -> None:
        self._known.put(cache_key, self._clock.seconds() + _CACHE_SECONDS)


def _octets(text: str | bytes) -> bytes:
    """Encode text: cred requires bytes, but not all of its callers pass them."""
    return text.encode() if isinstance(text, str) else text


class ReactorThreadRunner:
    """Runs calls in the reactor's thread pool, for servers without another one."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call a blocking function in a thread."""
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *args, **kwargs)

    def stop(self) -> Deferred[None]:
        """Do nothing: the pool belongs to the reactor."""
        return succeed(None)


@implementer(ICredentialsChecker)
class HtpasswdPlugin:
    """
    The checker for any Twisted server, with the threads of the reactor.

    Options are parsed before the reactor is installed, so it is imported at the first login.

    Args:
        path: The path from the command line.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._checker: HtpasswdChecker | None = None

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        """Check a password; see HtpasswdChecker."""
        if self._checker is None:
            from twisted.internet import reactor

            self._checker = HtpasswdChecker(
                self._path, ReactorThreadRunner(reactor), cast("IReactorTime", reactor)
            )
        return self._checker.requestAvatarId(credentials)
