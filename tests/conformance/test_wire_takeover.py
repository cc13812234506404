"""Servers that take each other's place, by the commands of an operator."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.live_server import LiveServer
from twisted_index.events.audit_log import AuditFile
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.testing import make_wheel

RIGHTS = """
[[rule]]
allow = ["follow", "manage"]
to = "alice"

[[rule]]
allow = ["read", "create", "upload"]
projects = ["*"]
to = "everyone"

[[rule]]
indexes = ["*"]
allow = ["follow"]
to = "alice"

[[rule]]
indexes = ["*"]
projects = ["*"]
allow = ["read"]
to = "alice"
"""
ONE, TWO, THREE, FOUR = (make_wheel("acme", f"{number}.0") for number in range(1, 5))
ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
_SECONDS = 90.0


class Machines:
    """Two machines, each with a folder and a state; their servers know the user alice."""

    def __init__(self, top: Path, start: Callable[..., LiveServer]) -> None:
        self.top = top
        self._start = start
        digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
        (top / "htpasswd").write_text(f"alice:{{SHA}}{digest}\n")
        (top / "rights.toml").write_text(RIGHTS)

    def start(
        self, name: str, replica_of: LiveServer | None = None, config: str = "", indexes: bool = False
    ) -> LiveServer:
        folder = self.top / name
        folder.mkdir(exist_ok=True)
        if indexes:
            (self.top / f"{name}-indexes").mkdir()
            config += f'indexes = "{self.top / name}-indexes"\n'
        options = ["--upload", f"--auth=htpasswd:{self.top / 'htpasswd'}"]
        options.append(f"--rights={self.top / 'rights.toml'}")
        if replica_of is not None:
            options.append(f"--replica-of={as_alice(replica_of)}")
        (self.top / f"{name}.toml").write_text(config)
        options.append(f"--config={self.top / name}.toml")
        return self._start(folder, options=options, state=self.top / f"{name}-state")

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command; give its exit code, and what it says."""
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        done = subprocess.run(
            [sys.executable, "-m", "twisted_index", *words],
            capture_output=True,
            text=True,
            env=environ,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def start_two(self) -> tuple[LiveServer, LiveServer]:
        """Start a primary with a file, and a replica that has it."""
        a = self.start("a")
        assert a.upload(ONE).status == 200
        b = self.start("b", a)
        self.wait_for("b", ONE)
        return a, b

    def take_over(self, primary: LiveServer) -> None:
        """Let the replica of a primary take over, as planned."""
        words = ("--planned", f"--state={self.top / 'b-state'}", f"--replica-of={as_alice(primary)}")
        code, said = self.run("takeover", *words)
        assert code == 0, said

    def files(self, name: str) -> set[str]:
        return {path.name for path in (self.top / name).rglob("*.whl")}

    def history(self, name: str) -> dict[str, str]:
        """Give what the server became, without serials, by what was done for that."""
        events = AuditFile(str(self.top / f"{name}-state")).latest(100)
        return {
            event.action: event.detail.partition(", serial")[0].removesuffix(", planned")
            for event in events
            if event.action in ("take-over", "hand-over", "retire", "join")
        }

    def wait_for(self, name: str, *files: Any) -> None:
        """Wait until files have arrived."""
        deadline = time.monotonic() + _SECONDS
        while not {file.filename for file in files} <= self.files(name):
            assert time.monotonic() < deadline, self.files(name)
            time.sleep(0.05)


def as_alice(server: LiveServer) -> str:
    return f"{server.origin}/".replace("//", "//alice:secret@", 1)


def role_of(server: LiveServer) -> tuple[str, int]:
    document = json.loads(server.get("/-/replication").body)
    return document["role"], document["epoch"][0]


@pytest.fixture
def machines(tmp_path: Path, server_factory: Callable[..., LiveServer]) -> Machines:
    return Machines(tmp_path, server_factory)


def test_a_planned_switch_loses_nothing_and_the_old_primary_follows(machines: Machines):
    a, b = machines.start_two()
    machines.take_over(a)
    assert (role_of(a), role_of(b)) == (("retired", 1), ("primary", 2))
    assert a.upload(TWO).status == 503
    assert b.upload(TWO).status == 200
    a.stop()
    a = machines.start("a", b)
    machines.wait_for("a", ONE, TWO)
    assert role_of(a) == ("replica", 2)
    assert machines.history("a") == {"hand-over": "epoch 1"}
    assert machines.history("b") == {"take-over": "epoch 1 to 2"}


def test_after_a_take_over_the_old_primary_is_joined_and_follows(machines: Machines):
    a, b = machines.start_two()
    state_a, state_b = (f"--state={machines.top / name}" for name in ("a-state", "b-state"))
    code, said = machines.run("takeover", state_b)
    assert (code, "--planned" in said) == (1, True)
    a.stop()
    b.stop()
    a = machines.start("a")
    assert a.upload(TWO).status == 200
    a.stop()
    assert machines.run("takeover", state_b)[0] == 0
    b = machines.start("b")
    assert b.upload(THREE).status == 200
    a = machines.start("a")
    before = a.origin
    code, said = machines.run("join", as_alice(a), f"--path={machines.top / 'b'}", state_b)
    assert code == 0, said
    code, said = machines.run("join", as_alice(b), f"--path={machines.top / 'a'}", state_a)
    assert code == 0, said
    assert machines.files("a") == machines.files("b") == {one.filename for one in (ONE, TWO, THREE)}
    assert a.upload(FOUR).status == 503
    a.stop()
    a = machines.start("a", b)
    assert b.upload(FOUR).status == 200
    machines.wait_for("a", FOUR)
    assert machines.run("follow", state_a)[1].startswith("role: replica\n")
    one = "1 file taken, 0 removed, 0 conflicts, 0 projects not joined"
    assert machines.history("b") == {"take-over": "epoch 1 to 2", "join": f"{before}/, epoch 2: {one}"}
    assert machines.history("a") == {"join": f"{b.origin}/, epoch 1 to 2: {one}"}


def test_one_join_is_of_all_indexes(machines: Machines):
    configs = {}
    for name, files in (("a", {"dev": ONE, "old": TWO}), ("b", {"dev": THREE, "new": FOUR})):
        top = machines.top / f"{name}-indexes"
        configs[name] = f"indexes = {json.dumps(str(top))}\n"
        for index, file in files.items():
            file.write_to(top / index / "acme")
        (machines.top / f"{name}.toml").write_text(configs[name])
    a = machines.start("a", config=configs["a"])
    StateFile(str(machines.top / "b-state")).write(
        ReplicationState(role=Role.REPLICA, primary=f"{a.origin}/", epoch=None)
    )
    words = (f"--path={machines.top / 'b'}", f"--state={machines.top / 'b-state'}")
    (machines.top / "b").mkdir()
    code, said = machines.run("join", as_alice(a), *words, f"--config={machines.top / 'b.toml'}")
    assert code == 1
    assert f"+ +dev/acme/{ONE.filename}" in said
    assert f"lacks what is here: +dev/acme/{THREE.filename}, all of +new/" in said
    assert "Took 2 files" in said
    found = {
        str(path.relative_to(machines.top / "b-indexes"))
        for path in (machines.top / "b-indexes").rglob("*.whl")
    }
    assert found == {
        f"dev/acme/{ONE.filename}",
        f"dev/acme/{THREE.filename}",
        f"new/acme/{FOUR.filename}",
        f"old/acme/{TWO.filename}",
    }


def test_a_primary_that_was_away_asks_its_peers_before_its_first_change(machines: Machines):
    a, b = machines.start_two()
    a.stop()
    assert machines.run("takeover", f"--state={machines.top / 'b-state'}")[0] == 0
    a = machines.start("a", config=f'peers = ["{b.origin}/"]\npeers-needed = 1\n')
    refused = a.upload(TWO)
    assert refused.status == 503
    assert f"The primary is {b.origin}/ now" in refused.text
    assert role_of(a) == ("retired", 2)


def test_a_server_that_everyone_only_reads_hands_over_to_its_first_token(
    machines: Machines, server_factory: Callable[..., LiveServer]
):
    folder, state = machines.top / "a", machines.top / "a-state"
    ONE.write_to(folder / "acme")
    a = server_factory(folder, options=[], state=state)
    code, secret = machines.run("token", "create", "b", "--follow", "--manage", f"--state={state}")
    assert code == 0, secret
    token = re.search(r"tix-\S+", secret)
    assert token is not None
    url = a.origin.replace("//", f"//__token__:{token[0]}@", 1)
    (machines.top / "b").mkdir()
    b = server_factory(machines.top / "b", options=[f"--replica-of={url}"], state=machines.top / "b-state")
    machines.wait_for("b", ONE)
    assert a.get("/-/yank", method="POST").status == 405
    code, said = machines.run(
        "takeover", "--planned", f"--state={machines.top / 'b-state'}", f"--replica-of={url}"
    )

    assert code == 0, said
    assert (role_of(a), role_of(b)) == (("retired", 1), ("primary", 2))


def test_a_server_that_has_taken_over_asks_its_former_primary_for_nothing(machines: Machines):
    a, b = machines.start_two()
    machines.take_over(a)
    make_wheel("elsewhere", "1.0").write_to(machines.top / "a" / "elsewhere")
    assert a.get("/simple/elsewhere/").status == 200
    # The running server sees what it is before it takes a change.
    assert b.upload(TWO).status == 200

    assert b.get("/simple/elsewhere/").status == 404
    assert "asks for nothing any more" in b.log


@pytest.mark.parametrize("projects", [0, 1])
def test_a_planned_switch_waits_for_an_index_that_was_just_made(machines: Machines, projects: int):
    a = machines.start("a", indexes=True)
    assert a.upload(ONE).status == 200
    b = machines.start("b", a, indexes=True)
    machines.wait_for("b", ONE)
    (machines.top / "a-indexes" / "dev").mkdir()
    if projects:
        TWO.write_to(machines.top / "a-indexes" / "dev" / "acme")
    code, said = machines.run(
        "takeover", "--planned", f"--state={machines.top / 'b-state'}", f"--replica-of={as_alice(a)}"
    )

    assert code == 0, said
    assert "+dev/" in said
    assert b.get("/+dev/simple/", headers=ALICE).status == 200
    if projects:
        assert TWO.filename in b.get("/+dev/simple/acme/", headers=ALICE).text
