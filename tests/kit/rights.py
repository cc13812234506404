"""What tests of rights share: an index in memory with real rights, users and tokens, and who asks it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.task import Clock

from twisted_index.access.control import AccessControl
from twisted_index.access.login_throttle import LoginThrottle
from twisted_index.access.rights_file import RightsFile
from twisted_index.access.tokens import TokenStore
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import NotFound
from twisted_index.events.refusals import Refusals
from twisted_index.interfaces import Action, AuditEvent, AuditPage, AuditQuery
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.state_file import StateFile
from twisted_index.simple.model import ProjectStatus
from twisted_index.testing import Connection, MemorySource, SiteInMemory, SynchronousRunner, make_wheel
from twisted_index.web.resource import IndexResource
from twisted_index.web.server.access_log import AccessLog
from twisted_index.web.server.site import IndexSite

#: `open-lib` is everyone's, `secret-lib` Alice's, and Carol may do everything with `shared-lib` but read.
RIGHTS = """
[[rule]]
projects = "secret-*"
allow = ["read", "upload", "create", "yank", "delete"]
to = "alice"

[[rule]]
projects = "shared-lib"
allow = ["yank", "delete", "upload"]
to = "carol"

[[rule]]
allow = ["operate"]
to = "alice"
"""
OPEN = RIGHTS.replace('"secret-*"', '"nothing-at-all"')
SECRET = make_wheel("secret-lib", "1.0")
PUBLIC = make_wheel("open-lib", "1.0")
SHARED = make_wheel("shared-lib", "1.0")
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "carol's"}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def as_user(user: str) -> dict[str, str]:
    """Give the field by which a user shows who it is."""
    return {"Authorization": basic(user, PASSWORDS[user])}


@dataclass
class NotingStore:
    """Notes what it is told to do; knows `shared-lib` and `secret-lib` only."""

    done: list[tuple[Any, ...]] = field(default_factory=list)

    def _known(self, project: str) -> None:
        if project not in ("shared-lib", "secret-lib"):
            raise NotFound("There is no such file here.")

    def delete(self, project: str, filename: str, *, by: str) -> None:
        self._known(project)
        self.done.append(("delete", project, filename, by))

    def yank(self, project: str, *, version=None, filename=None, reason="", by: str) -> tuple[str, ...]:
        self._known(project)
        self.done.append(("yank", project, version, filename, reason, by))
        return (filename or f"{project}-{version}",)

    def unyank(self, project: str, *, version=None, filename=None, by: str) -> tuple[str, ...]:
        self._known(project)
        self.done.append(("unyank", project, version, filename, by))
        return (filename or f"{project}-{version}",)

    def set_status(self, project: str, status: ProjectStatus, *, by: str) -> None:
        self._known(project)
        self.done.append(("status", project, status.status.value, status.reason, by))


@dataclass
class Told:
    """A history that somebody else has written."""

    events: tuple[AuditEvent, ...] = ()

    def search(self, query: AuditQuery) -> AuditPage:
        return AuditPage(events=self.events[: query.limit])


class _Socket:
    """What the fast path sends to."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def fileno(self) -> int:
        raise OSError

    def send(self, data: bytes) -> int:
        self._transport.received += data
        return len(data)


class GuardedIndex(SiteInMemory):
    """
    An index in memory with a real file of rights, whose fast path may be taken.

    Args:
        folder: For the file, and for tokens.
        rights: What is in it at first.
        users: Whether there are users.
        checkers: Of more users.
        indexes: The indexes of the server; None for the one without a name only.
        default_index: The name of the one that the one without a name is too.
        downloads: Counts downloads.
        title: Of the index.
        replication_state: What the server is among its replicas.
        gate: Decides whether changes are made here.
    """

    def __init__(
        self,
        folder: Path,
        rights: str = RIGHTS,
        *,
        source: Any = None,
        users: bool = True,
        audit_log: Any = None,
        proxies: tuple[str, ...] = (),
        cors: bool = False,
        clock: Clock | None = None,
        store: Any = None,
        checkers: Sequence[ICredentialsChecker] = (),
        access_log: AccessLog | None = None,
        user_header: str = "X-Remote-User",
        groups_header: str | None = None,
        indexes: Any = None,
        default_index: str = "",
        downloads: Any = None,
        title: str = "",
        replication_state: StateFile | None = None,
        gate: ChangeGate | None = None,
        has_store: bool = True,
    ) -> None:
        if clock is None:
            clock = Clock()
            clock.advance(1_000_000)
        self.rights = folder / "rights.toml"
        self.rights.write_text(rights)
        self.source = source or MemorySource(SECRET, PUBLIC, SHARED)
        self.store = store or NotingStore()
        self.tokens = TokenStore(str(folder / "state"), now=clock.seconds)
        checkers = list(checkers)
        if users:
            known = InMemoryUsernamePasswordDatabaseDontUse()
            for user, password in PASSWORDS.items():
                known.addUser(user.encode(), password.encode())
            checkers.append(known)
        trusted = TrustedProxies(proxies, user_header=user_header, groups_header=groups_header)
        self.throttle = LoginThrottle(clock)
        self.access = AccessControl(
            checkers=checkers,
            tokens=self.tokens,
            rights=RightsFile.at(
                os.fspath(self.rights), proxy_groups=groups_header is not None, default_index=default_index
            ),
            throttle=self.throttle,
            worker=SynchronousRunner(),
            clock=clock,
            proxies_assert_users=trusted.asserts_users,
        )
        self.resource = IndexResource(
            self.source,
            access=self.access,
            store=self.store if has_store else None,
            audit_log=audit_log,
            refusals=None if audit_log is None else Refusals(audit_log, clock),
            upload_settings=UploadSettings(upload=True),
            worker=SynchronousRunner(),
            proxies=trusted,
            cors=cors,
            indexes=indexes,
            downloads=downloads,
            title=title,
            replication_state=replication_state,
            gate=gate,
        )
        site = IndexSite(self.resource, reactor=clock, access_log=access_log)
        super().__init__(site, clock)
        assert site.fast_path is not None
        self._answer_shortly = site.fast_path.try_answer
        site.fast_path.try_answer = self._count_short  # type: ignore[method-assign]
        #: How many answers took the fast path.
        self.short = 0

    def connect(self) -> Connection:
        connection = super().connect()
        transport: Any = connection._transport
        transport.socket = _Socket(transport)
        return connection

    def _count_short(self, channel: Any, data: bytes) -> bool:
        done = self._answer_shortly(channel, data)
        self.short += done
        return done

    def set_rights(self, text: str) -> None:
        """Let other rights hold, after the second within which that is seen."""
        self.rights.write_text(text)
        self.advance(1.0)

    def token(
        self,
        name: str,
        lifetime: float | None = None,
        owner: str = "",
        indexes: tuple[str, ...] = ("",),
        **permissions: str,
    ) -> dict[str, str]:
        """Make a token, and give the field by which it is shown."""
        patterns = {Action(action): (pattern,) for action, pattern in permissions.items()}
        end = None if lifetime is None else datetime.fromtimestamp(self.tokens.now() + lifetime, UTC)
        _token, secret = self.tokens.create(
            name, patterns, indexes=indexes, expires=end, by=owner, bound=bool(owner)
        )
        return {"Authorization": basic("__token__", secret)}
