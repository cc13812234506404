"""A file of the server that cannot be used any more is seen: in health, in the problems, in the metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.configured_server import ConfiguredServer
from twisted_index.access.tokens import TokenStore
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.interfaces import Action
from twisted_index.metrics.counters import Counters
from twisted_index.metrics.exposition import Exposition

ALICE = "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n"
RULES = '[[rule]]\nallow = "operate"\nto = "everyone"\n'


class Watched:
    """A server with a file of each kind, and a look at what it says of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ConfiguredServer(folder, state=str(folder / "state"))
        self.rights, self.users = folder / "rights.toml", folder / "users"
        self.tokens = folder / "state" / "keep" / "tokens.json"
        self.configuration = self.server.path
        self.rights.write_text(RULES)
        self.users.write_text(ALICE)
        TokenStore(str(folder / "state")).create("ci", {Action.OPERATE: ("*",)})
        self.server.start('rights = "rights.toml"\nauth = "htpasswd:users"\n')

    def warnings(self) -> list[str]:
        status, body = self.server.ask("/-/health")
        assert status == 200
        return json.loads(body).get("warnings", [])

    def rows(self) -> list[dict[str, str]]:
        return json.loads(self.server.ask("/-/problems")[1])["problems"]

    def successful(self) -> dict[str, float]:
        text = self.server.ask("/-/metrics")[1].decode()
        return {
            sample.labels["file"]: sample.value
            for family in text_string_to_metric_families(text)
            if family.name == "twisted_index_config_last_reload_successful"
            for sample in family.samples
        }


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.server.stop()


NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
KINDS = pytest.mark.parametrize(
    ("kind", "broken", "effect"),
    [
        ("configuration", "no-sdists = 5\n", "The settings are unchanged."),
        ("rights", "rule = [\n", "The rights are unchanged."),
        ("users", f"{ALICE}nonsense\n", "These lines are left out."),
        ("tokens", "{", "All tokens are rejected."),
    ],
)


def test_files_without_a_mistake_are_no_problem(watched: Watched):
    assert watched.warnings() == []
    assert watched.rows() == []
    assert watched.successful() == {"index.toml": 1, "rights.toml": 1, "users": 1, "tokens.json": 1}


@KINDS
def test_a_mistake_is_seen_at_once_and_its_correction_too(
    watched: Watched, kind: str, broken: str, effect: str
):
    file: Path = getattr(watched, kind)
    whole = file.read_text()
    file.write_text(broken)

    assert watched.successful()[file.name] == 0
    (row,) = watched.rows()
    assert row["path"] == file.name
    assert effect in row["reason"]
    assert "The file was last without a mistake at 2" in row["reason"]
    (warning,) = watched.warnings()
    assert warning.endswith(f"{kind} has a mistake or cannot be read; see the list of problems.")
    file.write_text(whole)
    assert watched.warnings() == []
    assert watched.rows() == []
    assert watched.successful()[file.name] == 1


@KINDS
@pytest.mark.parametrize(
    "fault",
    [
        "gone",
        "a folder",
        pytest.param(
            "unreadable", marks=pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_seen(
    watched: Watched, kind: str, broken: str, effect: str, fault: str
):
    file: Path = getattr(watched, kind)
    whole = file.read_text()
    if fault == "unreadable":
        file.chmod(0)
    else:
        file.unlink()
    if fault == "a folder":
        file.mkdir()

    assert [row["path"] for row in watched.rows()] == [file.name]
    assert len(watched.warnings()) == 1
    assert watched.successful()[file.name] == 0
    if fault == "a folder":
        file.rmdir()
    if fault == "unreadable":
        file.chmod(0o600)
    file.write_text(whole)
    assert watched.rows() == []


def test_what_is_wrong_and_where_is_said(watched: Watched):
    watched.users.write_text(f"{ALICE}nonsense\n")
    watched.rights.write_text(RULES + '[[rule]]\nallow = "raed"\nto = "users"\n')
    reasons = [row["reason"] for row in watched.rows()]
    assert reasons[0].startswith("line 2: the line is not user:hash.")
    assert reasons[1].startswith("rule 2: allow: unknown action 'raed'; did you mean 'read'?")


def test_no_client_of_health_learns_a_path(watched: Watched):
    watched.rights.unlink()
    assert str(watched.folder) not in " ".join(watched.warnings())


def test_each_of_many_changes_in_a_row_is_seen(watched: Watched):
    for _ in range(100):
        watched.rights.write_text("rule = [\n")
        assert watched.successful()["rights.toml"] == 0
        watched.rights.write_text(RULES)
        assert watched.successful()["rights.toml"] == 1


def test_two_files_of_one_name_are_one_sample_and_the_worse_counts():
    good, bad = (ReloadStatus("TLS certificate", path) for path in ("/a/cert.pem", "/b/cert.pem"))
    bad.fail("It is damaged.", "The previous certificate stays in use.")
    _type, page = Exposition(Counters()).write("", connections=0, projects=0, files=[good, bad])
    assert b'twisted_index_config_last_reload_successful{file="cert.pem"} 0.0\n' in page


@pytest.mark.parametrize("name", ['a"b\n.toml', "\udcff.toml", "a\\b\x1b.toml"])
def test_any_name_of_a_file_can_be_written(name: str):
    status = ReloadStatus("file of rights", f"/srv/{name}")
    _type, page = Exposition(Counters()).write("", connections=0, projects=0, files=[status])
    families = list(text_string_to_metric_families(page.decode()))
    assert any(family.name == "twisted_index_config_last_reload_successful" for family in families)
