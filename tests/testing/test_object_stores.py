"""The stores of the tests: a failed start is said, and tried once more; no run leaves one behind."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import object_stores
from tests.kit.object_stores import Store

#: Starts a process as a store, prints its number, and waits.
_RUNNER = """
import sys
from pathlib import Path
from tests.kit.object_stores import Store
store = Store(Path(sys.argv[1]))
store._spawn("server", "sleep", "1000")
print(*store.pids, flush=True)
sys.stdin.read()
"""


class Broken(Store):
    """A store of one process that does not answer, or does from some start on."""

    name = "broken"
    needs = "nothing"
    starts = 0
    works_from = 1000

    @classmethod
    def is_installed(cls) -> bool:
        return True

    def start(self) -> None:
        type(self).starts += 1
        self._spawn("server", "sleep", "1000")
        assert type(self).starts >= self.works_from, f"no answer to start {type(self).starts}"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> type[Broken]:
    cls = type("Broken", (Broken,), {})
    monkeypatch.setitem(object_stores.STORES, "broken", cls)
    monkeypatch.setattr(object_stores, "_kept", [])
    return cls


def test_a_store_that_failed_is_started_anew_for_the_next_test(broken: type[Broken], tmp_path: Path):
    broken.works_from = 2
    with pytest.raises(AssertionError, match="no answer to start 1"):
        object_stores.start_once("broken", tmp_path)
    try:
        assert object_stores.start_once("broken", tmp_path) == object_stores.start_once("broken", tmp_path)
        assert broken.starts == 2
    finally:
        object_stores.end_all(tmp_path)


def test_a_store_that_fails_again_is_not_waited_for_by_every_test(broken: type[Broken], tmp_path: Path):
    for _ in range(2):
        with pytest.raises(AssertionError):
            object_stores.start_once("broken", tmp_path)
    for _ in range(3):
        with pytest.raises(pytest.fail.Exception, match="broken did not start: no answer to start 2"):
            object_stores.start_once("broken", tmp_path)
    assert broken.starts == 2


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux says when another process ends")
def test_a_run_that_is_killed_leaves_no_store(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    runner = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with runner:
        assert runner.stdout is not None
        store = os.pidfd_open(int(runner.stdout.readline()))
        runner.kill()
    try:
        assert select.select([store], [], [], 30)[0] == [store]
    finally:
        os.close(store)
