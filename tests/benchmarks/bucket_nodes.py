"""
Servers on one bucket, each with its own disposable state, and a balancer before them.

Not for: what is asked of them (`object_store_soak`, `object_store_operations`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHECKOUT = Path(__file__).resolve().parents[2]
_EVERYWHERE = frozenset(os.sched_getaffinity(0))
_HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option redispatch
    retries 3
frontend index
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /-/health
"""


def start_node(
    name: str, port: int, path: str, *options: str, work: Path, environment: Mapping[str, str]
) -> Process:
    """
    Start a server that everyone may upload to.

    Args:
        name: Of its log and its state.
        port: Where it listens.
        path: What it serves: a folder, or the URL of a bucket.
        options: More words of its command line.
        work: The folder of its log and its state.
        environment: The credentials of the bucket.
    """
    words = ("-m", "twisted", "--log-format=text", "simpleindex", "--path", path)
    place = ("--listen", f"tcp:{port}:interface=127.0.0.1", "--state", str(work / f"state-{name}"))
    return Process(
        (sys.executable, *words, *place, "--upload", "--anonymous-upload", *options),
        log=work / f"{name}.log",
        cores=_EVERYWHERE,
        folder=_CHECKOUT,
        environment={**os.environ, **environment},
    )


def start_balancer(port: int, nodes: Sequence[int], *, work: Path) -> Process:
    """Start haproxy before the servers at these ports."""
    servers = (f"    server n{number} 127.0.0.1:{node} check inter 300" for number, node in enumerate(nodes))
    configuration = work / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(port=port) + "\n".join(servers) + "\n")
    return Process(
        ("haproxy", "-db", "-f", str(configuration)),
        log=work / "haproxy.log",
        cores=_EVERYWHERE,
        folder=work,
    )
