"""The netrc file, read again while its owner rewrites it."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.http_client.credentials import NetrcCredentials

URL = "https://index.example/simple/"
GOOD = "machine index.example login me password word"


@pytest.mark.parametrize(
    "text", ["machine index.example login", "machine index.example login me pass", "((("]
)
def test_a_netrc_that_cannot_be_read_takes_nothing_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "netrc"
    path.write_text(GOOD)
    account = NetrcCredentials(URL, {"NETRC": str(path)})
    before = account.current()
    path.write_text(text)

    assert before is not None
    assert account.current() == before


def test_a_machine_that_netrc_does_not_name_any_more_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text(GOOD)
    account = NetrcCredentials(URL, {"NETRC": str(path)})
    account.current()
    path.write_text("machine other.example login me password word2")

    assert account.current() is None


def test_a_netrc_that_cannot_be_read_at_first_holds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine index.example login")
    account = NetrcCredentials(URL, {"NETRC": str(path)})

    assert account.current() is None
    path.write_text(GOOD)
    assert account.current() is not None
