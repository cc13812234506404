"""Many at once, in threads and processes, and processes that are killed while they publish."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from twisted.internet.defer import Deferred, DeferredList

from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.manifest_file import read_blocks
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.folder.store import FolderStore
from twisted_index.backends.layout.tombstones import MAX_TOMBSTONES, find_exact
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import Conflict
from twisted_index.events.audit_log import AuditLog
from twisted_index.files.anonymous_file import sweep
from twisted_index.files.locks import LockHeld, project_lock
from twisted_index.interfaces import Upload
from twisted_index.simple.names import parse_filename
from twisted_index.testing import make_wheel
from twisted_index.testing.reactor_thread import BackgroundReactor

from . import publisher
from .test_crash import listed

REPOSITORY = Path(__file__).resolve().parents[3]
#: How often a process is killed; the most that it is given, in seconds.
KILLS, LONGEST = 24 * settings.default.max_examples // 100, 0.25

CHANGED = [make_wheel("demo", "1.0", files={"demo/x.py": f"x = {number}\n"}) for number in range(20)]


def start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.backends.folder.publisher", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_of_twenty_threads_with_other_bytes_one_wins(tmp_path: Path):
    editor = BlockingStore([os.fsencode(tmp_path)])
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda made: publisher.publish(editor, made), CHANGED))
    assert sorted(outcomes, key=str) == [None] * 19 + [True]
    assert listed(tmp_path) == {CHANGED[0].filename: CHANGED[outcomes.index(True)].sha256}
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_of_twenty_threads_with_the_same_bytes_one_is_first(tmp_path: Path):
    editor = BlockingStore([os.fsencode(tmp_path)])
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda _: publisher.publish(editor, CHANGED[0]), range(20)))
    assert sorted(outcomes) == [False] * 19 + [True]


@pytest.fixture
def background() -> Iterator[BackgroundReactor]:
    reactor = BackgroundReactor()
    yield reactor
    reactor.stop(10)


def test_twenty_uploads_at_once_to_one_server(tmp_path: Path, background: BackgroundReactor):
    """With fewer threads than uploads; readers of the source are served meanwhile."""
    results: list[Any] = []

    async def scene() -> None:
        worker = ThreadPool(background.reactor, threads=2)
        source = FolderSource(tmp_path, reactor=background.reactor)
        store = FolderStore(
            source, worker=worker, audit_log=AuditLog(None, worker), reactor=background.reactor
        )
        spools = [await store.spool() for _ in CHANGED]
        for spool, made in zip(spools, CHANGED, strict=True):
            await spool.write(made.content)
        uploads = [
            store.publish(Upload(spool=spool, filename=made.filename))
            for spool, made in zip(spools, CHANGED, strict=True)
        ]
        results.extend(await DeferredList(uploads, consumeErrors=True))
        page = (await source._load("demo")).value
        results.append(page.files[0].hashes["sha256"])
        await source.stop()
        await worker.stop()

    background.call(lambda: Deferred.fromCoroutine(scene()), 60)
    *outcomes, sha256 = results
    winners = [index for index, (ok, _) in enumerate(outcomes) if ok]
    assert [outcomes[index][1] for index in winners] == [True]
    assert sha256 == CHANGED[winners[0]].sha256
    assert all(failure.check(Conflict) for ok, failure in outcomes if not ok)


def test_of_two_processes_one_wins(tmp_path: Path):
    for attempt in range(3):
        root = tmp_path / str(attempt)
        root.mkdir()
        processes = [start("race", str(root), str(seed)) for seed in range(2)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0].strip() for process in processes]
        assert sorted(said) == ["conflict", "new"]
        made = publisher.wheel("1.0", said.index("new"))
        assert listed(root) == {made.filename: made.sha256}


def test_whoever_has_to_wait_is_told_so_at_once(tmp_path: Path):
    root, folder = os.fsencode(tmp_path), os.fsencode(tmp_path / "demo")
    os.mkdir(folder)
    with project_lock(root, lambda: folder):
        with pytest.raises(LockHeld), project_lock(root, lambda: folder):
            pass
        with pytest.raises(LockHeld), project_lock(root):
            pass
        # Another project is another matter.
        os.mkdir(root + b"/other")
        with project_lock(root, lambda: root + b"/other"):
            pass
    with project_lock(root):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
def test_a_process_may_be_killed_at_any_moment(tmp_path: Path):
    """What is listed afterwards is whole, nothing lies about, and the next process goes on from there."""
    chance = random.Random(20260730)
    published = 0
    for seed in range(KILLS):
        process = start("loop", str(tmp_path), str(seed), *(["hidden"] if seed % 2 else []))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(chance.random() * LONGEST)
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        published += check(tmp_path)
    assert published


def check(root: Path) -> int:
    """Look at everything; give the number of files that were published."""
    sweep(os.fsencode(root))
    assert [path.name for path in root.iterdir()] in ([], ["demo"])
    lies = {path.name: path for path in root.rglob("*") if path.is_file()}
    buried = lies.pop(".deleted", None)
    lines = () if buried is None else read_blocks(os.fsencode(buried), MAX_TOMBSTONES)
    # A deletion that was cut off has hidden its file already.
    there = lies.keys() - find_exact(lines, set(lies))
    page = listed(root)
    assert page == {name: hashlib.sha256(lies[name].read_bytes()).hexdigest() for name in there}
    assert {parse_filename(name).project for name in lies} <= {"demo"}
    return len(page)
