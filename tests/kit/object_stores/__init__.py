"""
Real object stores on the loopback interface: started once per run, and ended with it.

A store that is not installed skips its tests, with a line that says what to install.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import tempfile
from pathlib import Path

import pytest

from tests.kit.object_stores.azurite import Azurite
from tests.kit.object_stores.ceph import Ceph
from tests.kit.object_stores.rclone import Rclone
from tests.kit.object_stores.store import BUCKET, Store, open_place
from tests.kit.object_stores.swift import Swift

__all__ = ["STORES", "Azurite", "Ceph", "Rclone", "Store", "Swift"]

STORES: dict[str, type[Store]] = {store.name: store for store in (Ceph, Rclone, Swift, Azurite)}


def start_once(kind: str, folder: Path) -> dict[str, str]:
    """Start a store, or find the one that another worker of this run has started; give its environment."""
    cls = STORES[kind]
    if not cls.is_installed():
        pytest.skip(f"{kind} is not installed here: {cls.needs}")
    note = folder / f"{kind}.json"
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            store = _start(cls, folder)
            note.with_suffix(".pids").write_text(json.dumps(store.pids))
            note.write_text(json.dumps(store.environment))
            _kept.append(store)
    environment: dict[str, str] = json.loads(note.read_text())
    return environment


def _start(cls: type[Store], folder: Path) -> Store:
    """Start a store; one that has failed twice is not waited for again, and each test says why."""
    failures = folder / f"{cls.name}.failures"
    before = failures.read_text().splitlines() if failures.exists() else []
    if len(before) >= _ATTEMPTS:
        pytest.fail(f"{cls.name} did not start: {before[-1]}")
    store = cls(Path(tempfile.mkdtemp(prefix=cls.name, dir=folder)))
    try:
        store.start()
    except BaseException as error:
        store.crash()
        failures.write_text("".join(f"{line}\n" for line in [*before, " ".join(str(error).split())]))
        raise
    return store


#: A machine under load may be too slow once.
_ATTEMPTS = 2
#: So that no process is collected, which would warn, before the run ends.
_kept: list[Store] = []


def end_all(folder: Path) -> None:
    """End the stores that any worker has started."""
    for note in folder.glob("*.pids"):
        for pid in json.loads(note.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for store in _kept:
        store.crash()


def new_place(kind: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Give the URL of an empty place in a store, and the environment that its clients need."""
    environment = start_once(kind, folder)
    return f"{STORES[kind].scheme}://{BUCKET}/{secrets.token_hex(6)}", environment


def empty_place(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty place in a store, and set the environment to its credentials."""
    url, environment = new_place(kind, folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return url
