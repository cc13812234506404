"""
A take-over: a replica, or a server that was the primary before, becomes the primary of the next epoch.

Out of scope: what a running server does when it finds the new role in its state (see `server.replication`).
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from twisted_index.errors import Conflict, SimpleIndexError, Unavailable
from twisted_index.http_client.credentials import split_userinfo
from twisted_index.http_client.retry import Denied
from twisted_index.http_client.tls import FailedTLS
from twisted_index.replication.epoch import NO_EPOCH, Epoch, parse_epoch
from twisted_index.replication.peers import PeerAnswer, ask_all
from twisted_index.replication.state_file import ReplicationState, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from twisted_index.replication.peers import AskPeer
    from twisted_index.replication.state_file import StateFile

#: The instance and the serials of the projects of each index, by the name of the index.
Known: TypeAlias = "Mapping[str, tuple[str, Mapping[str, int]]]"

#: Seconds between two checks of what has arrived.
_LOOK = 0.25
_MEANWHILE = "Another command, or the server, has changed the state meanwhile: try again."
#: Number of projects that a message names.
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """
    A take-over.

    Args:
        state: The state file; written last.
        primary: The URL of the primary that was followed, with credentials; empty if it is not known.
        peers: URLs of other servers that may know of a higher epoch.
        ask: Asks one of them for its role.
        hand_over: Asks the primary at a URL to hand over.
        there: Returns the serials of the primary.
        here: Returns the serials that the running server has adopted; polled.
        pause: Waits for a number of seconds.
        patience: Seconds to wait for changes of the primary to arrive.
        say: Called with sentences about the progress.
        instance: Returns a new instance for the serials.
    """

    state: StateFile
    primary: str
    peers: Sequence[str]
    ask: AskPeer
    hand_over: Callable[[str], Awaitable[PeerAnswer]]
    there: Callable[[], Awaitable[Known]]
    here: Callable[[], Awaitable[Known]]
    pause: Callable[[float], Awaitable[object]]
    patience: float
    say: Callable[[str], object]
    instance: Callable[[], str] = lambda: secrets.token_hex(16)

    async def run(self, *, planned: bool) -> Epoch:
        """
        Take over.

        Args:
            planned: Whether the primary hands over first, so that no change is lost.

        Returns:
            The new epoch.

        Raises:
            Conflict: This server is the primary already; or another one is, or has been since.
            Unavailable: The primary does not hand over, or its changes do not arrive here; or the state
                cannot be read or written.
        """
        before = self.state.read()
        if before.role is Role.PRIMARY:
            raise Conflict("This server is the primary already, so there is nothing to take over.")
        if planned and before.role is Role.RETIRED:
            raise Conflict(
                "This server follows no primary, so --planned has nothing to wait for: start it with"
                " --replica-of first, or leave out --planned to make it the primary again."
            )
        await self._check(before, planned)
        if not planned:
            return self._begin_epoch(before, before.epoch)
        await self._arrived(" Nothing was changed.")
        # Meanwhile the replica may know another epoch, such as that of a primary that has lost its state.
        before, role = self.state.read(), before.role
        if before.role is not role:
            raise Conflict(_MEANWHILE)
        with self._going_back():
            handed_over = await self._let_hand_over(before)
            await self._arrived("")
            return self._begin_epoch(before, handed_over)

    async def _check(self, before: ReplicationState, planned: bool) -> None:
        """Raise Conflict if another server is the primary, or has been since."""
        own = before.epoch or NO_EPOCH
        clean = _clean(self.primary)
        others = [peer for peer in self.peers if _clean(peer) != clean]
        answers = await ask_all(self.ask, [*filter(None, [self.primary]), *others])
        for url, answer in answers.items():
            shown = _clean(url)
            if isinstance(answer, Denied | FailedTLS) and url == self.primary:
                # A server that refuses a token is running, and makes changes for clients with a valid one. A
                # shell may lack the certificates that the servers trust.
                wrong = "the token" if isinstance(answer, Denied) else "what is trusted (SSL_CERT_FILE)"
                raise Conflict(
                    f"{shown} answers, and may still be the primary: stop it, or correct {wrong}. Nothing was"
                    f" changed. {answer.message}"
                )
            if isinstance(answer, SimpleIndexError):
                self.say(f"{shown} cannot be asked: {answer.message}")
            elif answer.epoch is None:
                continue
            elif answer.role is Role.PRIMARY and answer.epoch >= own:
                if not planned or url != self.primary:
                    _refuse_beside_primary(shown, may_plan=url == self.primary)
            elif answer.epoch.ends(own):
                raise Conflict(
                    f"{shown} knows of epoch {answer.epoch.number}, which is higher than that of this server"
                    f" ({own.number}): another server has taken over. Let this one follow it, or first"
                    f" merge what both have: twisted-index join {shown}"
                )
            elif url == self.primary and answer.role is Role.RETIRED and not planned:
                raise Conflict(
                    f"{shown} has handed over and still answers: give --planned, so that its last changes"
                    " are waited for."
                )
            elif answer.role is Role.PRIMARY:
                self.say(
                    f"{shown} takes changes as the primary of epoch {answer.epoch.number}, which has ended:"
                    " restart it with this server among its peers, and join the two."
                )
        if planned and not isinstance(answers.get(self.primary), PeerAnswer):
            raise Unavailable(
                "The primary cannot be asked to hand over. If it is gone for good, or this cannot"
                " wait, leave out --planned: what it has not sent yet is then only there."
            )

    async def _arrived(self, suffix: str) -> None:
        """Wait until the running server has adopted what the primary has now."""
        there, waited, said = await self.there(), 0.0, False
        while missing := lacking(there, await self.here()):
            if waited >= self.patience:
                raise Unavailable(
                    f"This server still lacks changes of {_names(missing)} after {waited:.0f} s. Is it"
                    f" running, and what does its /-/health say?{suffix}"
                )
            if not said:
                self.say(f"Waiting for changes of {_names(missing)} to arrive here.")
                said = True
            await self.pause(_LOOK)
            waited += _LOOK

    async def _let_hand_over(self, before: ReplicationState) -> Epoch | None:
        try:
            answer = await self.hand_over(self.primary)
        except SimpleIndexError as error:
            now = (await ask_all(self.ask, [self.primary]))[self.primary]
            if isinstance(now, PeerAnswer) and now.role is Role.PRIMARY:
                raise _Refused(
                    f"The primary does not hand over, and nothing was changed. {error.message}"
                ) from None
            raise
        if answer.role is not Role.RETIRED:
            raise Unavailable("The primary has answered, and has not handed over.")
        if before.epoch is not None and answer.epoch != before.epoch:
            raise Conflict("The primary is not that of the epoch that this server follows.")
        self.say(f"{_clean(self.primary)} takes no changes any more.")
        return answer.epoch

    @contextmanager
    def _going_back(self) -> Iterator[None]:
        """If anything fails once the primary was asked to hand over, print how to go on or back."""
        try:
            yield
        except _Refused:
            raise
        except BaseException:
            shown = _clean(self.primary)
            self.say(
                f"The take-over is not complete, and {shown} may take no changes any more. To go on, run the"
                " same command again. To go back, run twisted-index takeover --state DIR there, with its DIR."
            )
            raise

    def _begin_epoch(self, before: ReplicationState, last: Epoch | None) -> Epoch:
        """Begin the epoch after the last one, which this server may just have learned of."""
        epoch = Epoch((1 if last is None else last.number) + 1, self.instance())
        if parse_epoch(str(epoch)) is None:
            raise Conflict(
                "There is no higher epoch. Stop all servers, and write one lower number into the line epoch"
                " of keep/replication in the state of each."
            )

        def change(current: ReplicationState) -> ReplicationState:
            if current.role is not before.role or current.epoch not in (before.epoch, last):
                raise Conflict(_MEANWHILE)
            # A take-over lifts no restriction: for that a person writes rights.
            return ReplicationState(
                role=Role.PRIMARY, epoch=epoch, restricted=current.restricted, calls=current.calls + 1
            )

        self.state.update(change)
        return epoch


class _Refused(Unavailable):
    """The primary has refused to hand over, so nothing was changed."""


def _clean(url: str) -> str:
    """Return a URL without user and password; an empty one as it is."""
    return url and split_userinfo(url)[0]


def lacking(there: Known, here: Known) -> list[str]:
    """
    Return the projects of which a change has not arrived, those of an index as `+index/project`.

    Of an index with a name that has not come at all and has no projects, `+index/`.
    """
    missing = []
    for name, (instance, serials) in sorted(there.items()):
        told, arrived = here.get(name, ("", {}))
        prefix = f"+{name}/" if name else ""
        if name and name not in here and not serials:
            missing.append(prefix)
        missing += [
            prefix + project
            for project, serial in sorted(serials.items())
            if told != instance or arrived.get(project, 0) < serial
        ]
    return missing


def _refuse_beside_primary(url: str, *, may_plan: bool) -> NoReturn:
    advice = "stop it first, or give --planned, which lets it hand over" if may_plan else "stop it first"
    raise Conflict(f"{url} is the primary, and answers: {advice}. Nothing was changed.")


def _names(projects: Sequence[str]) -> str:
    shown = ", ".join(projects[:_NAMED])
    more = len(projects) - _NAMED
    count = f"{len(projects)} project{'s' if len(projects) > 1 else ''}"
    return f"{count} ({shown}{f' and {more} more' if more > 0 else ''})"
