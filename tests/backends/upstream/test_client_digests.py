"""Files that are fetched before they are listed: over sockets, in threads, until the service stops."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, page
from tests.kit.scripted_remote import eventually
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.backends.upstream.disk_cache import DiskCache
from twisted_index.backends.upstream.page_freshness import CacheTimes
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import BadGateway, NotReady
from twisted_index.http_client.limits import ClientLimits
from twisted_index.testing.reactor_thread import BackgroundReactor

LIMITS = ClientLimits(connect=2.0, head=5.0, file_head=5.0, idle=5.0, back_off=0.01)
CONTENTS = {f"demo-{number}.0.tar.gz": b"sdist %d" % number * 50_000 for number in range(1, 7)}
NAMES = list(CONTENTS)


class VerifiedUpstream(HTTPUpstream):
    """An index whose files are immutable and need digests."""

    is_immutable = True
    lists_digests = True


class Mirrored:
    """A source over one upstream on a socket."""

    def __init__(self, background: BackgroundReactor, upstream: HostileUpstream, path: Path) -> None:
        self._background = background
        self._worker = ThreadPool(background.reactor, threads=2)
        remote = VerifiedUpstream(
            f"{upstream.origin}/simple/",
            background.reactor,
            worker=self._worker,
            environ={},
            instance="ours",
            limits=LIMITS,
        )
        cache = DiskCache(str(path), 1 << 30)
        self._source = UpstreamSource(
            [remote],
            cache,
            reactor=background.reactor,
            worker=self._worker,
            times=CacheTimes(ttl=0.0, response_timeout=0.2, revalidate_timeout=0.2),
        )
        self._background.call(self._source.start, 10)

    def ask(self, question: Any, *args: Any) -> Any:
        """Give the answer, or raise what it failed with."""
        outcome: list[Any] = []

        def begin() -> Deferred[None]:
            return eventually(question(*args)).addBoth(outcome.append)

        self._background.call(begin, 30)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def digests(self) -> dict[str, str]:
        found = self.ask(self._source.project_page, "demo").value
        return {file.filename: file.hashes["sha256"] for file in found.files}

    def digests_at_last(self) -> dict[str, str]:
        """Ask as an installer does: again and again while the page is not ready."""
        while True:
            try:
                return self.digests()
            except NotReady:
                continue

    def progress(self) -> str:
        """Ask while the page is not ready, and give what the error says."""
        with pytest.raises(NotReady) as raised:
            self.digests()
        return raised.value.message

    def stop(self) -> None:
        self._background.call(lambda: Deferred.fromCoroutine(self._source.stop()), 10)
        self._background.call(self._worker.stop, 10)


@pytest.fixture
def upstream() -> Iterator[HostileUpstream]:
    upstream = HostileUpstream()
    offer(upstream, CONTENTS)
    for name, content in CONTENTS.items():
        upstream.on(f"/files/{name}", answer(200, content))
    yield upstream
    upstream.close()


@pytest.fixture
def mirrored(background: BackgroundReactor, upstream: HostileUpstream, tmp_path: Path) -> Iterator[Mirrored]:
    mirrored = Mirrored(background, upstream, tmp_path)
    yield mirrored
    mirrored.stop()


def offer(upstream: HostileUpstream, names: Any) -> None:
    files = [{"filename": name, "url": f"/files/{name}", "hashes": {}} for name in names]
    upstream.on("/simple/demo/", page(json.dumps({"name": "demo", "files": files}).encode()))


def fetched(upstream: HostileUpstream) -> list[str]:
    return sorted(target.removeprefix("/files/") for target in upstream.targets() if "/files/" in target)


def wanted(*names: str) -> dict[str, str]:
    return {name: hashlib.sha256(CONTENTS[name]).hexdigest() for name in names or CONTENTS}


def test_clients_get_a_page_with_all_digests_at_last_and_each_file_is_fetched_once(
    mirrored: Mirrored, upstream: HostileUpstream
):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: mirrored.digests_at_last(), range(8)))

    assert answers == [wanted()] * 8
    assert fetched(upstream) == sorted(CONTENTS)


def test_work_goes_on_when_clients_have_given_up(mirrored: Mirrored, upstream: HostileUpstream):
    slow, go_on = NAMES[0], threading.Event()

    def send_late(client: socket.socket, _asked: Asked) -> None:
        go_on.wait(20)
        client.sendall(answer(200, CONTENTS[slow]))

    upstream.on(f"/files/{slow}", send_late)
    while "of 6 files" not in mirrored.progress():
        pass
    go_on.set()

    assert mirrored.digests_at_last() == wanted()
    assert fetched(upstream) == sorted(CONTENTS)


def test_what_breaks_off_is_continued_and_listed(mirrored: Mirrored, upstream: HostileUpstream):
    name = NAMES[0]
    content, size = CONTENTS[name], len(CONTENTS[name])
    half = answer(200, content[:100_000], length=size)
    rest = answer(206, content[100_000:], Content_Range=f"bytes 100000-{size - 1}/{size}")
    upstream.on(f"/files/{name}", half, rest)

    assert mirrored.digests_at_last() == wanted()


def test_a_missing_file_is_an_error_until_it_is_there(mirrored: Mirrored, upstream: HostileUpstream):
    name = NAMES[3]
    upstream.on(f"/files/{name}", answer(404))
    with pytest.raises(BadGateway, match=name):
        mirrored.digests_at_last()
    upstream.on(f"/files/{name}", answer(200, CONTENTS[name]))

    assert mirrored.digests_at_last() == wanted()
    assert {*fetched(upstream)} == {*CONTENTS}
    assert len(fetched(upstream)) - fetched(upstream).count(name) == 5


def test_the_end_of_the_service_ends_downloads_and_the_next_one_goes_on(
    background: BackgroundReactor, upstream: HostileUpstream, tmp_path: Path
):
    stuck = NAMES[5]
    upstream.on(f"/files/{stuck}", lambda _client, _asked: upstream.wait())
    first = Mirrored(background, upstream, tmp_path)
    while "5 of 6 files" not in first.progress():
        pass
    first.stop()
    upstream.on(f"/files/{stuck}", answer(200, CONTENTS[stuck]))
    upstream.asked.clear()
    second = Mirrored(background, upstream, tmp_path)

    assert second.digests_at_last() == wanted()
    second.stop()
    assert fetched(upstream) == [stuck]
