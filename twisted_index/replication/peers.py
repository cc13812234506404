"""
The peers of a primary, which it asks for a higher epoch before its first change, and from time to time.

A primary that was down, cut off or suspended may have been replaced meanwhile. It must not take changes then:
the new primary would not have them.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twisted.internet.defer import succeed
from twisted.logger import Logger

from twisted_index.concurrency.parallel import at_once
from twisted_index.concurrency.single_flight import SingleFlight
from twisted_index.errors import BadGateway, SimpleIndexError, Unavailable
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.replication.epoch import NO_EPOCH, Epoch, parse_epoch
from twisted_index.replication.state_file import ReplicationState, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.replication.state_file import StateFile

_log = Logger()

#: Number of parallel requests to peers.
_AT_ONCE = 16
#: Seconds for which answers are valid. A peer that does not answer delays a change this often.
_COUNTS = 30.0


class PeerAnswer(NamedTuple):
    """
    The answer of a server to `GET /-/replication`.

    Attributes:
        role: What it is.
        epoch: The highest that it has heard of; None if it has heard of none.
        serial: Its highest.
        process: Names its process; empty if it does not say.
    """

    role: Role
    epoch: Epoch | None
    serial: int
    process: str = ""


#: Asks the server at a URL for its role; raises SimpleIndexError if it does not answer.
AskPeer: TypeAlias = "Callable[[str], Awaitable[PeerAnswer]]"


def format_answer(answer: PeerAnswer) -> bytes:
    """Write the document of `/-/replication`."""
    epoch = None if answer.epoch is None else list(answer.epoch)
    document = {"role": answer.role.value, "epoch": epoch, "serial": answer.serial}
    if answer.process:
        document["process"] = answer.process
    return json.dumps(document).encode("ascii") + b"\n"


def parse_answer(text: bytes) -> PeerAnswer:
    """
    Parse the document of `/-/replication`.

    Raises:
        BadGateway: The text is no such document.
    """
    try:
        document = json.loads(text)
        role, serial = Role(document["role"]), int(document["serial"])
        epoch = None
        if document["epoch"] is not None:
            number, instance = document["epoch"]
            epoch = parse_epoch(f"{number:d} {instance}")
            if epoch is None:
                raise ValueError("an epoch")
        process = document.get("process", "")
        if not isinstance(process, str):
            raise TypeError("a process")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise BadGateway("It says nothing of a replication; is it a twisted-index server?") from None
    return PeerAnswer(role, epoch, serial, process)


async def ask_all(ask: AskPeer, urls: Iterable[str]) -> dict[str, PeerAnswer | SimpleIndexError]:
    """Ask several servers at once; return each one's answer, or why it gave none, by URL."""

    async def of(url: str) -> PeerAnswer | SimpleIndexError:
        try:
            return await ask(url)
        except SimpleIndexError as error:
            return error

    urls = list(dict.fromkeys(urls))
    return dict(zip(urls, await at_once(_AT_ONCE, of, urls), strict=True))


def retire(state: StateFile, own: Callable[[], Epoch], epoch: Epoch, primary: str = "") -> bool:
    """
    Make this server a retired one if an epoch ends its own; if it is one, note who is the primary.

    Args:
        state: The state file.
        own: Returns the first epoch of this server's own serials, which counts if `state` has none.
        epoch: The epoch of another server.
        primary: The URL of the primary of that epoch; empty if it is not known.

    Returns:
        Whether this server was the primary until now.

    Raises:
        Unavailable: The state cannot be read or written.
    """
    was_primary = False

    def change(current: ReplicationState) -> ReplicationState:
        nonlocal was_primary
        if (current.role, current.epoch) == (Role.RETIRED, epoch):
            return replace(current, primary=current.primary or primary)
        if current.role is Role.REPLICA or not epoch.ends(current.epoch or own()):
            return current
        was_primary = current.role is Role.PRIMARY
        return replace(current, role=Role.RETIRED, epoch=epoch, primary=primary)

    state.update(change)
    return was_primary


class Peers:
    """
    The other servers of a replication.

    Args:
        urls: Their URLs, perhaps with credentials.
        needed: How many of them have to answer before the first change, not counting this server itself.
        state: The state file; written if a peer knows of a higher epoch.
        own: Returns the first epoch of this server's own serials, which counts if `state` has none.
        ask: Asks one of them.
        runner: Threads, in which `own` is called, too.
        process: Names this process, as its answers do; empty if they do not.
        seconds: Returns monotonic seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        needed: int,
        *,
        state: StateFile,
        own: Callable[[], Epoch],
        ask: AskPeer,
        runner: IThreadRunner,
        process: str = "",
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._urls = urls
        self._needed = needed
        self._state = state
        self._own = own
        self._ask = ask
        self._runner = runner
        self._process = process
        self._seconds = seconds
        self._checks: SingleFlight[None, None] = SingleFlight(lambda: 0.0)
        self._checked: tuple[Role, Epoch] | None = None
        self._checked_at = 0.0
        self._heard = (NO_EPOCH, False, "")
        self._twin = ""

    def check(self, again: bool = False) -> Deferred[None]:
        """
        Retire this server if a peer knows of a higher epoch.

        After a start or a take-over, every change asks the peers until enough of them have answered once.
        Later changes ask again if the answers are old; then none of the peers has to answer. Changes that
        come while the peers are asked wait for the same answers.

        Args:
            again: Whether to ask even if the answers are recent, as there may be a new epoch.

        Raises:
            Unavailable: Too few answer, so that another server may be the primary by now; or another one is
                that in this very epoch; or the state cannot be read or written.
        """
        if not self._urls:
            return succeed(None)
        is_recent = self._seconds() - self._checked_at < _COUNTS
        mine = self._state.read()
        if is_recent and not again and self._is_checked(mine.role, mine.epoch or self._own()):
            return succeed(None)
        return self._checks.run(None, self._check)

    def _is_checked(self, role: Role, own: Epoch) -> bool:
        """Return whether enough peers have answered in this epoch, since this server has this role."""
        return (role, own) == self._checked

    async def _check(self) -> None:
        answers = await ask_all(self._ask, self._urls)
        # The role may have changed meanwhile.
        mine = self._state.read()
        own = mine.epoch or self._own()
        told = {url: answer for url, answer in answers.items() if isinstance(answer, PeerAnswer)}
        is_retired = mine.role is Role.RETIRED
        # There is one primary in each epoch: unless this server has retired, it is that itself.
        alike = {
            url: answer
            for url, answer in told.items()
            if not is_retired and (answer.role, answer.epoch) == (Role.PRIMARY, own)
        }
        known = {url: answer for url, answer in told.items() if url not in alike}
        heard = [
            each
            for each in map(_heard_from, known.items())
            if each[0].ends(own) or (is_retired and each[:2] == (own, True))
        ]
        self._heard = max((self._heard, *heard))
        epoch, is_primary, url = self._heard
        if epoch.ends(own) or (heard and epoch == own):
            # Until that is written down, no change goes on by what was known before; nor if it cannot be.
            self._checked = None
            await self._retire(epoch, url if is_primary else "", url)
            return
        self._look_for_twin(alike)
        if len(known) < self._needed and not self._is_checked(mine.role, own):
            raise Unavailable(
                "This server does not know yet whether it still is the primary: it takes no changes until one"
                " of its peers has answered."
            )
        self._checked, self._checked_at = (mine.role, own), self._seconds()

    def _look_for_twin(self, alike: Mapping[str, PeerAnswer]) -> None:
        """Take no change while another process is the primary in this epoch, as with a copy of the state."""
        twins = [url for url, answer in alike.items() if answer.process not in ("", self._process)]
        before, self._twin = self._twin, split_userinfo(twins[0])[0] if self._process and twins else ""
        if not self._twin:
            return
        self._checked = None
        reason = (
            f"{self._twin} is the primary of this epoch, too: it runs with a copy of this server's state."
            " Stop the one of them that is the copy."
        )
        if not before:
            _log.error("This server takes no changes: {reason}", reason=reason)
        raise Unavailable(reason)

    async def _retire(self, epoch: Epoch, primary: str, peer: str) -> None:
        if await self._runner.run(retire, self._state, self._own, epoch, primary):
            _log.error(
                "This server takes no changes any more: {peer} knows of epoch {epoch}, which is higher than"
                " its own. If it has changes that the other lacks, twisted-index join takes them together.",
                peer=peer,
                epoch=epoch.number,
            )


def _heard_from(item: tuple[str, PeerAnswer]) -> tuple[Epoch, bool, str]:
    """Return the epoch that a peer knows, whether it is the primary of it, and its URL."""
    url, answer = item
    return answer.epoch or NO_EPOCH, answer.role is Role.PRIMARY, split_userinfo(url)[0]
