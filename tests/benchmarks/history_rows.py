"""
Rows about what could cost more with each year: names of deleted files, and the audit log.

Not for: large trees (`scale_rows`).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Cell, Row
from tests.benchmarks.figures import Ratio
from tests.benchmarks.load import JSON, Client, WrongAnswer
from tests.benchmarks.servers import TwistedIndex
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.events.audit_lines import write_event
from twisted_index.interfaces import AuditEvent
from twisted_index.simple.manifest import ManifestLine, format_line
from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.benchmarks.bench import Bench

_PROJECT, _FILES = "nightly", 30
_DAY = datetime(2024, 12, 1, tzinfo=UTC)
#: Seconds after which the times of a folder that has changed are settled on every file system.
_SETTLED = 2.5
_LOGIN = {"Authorization": "Basic " + base64.b64encode(b"alice:pw").decode(), "Accept": "application/json"}
_MONTHS = 24

#: Each question about the events, as its URL asks it.
_QUESTIONS = {
    "who uploaded, deleted, yanked a project": "project=acme-7&action=upload,overwrite,delete,yank",
    "which tokens a user made": "by=alice&action=token-create",
    "what was refused in a month": "action=refuse&since=2026-10-01&until=2026-10-31&limit=1000",
    "what a user did": "by=alice&limit=1000",
}


def _nightlies(folder: Path, deleted: int) -> None:
    """Make a project of some files, and of the names of many that were deleted."""
    folder.mkdir()
    for number in range(_FILES):
        make_wheel(_PROJECT, f"2.0.dev{number}").write_to(folder)
    with open(folder / ".deleted", "wb") as file:
        for number in range(deleted):
            name = make_wheel(_PROJECT, "1.0").filename.replace("1.0", f"1.0.dev{number}")
            digest = hashlib.sha256(name.encode()).hexdigest()
            line = ManifestLine(name=name, sha256=digest, size=800_000, time=_DAY, note="by retention")
            file.write(format_line(line))


@contextlib.contextmanager
def _tombstones(bench: Bench) -> Iterator[list[Cell]]:
    many = 10_000 if bench.quick else 100_000
    with contextlib.ExitStack() as stack:
        cells = []
        for deleted, words in ((0, "no deleted names"), (many, "many deleted names")):
            root = bench.place()
            _nightlies(root / _PROJECT, deleted)
            server = stack.enter_context(bench.running(TwistedIndex, root))
            bench.await_page(server, f"/simple/{_PROJECT}/")
            for what, change in (("comes", _coming(root)), ("is deleted", _deletion(root))):
                cells.append(Cell(f"a file {what}, {words}", _next_page(server.port, change)))
        yield cells


def _coming(root: Path) -> Callable[[], object]:
    numbers = count()

    def come() -> None:
        wheel = make_wheel(_PROJECT, f"3.0.dev{next(numbers)}")
        part = root / _PROJECT / ".part"
        part.write_bytes(wheel.content)
        part.rename(root / _PROJECT / wheel.filename)

    return come


def _deletion(root: Path) -> Callable[[], object]:
    store, numbers = BlockingStore([str(root).encode()]), count()

    def delete() -> None:
        name = make_wheel(_PROJECT, f"2.0.dev{next(numbers)}").filename
        store.delete(_PROJECT, name, by="the benchmark")

    return delete


def _next_page(port: int, change: Callable[[], object]) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        with Client(port) as client:
            time.sleep(_SETTLED)
            client.get(f"/simple/{_PROJECT}/", {"Accept": JSON})
            change()
            return _timed(client, f"/simple/{_PROJECT}/", {"Accept": JSON})

    return measure


def _timed(client: Client, path: str, fields: dict[str, str]) -> dict[str, float]:
    began = time.monotonic()
    answer = client.get(path, fields)
    took = time.monotonic() - began
    if answer.status != 200:
        raise WrongAnswer(f"{path}: {answer.status} {answer.body[:200]!r}")
    return {"answer": took}


def _write_events(history: Path, number: int) -> None:
    """Write events of two years, most of them uploads by tokens."""
    history.mkdir(parents=True, mode=0o700)
    choose = random.Random(7)
    with contextlib.ExitStack() as stack:
        files = {}
        for position in range(number):
            event = _event(choose, _DAY + timedelta(days=30.4 * _MONTHS) * (position / number))
            month = f"{event.time:%Y-%m}"
            if month not in files:
                files[month] = stack.enter_context(open(history / f"{month}.jsonl", "wb"))
            files[month].write(write_event(event))


def _event(choose: random.Random, moment: datetime) -> AuditEvent:
    user = choose.choice(("alice", *(f"user{number}" for number in range(200))))
    token = f"ci-{choose.randrange(300)}"
    action = choose.choices(("upload", "delete", "yank", "refuse", "token-create"), (900, 40, 30, 40, 1))[0]
    project = f"acme-{choose.randrange(3000)}"
    is_token = action == "token-create"
    return AuditEvent(
        time=moment,
        by=f"token {token}" if not is_token and choose.random() < 0.8 else user,
        action=action,
        project="" if is_token else project,
        filename="" if is_token else _wheel_name(project, choose),
        detail=f"{token}: upload acme-*" if is_token else f"sha256={choose.getrandbits(256):064x}",
        address=f"10.0.{choose.randrange(256)}.{choose.randrange(256)}",
        client="twine/6.1.0 pkginfo/1.12 requests/2.32.3 CPython/3.12.3",
    )


def _wheel_name(project: str, choose: random.Random) -> str:
    return f"{project.replace('-', '_')}-{choose.randrange(99)}.{choose.randrange(999)}-py3-none-any.whl"


@contextlib.contextmanager
def _audit_log(bench: Bench) -> Iterator[list[Cell]]:
    state, root = bench.place(), bench.place()
    _write_events(state / "keep" / "history", 100_000 if bench.quick else 1_000_000)
    users = bench.place() / "users"
    users.write_text("alice:{SHA}" + base64.b64encode(hashlib.sha1(b"pw").digest()).decode() + "\n")
    options = ("--upload", "--auth", f"htpasswd:{users}")
    with bench.running(TwistedIndex, root, state=state, options=options) as server:

        def ask(query: str) -> Callable[[], dict[str, float]]:
            def measure() -> dict[str, float]:
                with Client(server.port) as client:
                    found = _timed(client, f"/-/history?{query}", _LOGIN)
                return {**found, "memory": float(server.process.resident_bytes())}

            return measure

        yield [Cell(what, ask(query)) for what, query in _QUESTIONS.items()]


ROWS = (
    Row(
        "tombstones",
        _tombstones,
        tuple(
            Ratio(
                f"page after a file {what}, 100,000 deleted names",
                "answer",
                f"a file {what}, many deleted names",
                goal="≤ 50 ms",
            )
            for what in ("comes", "is deleted")
        ),
    ),
    Row(
        "audit-log",
        _audit_log,
        tuple(Ratio(f"{what}, of a million events", "answer", what, goal="≤ 1000 ms") for what in _QUESTIONS),
    ),
)
