"""What a listener says of its certificate when the server starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from twisted_index.server.listeners import ServerEndpoint

AUTHORITY = trustme.CA()


def warnings(path: Path, issued: trustme.LeafCert) -> list[str]:
    """Give what is logged for a certificate whose key is in the same file."""
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    endpoint = ServerEndpoint(f"https:443:certificate={path}", MemoryReactor())
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        endpoint.report_warning()
    finally:
        globalLogPublisher.removeObserver(events.append)
    return [formatEvent(event) for event in events]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "both.pem"


def test_a_certificate_for_no_host_is_a_warning(path: Path):
    told = warnings(path, AUTHORITY.issue_cert(common_name="index.test"))
    assert told == [f"{path} is for no host: it has no subjectAltName, so clients refuse it."]


def test_a_certificate_that_has_expired_is_a_warning(path: Path):
    told = warnings(path, AUTHORITY.issue_cert("index.test", not_after=datetime(2020, 1, 1, tzinfo=UTC)))
    assert told == [f"{path} has expired, so clients refuse it."]


def test_a_certificate_that_clients_accept_is_none(path: Path):
    assert warnings(path, AUTHORITY.issue_cert("index.test")) == []
