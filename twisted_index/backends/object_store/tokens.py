"""
The tokens that all nodes of a bucket share: one object, changed only by those who saw its latest state.

A node uses what it has read for `rescan` seconds, so a token is revoked everywhere within that time. While
the store does not answer, the tokens that a node knows stay good for some minutes, so that a short failure
stops no client whose pages are still held; after that none is, since one of them may have been revoked.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted_index.access.token_place import MAX_TOKEN_BYTES, serialized
from twisted_index.access.token_records import TokenTable
from twisted_index.backends.object_store.bucket import ObjectChanged, ObjectExists
from twisted_index.backends.object_store.store_errors import Unsupported
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_index.backends.object_store.bucket import Bucket, ObjectContent

KEY = ".keep/tokens.json"
#: Seconds for which known tokens are good without an answer of the store.
GRACE_SECONDS = 300.0
#: Tries of a change that others made meanwhile. Each round of them has one that succeeds.
_TRIES = 64
_MOST_WAIT = 0.1
#: Tries to learn whether a write without an answer was made.
_READS = 3
_UNKNOWN = (
    "The object store does not answer: the change of the tokens may have been made, or may come yet. Look at"
    " the list of tokens when it answers; a token of that name is to be revoked, as its secret is lost."
)


@dataclass(frozen=True, slots=True)
class _Held:
    """
    Tokens as they were read.

    Attributes:
        tokens: The tokens.
        etag: Of their object; None if there was none.
        asked: When the request was sent, in monotonic seconds.
    """

    tokens: TokenTable
    etag: str | None
    asked: float


class TokensInBucket:
    """
    The tokens in a bucket; see `TokenPlace`. Nothing is asked of the store before the first token comes.

    Args:
        bucket: The bucket.
        rescan: Seconds for which they are held.
        clock: Monotonic seconds.
    """

    def __init__(self, bucket: Bucket, rescan: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._rescan = rescan
        self._clock = clock
        self.path = f"{bucket.url}/{KEY}"
        self._held: _Held | None = None
        self._reading = threading.Lock()
        #: When the store was asked in vain last, and for a token that is not among those held.
        self._failed = self._looked = float("-inf")

    def exists(self) -> bool:
        """See `TokenPlace`: another node may make one at any time."""
        return True

    def cached(self) -> TokenTable | None:
        """See `TokenPlace`."""
        held = self._held
        return held.tokens if held is not None and self._is_recent(held.asked) else None

    def last(self) -> TokenTable | None:
        """See `TokenPlace`."""
        return None if self._held is None else self._held.tokens

    def validity(self) -> Callable[[], bool]:
        """See `TokenPlace`."""
        tokens = self.last()
        return lambda: self.last() is tokens and self.cached() is not None

    def is_behind(self) -> bool:
        """See `TokenPlace`: true once in `rescan` seconds, or the store would be asked for each guess."""
        return self.cached() is None or not self._is_recent(self._looked)

    def read(self) -> TokenTable:
        """See `TokenPlace`."""
        with self._reading:
            tokens = self.cached()
            if tokens is not None:
                return tokens
            try:
                return self._read()
            except Unavailable:
                held = self._held
                if held is None or self._clock() - held.asked >= GRACE_SECONDS:
                    raise
                return held.tokens

    def read_anew(self) -> TokenTable:
        """See `TokenPlace`."""
        with self._reading:
            self._looked = self._clock()
            return self._read()

    def change(self, edit: Callable[[TokenTable], TokenTable]) -> None:
        """See `TokenPlace`. A write without an answer is looked for, and made again unless it is there."""
        for _try in range(_TRIES):
            with self._reading:
                found = self._ask()
            changed = edit(found.tokens)
            if changed is found.tokens:
                return
            asked = self._clock()
            etag = self._write(serialized(changed), found.etag)
            if etag is not None:
                # Also known while the store does not answer, as what a read has found.
                self._held = _Held(changed, etag, asked)
                return
            time.sleep(random.uniform(0, _MOST_WAIT))  # noqa: S311 (no secret)
        raise Unavailable("The tokens in the bucket could not be changed: too many others change them.")

    def _write(self, data: bytes, etag: str | None) -> str | None:
        """Write the tokens, if their object is still that one; return its new ETag, or None."""
        try:
            if etag is None:
                return self._bucket.create(KEY, data, metadata={}).etag
            return self._bucket.replace(KEY, data, etag=etag, metadata={}).etag
        except (ObjectExists, ObjectChanged):
            return None
        except Unsupported:
            # Nothing was written.
            raise
        except Unavailable:
            # It may have been written, or be written later unless another write comes before.
            found = self._read_back()
            return found.object.etag if found is not None and found.content == data else None

    def _read_back(self) -> ObjectContent | None:
        for left in reversed(range(_READS)):
            try:
                return self._content()
            except Unavailable as error:
                if not left:
                    raise Unavailable(_UNKNOWN) from error
        raise AssertionError

    def _read(self) -> TokenTable:
        """Ask, unless the store has just been asked in vain."""
        if self._is_recent(self._failed):
            raise Unavailable("Tokens cannot be checked right now: the object store does not answer.")
        return self._ask().tokens

    def _ask(self) -> _Held:
        asked, held = self._clock(), self._held
        try:
            found = self._content()
        except Unavailable:
            self._failed = self._clock()
            raise
        etag = None if found is None else found.object.etag
        # Without ETags none is that of the same bytes: a revoked token would stay good.
        if held is not None and etag == held.etag and etag != "":
            tokens = held.tokens
        elif found is None:
            tokens = TokenTable({}, self.path)
        else:
            tokens = TokenTable.parse(found.content, self.path)
        self._held = _Held(tokens, etag, asked)
        return self._held

    def _content(self) -> ObjectContent | None:
        try:
            return self._bucket.read(KEY, limit=MAX_TOKEN_BYTES)
        except ObjectChanged:
            raise Unavailable("Tokens cannot be checked right now: their object is too large.") from None

    def _is_recent(self, moment: float) -> bool:
        return self._clock() - moment < self._rescan
