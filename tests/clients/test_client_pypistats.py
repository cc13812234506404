"""pypistats, the command for pypistats.org, shows downloads from here once it has another address."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from twisted_index.testing import make_wheel

if TYPE_CHECKING:
    from tests.clients.conftest import Shell

#: What the command does, at another address.
PROGRAM = "import sys, pypistats, pypistats.cli; pypistats.BASE_URL = sys.argv.pop(1); pypistats.cli.main()"
PIP = 'pip/26.1 {"ci":true,"python":"3.13.1","system":{"name":"Linux"}}'


@pytest.fixture
def pypistats(shell: Shell, server: Any) -> Callable[..., Any]:
    """Run the command."""
    if importlib.util.find_spec("pypistats") is None:
        pytest.skip("pypistats is not installed here")
    base = f"{server.origin}/-/stats/api/"
    return lambda *words: shell.run(sys.executable, "-c", PROGRAM, base, *words)


def download(server: Any, folder: Path, name: str) -> None:
    """Download a file four times: twice with pip, with uv, and with a mirror."""
    wheel = make_wheel(name, "1.0")
    wheel.write_to(folder / name)
    for user_agent in (PIP, PIP, "uv/0.9", "bandersnatch/6.5"):
        path = f"/simple/{name}/{wheel.filename}"
        assert server.get(path, headers={"User-Agent": user_agent}).status == 200


def shown(outcome: Any) -> dict[str, int]:
    assert outcome.code == 0, outcome.output
    return {row["category"]: row["downloads"] for row in json.loads(outcome.output)["data"]}


def test_each_command_of_pypistats_shows_what_was_downloaded(
    pypistats: Callable[..., Any], server: Any, folder: Path
):
    download(server, folder, "demo")
    recent = pypistats("recent", "demo", "--json")
    assert json.loads(recent.output)["data"] == {"last_day": 3, "last_week": 3, "last_month": 3}
    assert shown(pypistats("overall", "demo", "--json")) == {"with_mirrors": 4, "without_mirrors": 3}
    assert shown(pypistats("overall", "demo", "--json", "--mirrors", "false")) == {"without_mirrors": 3}
    assert shown(pypistats("python_major", "demo", "--json")) == {"3": 2, "null": 1}
    assert shown(pypistats("python_minor", "demo", "--json")) == {"3.13": 2, "null": 1}
    assert shown(pypistats("system", "demo", "--json", "--os", "linux")) == {"Linux": 2}


def test_pypistats_draws_its_tables(pypistats: Callable[..., Any], server: Any, folder: Path):
    download(server, folder, "drawn")
    table = pypistats("python_minor", "Drawn", "--monthly", "--color", "no").output
    assert "Date range: 20" in table
    assert "66.67%" in table


def test_pypistats_says_that_nothing_was_downloaded(pypistats: Callable[..., Any]):
    assert "HTTP Error 404" in pypistats("recent", "absent").output
