"""The current tokens: their file, read in a thread when it has changed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.logger import Logger

from twisted_index.access.tokens import identifier_of
from twisted_index.concurrency.single_flight import FreshSingleFlight
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.files.watched_file import CHECK_TIMEOUT

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_index.access.token_records import Token, TokenTable
    from twisted_index.access.tokens import TokenStore
    from twisted_index.concurrency.thread_pool import IThreadRunner

_log = Logger()

_REJECTED = "All tokens are rejected."


class TokenFile:
    """
    The tokens of a state folder as they are now.

    Args:
        tokens: Where they are kept.
        worker: Reads them.
        clock: The reactor.

    Attributes:
        status: Whether the file could be used.
    """

    def __init__(self, tokens: TokenStore, worker: IThreadRunner, clock: IReactorTime) -> None:
        self._tokens = tokens
        self._worker = worker
        self._clock = clock
        self.status = ReloadStatus("file of tokens", tokens.path)
        self._checking: FreshSingleFlight[None, object] = FreshSingleFlight(lambda _key: self.read())
        # One thread for all logins: an object store that hangs would hold one for each.
        self._reading: FreshSingleFlight[None, TokenTable] = FreshSingleFlight(
            lambda _key: worker.run(tokens.place.read)
        )
        # One more for those that are not known, whose reading fails where known ones are good for a while.
        self._renewing: FreshSingleFlight[None, TokenTable] = FreshSingleFlight(self._renew)

    async def read(self) -> TokenTable:
        """
        Return the tokens, by identifier.

        Raises:
            Unavailable: The file is damaged, or cannot be read.
        """
        try:
            latest = self._tokens.cached()
            found = await self._reading.run(None) if latest is None else latest
        except ConfigurationError as error:
            # A damaged file must not make a revoked token valid again.
            self.status.fail(error.message, _REJECTED)
            raise Unavailable("Tokens cannot be checked right now.") from error
        except Unavailable as error:
            self.status.fail(error.message, _REJECTED)
            raise
        if not found and not self._tokens.exists():
            self.status.fail(f"{self._tokens.path}: the file of tokens is gone.", _REJECTED)
        else:
            self.status.succeed()
        return found

    async def find(self, secret: bytes, *, max_age: float | None) -> Token:
        """
        Find the token of a secret; see `TokenStore.find`.

        Raises:
            Unauthorized: It is none, or has expired.
            Unavailable: The file, or the line of the token, is damaged or cannot be read.
        """
        table = await self.read()
        identifier, place = identifier_of(secret), self._tokens.place
        if identifier and identifier not in table and place.is_behind():
            table = await self._renewing.run(None)
        try:
            return self._tokens.find(table, secret, max_age=max_age)
        except ConfigurationError as error:
            _log.critical("{objection}", objection=error.message)
            raise Unavailable("This token cannot be checked right now.") from error

    async def _renew(self, _key: None) -> TokenTable:
        place = self._tokens.place
        # The reading before this one may have been for the same guess.
        return await self._worker.run(place.read_anew if place.is_behind() else place.read)

    def note_use(self, token: Token) -> None:
        """Note the use of a token in a thread; its request does not wait for that."""
        if self._tokens.uses.is_due(token.identifier):
            noting = self._worker.run(self._tokens.uses.note, token.identifier)
            noting.addErrback(
                lambda failure: _log.warn("A use of a token cannot be noted: {error}", error=failure.value)
            )

    async def check(self) -> None:
        """See `ReloadedFile`."""
        # A file that does not answer stays as it was.
        with contextlib.suppress(WaitedTooLong, Unavailable):
            await self._checking.run(None).addTimeout(CHECK_TIMEOUT, self._clock)
