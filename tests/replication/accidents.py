"""
`python -m tests.replication.accidents`: three servers behind HAProxy, to which all happens that may happen.

A primary and two replicas run on machines of their own (`network`). While pip and uv install through HAProxy
and files are uploaded, yanked and deleted through the servers, the primary is killed, cut off, loses packets,
gets another time, loses its state and its folder, gets old copies of them back, and is replaced, on purpose
and not, also while it goes on. No installation may fail, no change that was acknowledged may be missing, no
epoch may have two primaries, and in the end all folders and all pages have to be equal. Needs Linux, root and
haproxy; nftables for lost packets, faketime for clocks. Not for: how fast it is (`tests.benchmarks --only
replication`).
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.replication.clients import APP, LIBRARY, Clients
from tests.replication.network import Machine, enter
from tests.replication.nodes import Balancer, Node, Place, attempts, can_move_clocks
from twisted_index.testing import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_NAMES = "abc"
#: Seconds within which all servers have to be equal again once an accident is over.
_PATIENCE = 90.0
#: Seconds that need no word.
_SOON = 10.0
_PROJECTS = 40


@dataclass(frozen=True)
class Line:
    """What came of one accident."""

    what: str
    seconds: float
    installations: str
    uploads: int
    found: str


class Skipped(Exception):
    """An accident that cannot happen here, and why."""


class Run:
    """
    The servers, and what happens to them.

    Args:
        folder: An empty folder.
        seconds: How long an accident lasts at least.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = seconds
        machines = [Machine(f"machine-{name}", 11 + number) for number, name in enumerate(_NAMES)]
        addresses = [machine.address for machine in machines]
        place = Place(folder, addresses)
        self.nodes = [
            Node(name, machine, place, [other for other in addresses if other != machine.address])
            for name, machine in zip(_NAMES, machines, strict=True)
        ]
        self.a, self.b, self.c = self.nodes
        self.balancer = Balancer(place, self.nodes)
        self.clients = Clients(place, self.balancer.url, self.nodes)
        self.lines: list[Line] = []
        self.wrong: list[str] = []

    # Around an accident.

    def happens(self, what: str, accident: Callable[[], str | None]) -> None:
        """Let something happen, and wait until all servers are equal again."""
        seen = self.clients.seen
        before, failed = dict(seen.installed), sum(seen.failed.values())
        uploads, began = len(seen.acknowledged), time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
        try:
            found = accident() or ""
            found += self.settle()
        except Skipped as error:
            found = f"not tried: {error}"
        except (OSError, AssertionError, http.client.HTTPException) as error:
            found = f"WRONG: {type(error).__name__} {error}"
        if failures := sum(seen.failed.values()) - failed:
            found += f" WRONG: {failures} installations failed"
        missing = self.missing(self.primary)
        if missing:
            found += f" WRONG: the primary lacks {len(missing)} changes: {', '.join(missing[:3])}"
        if "WRONG" in found:
            self.wrong.append(f"{what}: {found}")
        installed = ", ".join(
            f"{name} {count - before.get(name, 0)}" for name, count in sorted(seen.installed.items())
        )
        took = time.monotonic() - began
        found = found.strip() or "equal"
        self.lines.append(Line(what, took, installed, len(seen.acknowledged) - uploads, found))
        print(f"         {took:.0f} s, {installed}: {found}", file=sys.stderr, flush=True)

    @property
    def primary(self) -> Node:
        """The server that says so, of the highest epoch; else the first."""
        said = [(node.document("/-/replication"), node) for node in self.nodes]
        leading = [(found["epoch"], node) for found, node in said if found.get("role") == "primary"]
        return max(leading, key=lambda pair: pair[0])[1] if leading else self.a

    def missing(self, node: Node) -> list[str]:
        """Name what was acknowledged and is not in the folder of a server: uploads, yanks and deletions."""
        # First, so that the folder is younger than what it is compared with.
        uploads, marks = dict(self.clients.seen.acknowledged), dict(self.clients.seen.marks)
        has = {Path(path).name: entry.digest for path, entry in node.tree().items()}
        kept = self.clients.seen.marks
        return [
            *(name for name, digest in uploads.items() if has.get(name) != digest and not self.is_gone(name)),
            *(
                f"{name} {mark}"
                for name, mark in marks.items()
                if (f"{name}.yanked" not in has if mark == "yanked" else name in has)
                and kept.get(name) == mark
            ),
        ]

    def is_gone(self, name: str) -> bool:
        """Tell whether a file has been deleted meanwhile, or is about to be."""
        return name not in self.clients.seen.acknowledged

    def settle(self) -> str:
        """Wait until the folders of all servers are equal; say how they differ if they never are."""
        differing: list[str] = []
        began = time.monotonic()
        for _ in attempts(_PATIENCE):
            trees = [node.tree() for node in self.nodes]
            every = sorted(set().union(*trees))
            differing = [path for path in every if len({tree.get(path) for tree in trees}) > 1]
            if not differing:
                took = time.monotonic() - began
                return f" equal after {took:.0f} s" if took > _SOON else ""
        faults = "; ".join(f"{node.name}: {self.fault(node)}" for node in self.nodes)
        return f" WRONG: {len(differing)} files differ, such as {differing[0]} ({faults})"

    @staticmethod
    def fault(node: Node) -> str:
        """Give what a server says of its part in the replication."""
        return json.dumps(node.document("/-/health").get("replication", {}))[:300]

    @contextmanager
    def no_changes(self, *, are_equal: bool = True) -> Iterator[None]:
        """Let all changes rest, which what happens would lose; once the servers are equal, if they can be."""
        with self.clients.resting():
            if are_equal:
                self.settle()
            yield

    def wait(self) -> None:
        time.sleep(self.seconds)

    def await_fault(self, word: str) -> str:
        """Wait until both replicas say what a person has to do."""
        nodes = [node for node in self.nodes if node is not self.a]
        for _ in attempts(_PATIENCE):
            told = [self.told(node) for node in nodes]
            if all(word in text for text in told):
                return told[0]
        raise AssertionError(f"no fault is told: {[self.fault(node) for node in nodes]}")

    @staticmethod
    def told(node: Node) -> str:
        """Give what a server warns of."""
        return " ".join(map(str, node.document("/-/health").get("warnings", [])))

    # The accidents.

    def first_sync(self) -> str:
        for node in (self.b, self.c):
            node.start(self.a)
        return f"{len(self.a.tree())} files"

    def nothing(self) -> None:
        self.wait()

    def killed(self) -> None:
        self.a.stop(signal.SIGKILL)
        self.wait()
        self.a.start()

    def replica_killed(self) -> None:
        self.b.stop(signal.SIGKILL)
        self.wait()
        self.b.start(self.a)

    def link_is_cut(self) -> None:
        with self.a.machine.cut_off():
            self.wait()

    def packets_are_lost(self) -> None:
        if shutil.which("nft") is None:
            raise Skipped("nftables is not installed")
        with self.a.machine.losing(3):
            self.wait()

    def clock_is_moved(self, difference: str) -> str:
        if not can_move_clocks():
            raise Skipped("faketime is not installed")
        self.a.set_clock(difference)
        self.wait()
        told = self.told(self.b)
        self.a.set_clock("")
        return told

    def folder_is_emptied(self) -> str:
        with self.no_changes():
            saved = self.a.save("before")
            self.a.clear()
            self.wait()
            told = self.await_fault("unavailable")
            assert not self.missing(self.b), "the replica has removed files"
            self.a.restore(saved, state=True)
        return told

    def begun_anew(self) -> None:
        """With a new disk, which has neither packages nor state."""
        with self.no_changes():
            saved = self.a.save("before")
            self.a.stop()
            self.a.clear()
            shutil.rmtree(self.a.state)
            self.a.start()
            self.wait()
            status, _fields, _body = self.a.ask("/-/health")
            assert status == 503, f"health is {status}"
            assert not self.missing(self.b), "the replica has removed files"
            self.a.stop()
            self.a.restore(saved, state=True)
            self.a.start()

    def mount_point_is_empty(self) -> str:
        """The folder is the mount point itself, so that an empty one is there without the disk."""
        with self.no_changes(), self.a.at_a_mount_point() as point:
            self.await_contact()
            subprocess.run(["umount", "--lazy", str(point)], check=True)
            self.wait()
            status, _fields, _body = self.a.ask("/-/health")
            assert status == 503, f"health is {status}"
            told = self.await_fault("unavailable")
            assert not self.missing(self.b), "the replica has removed files"
        return told

    def await_contact(self) -> None:
        """Wait until the replicas have heard of the primary since it started."""
        for _ in attempts(_PATIENCE):
            if not any(self.told(node) for node in (self.b, self.c)):
                return
        raise AssertionError("the replicas do not go on")

    def disk_is_unmounted(self) -> str:
        with self.no_changes():
            self.a.unmount()
            self.wait()
            told = self.told(self.b)
            assert not self.missing(self.b), "the replica has removed files"
            self.a.mount()
        return told

    def state_is_deleted(self) -> None:
        self.a.stop()
        shutil.rmtree(self.a.state)
        self.a.start()

    def older_copy(self, *, state: bool) -> str:
        with self.no_changes():
            saved, before = self.a.save("older"), len(self.clients.seen.acknowledged)
        # The copy has to lack something.
        for _ in attempts(_PATIENCE):
            if len(self.clients.seen.acknowledged) > before:
                break
        with self.no_changes():
            self.a.stop()
            self.a.restore(saved, state=state)
            self.a.start()
            told = self.await_fault("twisted-index join")
            self.join(self.a, self.b)
        return told

    def join(self, node: Node, other: Node, *, conflicts: bool = False) -> str:
        done = node.type(
            *("join", other.url_to_follow, "--path", str(node.folder), "--state", str(node.state))
        )
        assert done.returncode == conflicts, f"join: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout.strip()

    def planned(self) -> str:
        """B takes over while A runs, and A follows it."""
        done = self.b.type("takeover", "--planned", "--config", str(self.b.settings))
        assert done.returncode == 0, f"takeover: {done.stdout} {done.stderr}"
        for node in (self.a, self.c):
            node.stop()
            node.start(self.b)
        return done.stdout.strip()

    def unplanned(self) -> str:
        """B is killed, A takes over, B comes back as it was."""
        with self.no_changes():
            self.b.stop(signal.SIGKILL)
            self.wait()
            done = self.a.type("takeover", "--config", str(self.a.settings))
            assert done.returncode == 0, f"takeover: {done.stdout} {done.stderr}"
            self.c.stop()
            self.c.start(self.a)
        self.wait()
        self.b.start()
        self.wait()
        role = self.b.document("/-/replication").get("role")
        with self.no_changes(are_equal=False):
            self.join(self.a, self.b)
            self.b.stop()
            self.join(self.b, self.a)
            # What is deleted at a before b follows would be one more thing to join.
            self.b.start(self.a)
            self.settle()
        return f"{done.stdout.strip()} (b came back as {role})"

    def split(self) -> str:
        """A is cut off and goes on, B takes over, and both take changes."""
        seen = self.clients.seen
        base = [make_wheel("split", f"1.{number}") for number in range(4)]
        of_a, of_b = make_wheel("split", "2.0"), make_wheel("split", "2.1")
        both = [make_wheel("split", "3.0", files={"split.py": f"of = {name!r}"}) for name in "ab"]
        with self.no_changes():
            self.made(*(self.a.upload(file) for file in base))
            self.settle()
        with self.a.machine.cut_off():
            done = self.b.type("takeover", "--config", str(self.b.settings))
            assert done.returncode == 0, f"takeover: {done.stdout} {done.stderr}"
            self.c.stop()
            self.c.start(self.b)
            self.made(
                self.b.upload(of_b), self.b.upload(both[1]), self.b.yank(base[0]), self.b.delete(base[1])
            )

            def go_on() -> None:
                changes = self.a.upload(of_a), self.a.upload(both[0])
                self.made(*changes, self.a.yank(base[2]), self.a.delete(base[3]))

            self.a.machine.within(go_on)
            self.wait()
        files = (base[0], base[2], of_a, of_b, both[1])
        seen.acknowledged |= {file.filename: file.sha256 for file in files}
        seen.marks |= {base[0].filename: "yanked", base[2].filename: "yanked"}
        seen.marks |= {base[1].filename: "deleted", base[3].filename: "deleted"}
        with self.no_changes(are_equal=False):
            self.join(self.b, self.a, conflicts=True)
            self.a.stop()
            self.join(self.a, self.b, conflicts=True)
            aside = self.a.set_aside() | self.b.set_aside()
            assert both[0].sha256 in aside, "what was uploaded to a is lost"
            # As for b above.
            self.a.start(self.b)
            self.settle()
        return f"{done.stdout.strip()} (of one name with two contents, one was set aside)"

    @staticmethod
    def made(*statuses: int) -> None:
        assert set(statuses) == {200}, f"changes: {statuses}"

    def chained(self) -> str:
        """C follows A, which follows B; A is killed and comes back."""
        self.c.stop()
        self.c.start(self.a)
        self.wait()
        through = make_wheel("chain", "1.0")
        status = self.c.upload(through)
        if status == 200:
            self.clients.seen.acknowledged[through.filename] = through.sha256
        found = f"an upload through c: {status}"
        found += self.settle()
        self.a.stop(signal.SIGKILL)
        self.wait()
        self.a.start(self.b)
        found += self.settle()
        self.c.stop()
        self.c.start(self.b)
        return found

    # All of them.

    @property
    def accidents(self) -> dict[str, tuple[str, Callable[[], str | None]]]:
        """What may happen, by a name, in an order in which each may follow the one before."""
        return {
            "nothing": ("nothing", self.nothing),
            "killed": ("the primary is killed, and comes back", self.killed),
            "replica": ("a replica is killed, and comes back", self.replica_killed),
            "link": ("the link of the primary is cut", self.link_is_cut),
            "loss": ("the primary loses one packet of three", self.packets_are_lost),
            "ahead": ("the clock of the primary is a year ahead", lambda: self.clock_is_moved("+1y")),
            "behind": ("the clock of the primary is a year behind", lambda: self.clock_is_moved("-1y")),
            "emptied": ("the folder of the primary is emptied", self.folder_is_emptied),
            "mountpoint": ("the disk of the primary is unmounted, at its folder", self.mount_point_is_empty),
            "anew": ("the primary begins anew, with an empty disk", self.begun_anew),
            "unmounted": ("the disk of the primary is unmounted", self.disk_is_unmounted),
            "state": ("the state of the primary is deleted", self.state_is_deleted),
            "older": ("the primary gets an older copy, with its state", lambda: self.older_copy(state=True)),
            "stateless": (
                "the primary gets an older copy, without state",
                lambda: self.older_copy(state=False),
            ),
            "planned": ("b takes over as planned", self.planned),
            "unplanned": ("b is killed, a takes over, b comes back", self.unplanned),
            "split": ("a is cut off, b takes over, both go on", self.split),
            "chained": ("c follows a, which follows b", self.chained),
        }

    def everything(self, only: Collection[str] = (), bandersnatch: str = "") -> None:
        """Let all of that happen, or some of it."""
        self.fill()
        self.a.start()
        self.clients.uploading.set()
        self.clients.start()
        self.happens("replicas are new", self.first_sync)
        for name, (what, accident) in self.accidents.items():
            if not only or name in only:
                self.happens(what, accident)
        self.clients.stop()
        if bandersnatch:
            self.happens("bandersnatch mirrors a replica twice", lambda: self.mirrored(bandersnatch))
        self.happens("all is over", self.compare)

    def fill(self) -> None:
        """Give the primary its first packages."""
        make_wheel(APP, "1.0", requires=[LIBRARY]).write_to(self.a.disk / APP)
        make_wheel(LIBRARY, "1.0").write_to(self.a.disk / LIBRARY)
        for number in range(_PROJECTS):
            name = f"project-{number}"
            for file in (make_wheel(name, "1.0"), make_wheel(name, "1.1"), make_sdist(name, "1.1")):
                file.write_to(self.a.disk / name)

    def mirrored(self, bandersnatch: str) -> str:
        """Let bandersnatch mirror a replica twice."""
        node = next(node for node in self.nodes if node is not self.primary)
        first, second = (self.clients.mirror(node, bandersnatch) for _ in range(2))
        shown = {path: entry for path, entry in node.tree().items() if path.endswith((".whl", ".gz"))}
        assert len(first) == len(shown), f"bandersnatch has {len(first)} of {len(shown)} files"
        assert first == second, "its second run has fetched files again"
        return f"{len(first)} files from {node.name}, and none in the second run"

    def compare(self) -> str:
        """Compare folders, pages and their validators, and look at who was a primary."""
        self.settle()
        for node in self.nodes:
            if missing := self.missing(node):
                self.wrong.append(f"{node.name} lacks {len(missing)} acknowledged changes: {missing[:5]}")
        projects = sorted({path.partition("/")[0] for path in self.a.tree()})
        compared = 0
        for path in ("/simple/", *(f"/simple/{project}/" for project in projects)):
            for kind in ("application/vnd.pypi.simple.v1+json", "text/html"):
                # What was copied back gets its serials when the primary next looks at it, as for a page.
                for _ in attempts(_PATIENCE):
                    found = {
                        (status, fields.get("etag"), body)
                        for status, fields, body in (node.ask(path, {"Accept": kind}) for node in self.nodes)
                    }
                    if len(found) == 1:
                        break
                compared += 1
                if len(found) > 1:
                    tags = [(status, tag, len(body)) for status, tag, body in found]
                    self.wrong.append(f"{path} as {kind} differs: {tags}")
        self.wrong += self.clients.seen.unexpected
        for epoch, names in self.clients.seen.primaries.items():
            if len(names) > 1:
                self.wrong.append(f"epoch {epoch} had the primaries {', '.join(sorted(names))}")
        return f"{len(self.a.tree())} files and {compared} pages are compared"

    def stop(self) -> None:
        self.clients.stop()
        self.balancer.stop()
        for node in self.nodes:
            node.stop(signal.SIGKILL)

    def report(self) -> str:
        """Write the table."""
        seen = self.clients.seen
        text = ["| what happened | s | installations | uploads | found |", "|---|--:|---|--:|---|"]
        text += [
            f"| {line.what} | {line.seconds:.0f} | {line.installations} | {line.uploads} | {line.found} |"
            for line in self.lines
        ]
        text += ["", f"Installations: {seen.installations}."]
        text += [
            f"Uploads: {len(seen.acknowledged)} acknowledged, {seen.refused} tries refused or unanswered."
        ]
        marks = Counter(seen.marks.values())
        text += [f"Yanked: {marks['yanked']}, deleted: {marks['deleted']}."]
        epochs = (f"{epoch}: {', '.join(sorted(names))}" for epoch, names in seen.primaries.items())
        text += [f"Primaries: {'; '.join(epochs)}.", f"{len(self.wrong)} faults."]
        return "\n".join([*text, *self.wrong, *seen.said])


def main() -> int:
    """Run it, print what happened, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.replication.accidents", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long an accident lasts at least (8)")
    parser.add_argument("--work", type=Path, help="an empty folder, which is kept")
    parser.add_argument("--only", action="append", default=[], help="what happens, in its order; repeatable")
    parser.add_argument("--bandersnatch", metavar="PROGRAM", help="lets it mirror a replica")
    given = parser.parse_args()
    enter("tests.replication.accidents", sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    if shutil.which("haproxy") is None:
        sys.exit("Not installed: haproxy.")
    work = given.work or Path(tempfile.mkdtemp(prefix="accidents-"))
    work.mkdir(parents=True, exist_ok=True)
    run = Run(work.resolve(), given.seconds)
    try:
        run.everything(given.only, given.bandersnatch)
    finally:
        run.stop()
        print(run.report())
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
