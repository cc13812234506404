"""Ports of the loopback interface at which nothing listens."""

from __future__ import annotations

import contextlib
import socket


def free_ports(number: int) -> list[int]:
    """Find ports that are free now, each another one."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    """Find a port that is free now."""
    (port,) = free_ports(1)
    return port
