"""Files that an upstream must not replace: the listed one stays, and its bytes or none are served."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from tests.kit.scripted_remote import Bench, ScriptedRemote, remote_file
from twisted_index.errors import BadGateway
from twisted_index.simple.model import Sidecar

NAME = "demo-1.0-py3-none-any.whl"
OLD, NEW = b"as it was", b"as it became"
THEN, LATER = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 5, 6, tzinfo=UTC)
BEFORE = remote_file(OLD, url="https://files.example/1", upload_time=THEN)
AFTER = remote_file(NEW, url="https://files.example/2", upload_time=LATER)
OTHER = remote_file(b"other", "demo-2.0.tar.gz", version="2.0")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    remote = ScriptedRemote(is_immutable=True, bodies={BEFORE.url: OLD, AFTER.url: NEW})
    remote.offer(BEFORE)
    return Bench(tmp_path / "cache", remote)


@pytest.fixture
def errors() -> Iterator[list[LogEvent]]:
    """Yield what is logged as an error."""
    events: list[LogEvent] = []

    def note(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.error:
            events.append(event)

    globalLogPublisher.addObserver(note)
    yield events
    globalLogPublisher.removeObserver(note)


def again(bench: Bench, **more: Any) -> Bench:
    """Start once more on the same cache."""
    assert bench.cache is not None
    return Bench(bench.cache.path, bench.remote, clock=bench.clock, **more)


def offer(bench: Bench, *files: Any) -> None:
    """Let the upstream list other files, and the page of before grow old."""
    bench.remote.offer(*files, etag=f'"{len(bench.remote.asked)}"')
    bench.clock.advance(600)


def listed(bench: Bench) -> tuple[str, int | None, datetime | None]:
    (file,) = bench.page().files
    return file.hashes["sha256"], file.size, file.upload_time


def entry(content: bytes, time: datetime | None) -> tuple[str, int, datetime | None]:
    return hashlib.sha256(content).hexdigest(), len(content), time


def drop_from_cache(bench: Bench, content: bytes) -> None:
    assert bench.cache is not None
    os.remove(bench.cache.file_path(hashlib.sha256(content).hexdigest()))


def test_a_replaced_file_stays_listed_as_it_was_and_is_served_from_the_cache(bench: Bench):
    assert bench.read() == OLD
    since = bench.source.first_seen("demo", NAME)
    offer(bench, AFTER)

    assert listed(bench) == entry(OLD, THEN)
    assert bench.read() == OLD
    assert bench.source.first_seen("demo", NAME) == since
    assert bench.remote.asked.count(("fetch", AFTER.url)) == 0


def test_a_replaced_file_that_is_not_in_the_cache_is_a_bad_gateway_that_says_what_to_do(bench: Bench):
    bench.page()
    offer(bench, AFTER)

    with pytest.raises(BadGateway, match=f"replaced {NAME} under its name.*new version.*upstream-rebuilds"):
        bench.read()
    assert bench.remote.count("fetch") == 0


def test_metadata_of_a_replaced_file_is_never_that_of_the_new_one(bench: Bench):
    before = remote_file(OLD, url=BEFORE.url, offers_metadata=True)
    bench.remote.offer(before)
    bench.remote.documents[BEFORE.url + ".metadata"] = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    bench.page()
    offer(bench, remote_file(NEW, url=BEFORE.url, offers_metadata=True))

    with pytest.raises(BadGateway, match="under its name"):
        bench.read(sidecar=Sidecar.METADATA)
    assert bench.remote.count("document") == 0


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_a_file_that_was_away_returns_as_it_was(bench: Bench, restarts: bool):
    bench.read()
    offer(bench, OTHER)
    assert bench.names() == [OTHER.file.filename]
    later = again(bench) if restarts else bench
    offer(later, AFTER)

    assert listed(later) == entry(OLD, THEN)
    assert later.read() == OLD


def test_a_project_that_was_away_returns_as_it_was(bench: Bench):
    bench.read()
    del bench.remote.pages["demo"]
    for _ in range(2):  # the first denial is doubted
        bench.clock.advance(600)
        bench.page()
    assert bench.page() is None
    offer(bench, AFTER)

    assert listed(bench) == entry(OLD, THEN)


def test_a_replacement_stays_refused_after_a_restart(bench: Bench):
    bench.page()
    offer(bench, AFTER)
    bench.page()
    later = again(bench)

    assert listed(later) == entry(OLD, THEN)
    with pytest.raises(BadGateway, match="under its name"):
        later.read()
    offer(later, AFTER)
    assert listed(later) == entry(OLD, THEN)


def test_a_replacement_is_a_problem_and_one_line_in_the_log(bench: Bench, errors: list[LogEvent]):
    bench.page()
    for _ in range(3):
        offer(bench, AFTER)
        bench.page()

    (problem,) = bench.ask(bench.source.problems).problems
    assert problem.path == f"demo/{NAME}"
    assert "under a new version" in problem.advice
    assert "upstream-rebuilds" in problem.advice
    assert [event["filename"] for event in errors] == [NAME]
    assert bench.source.counters.files_refused == 1


def test_a_file_that_is_restored_is_no_problem_any_more(bench: Bench):
    bench.page()
    for file in (AFTER, BEFORE):
        offer(bench, file)
        bench.page()

    assert bench.ask(bench.source.problems).problems == ()
    assert bench.read() == OLD


def test_the_same_content_at_another_url_is_taken_from_there(bench: Bench):
    bench.page()
    moved = remote_file(OLD, url="https://files.example/3", upload_time=LATER)
    bench.remote.bodies = {moved.url: OLD}
    offer(bench, moved)

    assert listed(bench) == entry(OLD, LATER)
    assert bench.read() == OLD
    assert bench.ask(bench.source.problems).problems == ()


def test_an_upstream_that_rebuilds_may_replace_immutable_files(bench: Bench):
    bench.read()
    offer(bench, AFTER)
    bench.page()
    later = again(bench, rebuilds=[bench.remote.url])
    offer(later, AFTER)

    assert listed(later) == entry(NEW, LATER)
    assert later.read() == NEW
    assert later.ask(later.source.problems).problems == ()


def test_a_file_without_a_promise_keeps_its_digest_where_other_bytes_come(bench: Bench):
    bench.remote.offer(remote_file(OLD, url=BEFORE.url, promise=False))
    bench.read()
    drop_from_cache(bench, OLD)
    offer(bench, remote_file(NEW[: len(OLD)], url=AFTER.url, promise=False))
    bench.remote.bodies[AFTER.url] = NEW[: len(OLD)]

    assert listed(bench)[0] == entry(OLD, None)[0]
    with pytest.raises(BadGateway):
        bench.read()


def test_a_file_without_a_promise_is_replaced_if_its_size_is_another(bench: Bench):
    bench.remote.offer(remote_file(OLD, url=BEFORE.url, promise=False))
    bench.read()
    offer(bench, remote_file(NEW, url=AFTER.url, promise=False))

    assert listed(bench) == entry(OLD, None)
    assert bench.read() == OLD
    drop_from_cache(bench, OLD)
    with pytest.raises(BadGateway, match="under its name"):
        bench.read()


def test_a_digest_that_is_promised_later_is_compared_with_the_pinned_one(bench: Bench):
    bench.remote.offer(remote_file(OLD, url=BEFORE.url, promise=False))
    bench.read()
    offer(bench, AFTER)
    assert listed(bench) == entry(OLD, None)
    offer(bench, BEFORE)
    assert listed(bench) == entry(OLD, THEN)


def test_other_upstreams_may_list_other_content_under_a_name(bench: Bench):
    bench.remote.is_immutable = False
    bench.read()
    offer(bench, AFTER)

    assert listed(bench) == entry(NEW, LATER)
    assert bench.read() == NEW
