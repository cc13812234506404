"""What docs/replication.md says of health, metrics and alerts is so."""

from __future__ import annotations

import re
from pathlib import Path

from twisted_index.replication.epoch import Epoch
from twisted_index.replication.follower import FollowProgress
from twisted_index.replication.state_file import ReplicationState, Role
from twisted_index.server.replication_report import FollowedIndex, collect_metrics, write_health

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "replication.md").read_text(encoding="utf-8")
EPOCH = Epoch(2, "0" * 32)
STATE = ReplicationState(role=Role.REPLICA, epoch=EPOCH, primary="https://a.example.org")
FOLLOWED = [
    FollowedIndex(
        name,
        FollowProgress(
            primary_serial=7,
            is_current=False,
            contact=1.0,
            lag=2.0,
            bytes_to_go=3,
            pending=1,
            fault="It is away.",
            skew=0.1,
        ),
        5,
    )
    for name in ("", "dev")
]


def test_every_field_of_health_is_described_and_every_described_one_is_told():
    told, _warnings = write_health(STATE, EPOCH, FOLLOWED, closed="")
    cells = re.findall(r"^\| (`[^|]+) \|", GUIDE.partition("## Monitoring")[2], re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(cells))) == sorted(told)


def test_every_metric_is_described_and_rules_ask_for_nothing_else():
    told = {metric.name for metric in collect_metrics(STATE, EPOCH, FOLLOWED)}
    prefix = "twisted_index_replication_"
    described = {
        name.replace("…_", prefix) for name in re.findall(r"`((?:…_|twisted_index_replication_)\w+)`", GUIDE)
    }
    assert described == told
    (rules,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert set(re.findall(rf"\b{prefix}\w+", rules)) <= told
