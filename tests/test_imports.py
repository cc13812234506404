"""What is imported when: a server without requests pays for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "twisted_index"

#: Starts a server as twistd does, and stops it when it runs.
IDLE = """
import sys
from twisted.internet import reactor
from twisted_index.tap import Options, makeService
options = Options()
options.parseOptions(["--path", ".", "--listen", "tcp:0:interface=127.0.0.1", "--state", "state", *{more!r}])
service = makeService(options)
service.privilegedStartService()
service.startService()
reactor.callWhenRunning(reactor.stop)
reactor.run()
"""


def loaded(program: str, folder: Path, *names: str) -> set[str]:
    """Run a program in an interpreter of its own; say which of some modules it has imported."""
    told = f"import sys\nprint(*set({names!r}) & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}\n{told}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ([], set()),
        (["--upload", "--anonymous-upload", "--on-upload", "http://127.0.0.1:9/"], set()),
        (["--upstream", "http://127.0.0.1:9/"], {"twisted.web.client"}),
        (["--upstream", "github:o/r"], {"twisted.web.client", "twisted_index.github.api"}),
    ],
    ids=["alone", "webhook", "upstream", "repository"],
)
def test_an_idle_server_has_imported_no_client_and_no_exposition(
    more: list[str], found: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if "github:o/r" in more:
        monkeypatch.setenv("TWISTED_INDEX_UPSTREAM_ONLY", "acme-*")
    wanted = ("treq", "twisted.web.client", "prometheus_client", "passlib", "twisted_index.github.api")
    assert loaded(IDLE.format(more=more), tmp_path, *wanted) == found


def test_importing_everything_installs_no_reactor():
    modules = [
        ".".join(("twisted_index", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    ]
    program = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    assert loaded(program, PACKAGE.parent, "twisted.internet.reactor") == set()


@pytest.mark.parametrize(
    "use",
    ["", "assert IndexInMemory(MemorySource(make_wheel('demo', '1.0'))).get('/simple/demo/').status == 200"],
    ids=["imported", "used"],
)
def test_the_kit_for_tests_needs_neither_pytest_nor_a_reactor(use: str, tmp_path: Path):
    program = f"from twisted_index.testing import *\n{use}"
    assert loaded(program, tmp_path, "pytest", "twisted.internet.reactor") == set()
