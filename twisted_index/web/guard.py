"""
Who may ask what: rights are decided by names, before anybody looks whether a thing exists.

401 for nobody, 403 for somebody; never 404, which would send an installer to its next index.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from twisted.internet.defer import maybeDeferred

from twisted_index.errors import Forbidden, Unauthorized
from twisted_index.interfaces import NOBODY, Action, Credentials
from twisted_index.web.respond import field

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

    from twisted_index.interfaces import Identity, Snapshot
    from twisted_index.web.origin import Origins

T = TypeVar("T")

_DEEDS = {
    Action.READ: "read",
    Action.CREATE: "create",
    Action.UPLOAD: "upload to",
    Action.DELETE: "delete files of",
    Action.YANK: "yank files of",
    Action.OPERATE: "look after",
}


class Guard:
    """
    Lets requests through, or raises what they get instead.

    Args:
        access: Provides `IAccess`; None lets everyone read, and nobody do anything else.
        origins: Knows where requests come from.
    """

    def __init__(self, access: Any | None, origins: Origins) -> None:
        self._access = access
        self._origins = origins

    @property
    def has_users(self) -> bool:
        """Whether anybody can prove to be somebody."""
        return self._access is not None and self._access.has_users

    @property
    def all_may_read(self) -> bool:
        """Whether no right to read has to be looked at."""
        return self._access is None or self._access.all_may_read

    def may(self, identity: Identity, action: Action, project: str = "") -> bool:
        """See `IAccess`."""
        if self._access is None:
            return action is Action.READ
        return bool(self._access.may(identity, action, project))

    def refresh(self) -> None:
        """Let rights and settings that have changed hold, where nothing has been asked yet."""
        if self._access is not None:
            # Whatever follows a file looks at it whenever it is asked anything.
            self._access.generation  # noqa: B018

    async def identify(self, request: Request) -> Identity:
        """
        Find out who sends a request.

        Raises:
            Unauthorized: It claims to be somebody, wrongly.
            TooManyRequests: There were too many wrong passwords.
        """
        if self._access is None:
            return NOBODY
        coming = self._origins.of(request)
        claimed = field(request, b"Authorization")
        credentials = Credentials(authorization=claimed, address=coming.address, user=coming.user)
        identity: Identity = await maybeDeferred(self._access.identify, credentials)
        if identity.known:
            # For the access log.
            request.user_name = identity.name  # type: ignore[attr-defined]
        return identity

    async def require(self, request: Request, action: Action, project: str = "") -> Identity:
        """
        Let a request through that may do something with a project.

        Returns:
            Who it is; NOBODY where everyone may.

        Raises:
            Unauthorized: Nobody asks, or somebody with a wrong password.
            Forbidden: Somebody asks who may not.
        """
        if action is Action.READ and self.may(NOBODY, action, project):
            return NOBODY
        identity = await self.identify(request)
        if not self.may(identity, action, project):
            self.refuse(identity, action, project)
        return identity

    def refuse(self, identity: Identity, action: Action, project: str = "") -> NoReturn:
        """Raise what somebody gets who may not do something."""
        what = f"the project {project}" if project else "this index"
        deed = f"{_DEEDS[action]} {what}"
        if identity.known:
            raise Forbidden(f"{identity.name} may not {deed}.")
        if self.has_users:
            raise Unauthorized(f"Only those who log in may {deed}.")
        raise Forbidden(f"Nobody may {deed}: this server knows no users.")

    def lease(self) -> Callable[[], bool] | None:
        """
        Give what says whether rights are as they are now; None if they never change.

        Ask for it before a right is looked at: an answer that was let through by old rights is not to
        be kept under new ones.
        """
        access = self._access
        if access is None:
            return None
        generation = access.generation
        return lambda: bool(access.generation == generation)


def bound(snapshot: Snapshot[T], unchanged: Callable[[], bool] | None) -> Snapshot[T]:
    """
    Make the truth of an answer that is everyone's end when rights change.

    Args:
        snapshot: The answer.
        unchanged: From `Guard.lease`, before the question was let through.
    """
    if unchanged is None:
        return snapshot
    still_true = snapshot.still_true
    return replace(snapshot, still_true=lambda: unchanged() and still_true())
