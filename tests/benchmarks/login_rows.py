"""
Rows about clients that log in: a token, a user, a proxy's user, beside the page that is open to everyone.

Not for: what the first login costs, which is the hash.
"""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

from tests.benchmarks import trees
from tests.benchmarks.bench import Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Ask
from tests.benchmarks.servers import TwistedIndex
from twisted_index.access.tokens import TokenStore
from twisted_index.interfaces import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.bench import Bench, Cell

_PAGE = f"/simple/{trees.DEMO}/"
_RIGHTS = '[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n'
#: bcrypt with cost 10; the password is wonderland.
_USERS = "alice:$2b$10$Ea70mVFDyh./p.ZEAnVYI.iJpi.GDg4iKeihR2xbZXgudlpO/2sFy\n"
_CONNECTIONS = (1, 16)


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@contextlib.contextmanager
def _logins(bench: Bench) -> Iterator[list[Cell]]:
    folder, place = trees.small(bench.cache), bench.place()
    (place / "rights.toml").write_text(_RIGHTS)
    (place / "users").write_text(_USERS)
    state = place / "state"
    _token, secret = TokenStore(str(state)).create("ci", {Action.READ: ("*",)})
    options = [
        *("--rights", str(place / "rights.toml")),
        *("--auth", f"htpasswd:{place / 'users'}"),
        *("--trusted-proxy", "users:127.0.0.1"),
    ]
    clients = {
        "token": _basic("__token__", secret),
        "user": _basic("alice", "wonderland"),
        "proxy's user": {"X-Remote-User": "alice"},
    }
    with (
        bench.running(TwistedIndex, folder) as everyones,
        bench.running(TwistedIndex, folder, state=state, options=options) as closed,
    ):
        yield [
            bench.load(f"{who}, {connections}", server, Ask(server.port, _PAGE, fields), connections)
            for connections in _CONNECTIONS
            for who, server, fields in (
                ("open", everyones, {"Accept": JSON}),
                *((who, closed, {"Accept": JSON, **fields}) for who, fields in clients.items()),
            )
        ]


ROWS = (
    Row(
        "logins",
        _logins,
        tuple(
            Ratio(
                f"page for a {who} / the open page, {connections} connections: CPU per request",
                "cpu",
                f"{who}, {connections}",
                f"open, {connections}",
                "≤ 1.5",
            )
            for connections in _CONNECTIONS
            for who in ("token", "user", "proxy's user")
        ),
    ),
)
