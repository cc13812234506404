"""However an upstream misbehaves and clients come and go: no wrong byte is kept, no wrong file complete."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute, succeed
from twisted.python.failure import Failure

from tests.kit.descriptors import open_files
from tests.kit.properties import examples
from tests.kit.scripted_remote import Bench, ScriptedRemote, Sending, read_body, remote_file
from twisted_index.backends.upstream import download
from twisted_index.backends.upstream.download_buffer import DownloadBuffer
from twisted_index.errors import BadGateway, NotImplementedHere, Unavailable
from twisted_index.interfaces import FileBody, StreamingContent
from twisted_index.testing import BuiltFile, SynchronousRunner, make_sdist, make_wheel

NAME = "demo-1.0-py3-none-any.whl"
URL = f"https://files.example/{NAME}"
BIG = bytes(range(256)) * 20_000


class Later:
    """A worker whose calls are done when a test says so, in order."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.waiting.append((answer, function, args))
        return answer

    def step(self) -> bool:
        if not self.waiting:
            return False
        answer, function, args = self.waiting.popleft()
        execute(function, *args).addBoth(answer.callback)
        return True

    def finish(self) -> None:
        while self.step():
            pass

    def stop(self) -> Deferred[None]:
        return succeed(None)


def arriving(bench: Bench) -> tuple[FileBody, StreamingContent]:
    body = bench.open()
    assert body is not None
    assert isinstance(body.content, StreamingContent)
    return body, body.content


def offering(path: Path, content: bytes = BIG, **more: Any) -> Bench:
    bench = Bench(path, **more)
    bench.remote.offer(remote_file(content))
    bench.remote.bodies[URL] = content
    bench.remote.by_hand = True
    return bench


# -- How fast it comes


def test_the_upstream_is_paused_while_the_disk_lags(tmp_path: Path):
    worker = Later()
    bench = offering(tmp_path, worker=worker)
    outcome = bench.begin(bench.source.open_file, "demo", NAME)
    worker.finish()
    content = outcome[0].content
    content.wait_for(0)
    worker.finish()
    (sending,) = bench.remote.sendings
    for at in range(0, len(BIG), 100_000):
        sending.send(BIG[at : at + 100_000])
    came = next(iter(bench.source._files._downloads.values())).received

    assert sending.paused
    assert came < 1_200_000
    worker.step()
    sending.end()
    worker.finish()
    assert not sending.paused
    assert read_body(outcome[0]) == BIG


def test_passing_on_goes_as_fast_as_the_slowest_who_still_reads(tmp_path: Path):
    bench = offering(tmp_path, keeps=False)
    fast, slow = arriving(bench), arriving(bench)
    fast[1].wait_for(0)
    slow[1].wait_for(0)
    (sending,) = bench.remote.sendings
    for at in range(0, len(BIG), 100_000):
        sending.send(BIG[at : at + 100_000])
    sending.end()
    got = _read_what_is_there(fast[1], b"")
    assert sending.paused
    assert len(got) < 1_200_000

    slow[1].close()
    while len(got) < len(BIG):
        got = _read_what_is_there(fast[1], got)
    assert got == BIG
    fast[1].close()


def _read_what_is_there(content: StreamingContent, got: bytes) -> bytes:
    content.wait_for(len(got)).addErrback(lambda _failure: None)
    while data := content.read(len(got), 50_000):
        got += data
    return got


def test_who_comes_too_late_for_what_is_passed_on_gets_a_fetch_of_its_own(tmp_path: Path):
    bench = offering(tmp_path, keeps=False)
    _body, first = arriving(bench)
    first.wait_for(0)
    bench.remote.sendings[0].send(BIG[:1000], BIG[1000:2000])
    got = _read_what_is_there(first, b"")
    first.wait_for(len(got))
    second, _content = arriving(bench)
    bench.remote.by_hand = False

    assert len(got) == 2000
    assert read_body(second) == BIG
    assert bench.remote.count("fetch") == 2
    first.close()
    assert bench.remote.sendings[0].aborted


def test_what_is_passed_on_is_never_whole(tmp_path: Path):
    bench = offering(tmp_path, keeps=False)
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_complete().addBoth(outcome.append)
    content.close()

    assert outcome[0].check(NotImplementedHere)


def test_what_is_passed_on_is_broken_off_when_nobody_reads(tmp_path: Path):
    bench = offering(tmp_path, keeps=False)
    _body, content = arriving(bench)
    content.wait_for(0).addErrback(lambda _failure: None)
    content.close()

    assert bench.remote.sendings[0].aborted


# -- What breaks off


def test_a_body_that_breaks_off_goes_on_from_there(tmp_path: Path):
    bench = offering(tmp_path)
    body, content = arriving(bench)
    content.wait_for(0)
    bench.remote.sendings[0].send(BIG[:100_000])
    bench.remote.sendings[0].end(Unavailable("It was reset."))
    bench.remote.by_hand = False
    bench.clock.advance(0.5)

    assert bench.remote.sendings[1].status == 206
    assert read_body(body) == BIG


def test_an_upstream_without_ranges_sends_it_once_more(tmp_path: Path):
    bench = offering(tmp_path)
    bench.remote.knows_ranges = False
    body, content = arriving(bench)
    content.wait_for(0)
    bench.remote.sendings[0].send(BIG[:100_000])
    bench.remote.sendings[0].end()
    bench.remote.by_hand = False
    bench.clock.advance(0.5)

    assert bench.remote.sendings[1].status == 200
    assert read_body(body) == BIG


@pytest.mark.parametrize(
    "answer",
    [BadGateway("It answers with 416."), Unavailable("It answers with 500."), None],
    ids=["416", "500", "404"],
)
def test_an_upstream_that_refuses_to_go_on_is_asked_for_all_of_it(tmp_path: Path, answer: Any):
    bench = offering(tmp_path)
    bench.remote.to_ranges = answer
    body, content = arriving(bench)
    content.wait_for(0)
    bench.remote.sendings[0].send(BIG[:100_000])
    bench.remote.sendings[0].end(Unavailable("It was reset."))
    bench.remote.by_hand = False
    bench.clock.advance(0.5)

    assert read_body(body) == BIG


def test_a_rest_of_another_file_is_not_put_behind_what_has_come(tmp_path: Path):
    """The file was changed meanwhile, or another node has another: then all of it is requested."""
    bench = offering(tmp_path)
    body, content = arriving(bench)
    content.wait_for(0)
    bench.remote.sendings[0].send(BIG[:100_000])
    bench.remote.sendings[0].end(Unavailable("It was reset."))
    other = Sending(206, 7, len(BIG) + 1)
    bench.remote.to_ranges = other
    bench.remote.by_hand = False
    bench.clock.advance(0.5)

    assert read_body(body) == BIG
    assert other.aborted


def test_a_body_that_breaks_off_again_and_again_is_told(tmp_path: Path):
    bench = offering(tmp_path)
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_complete().addBoth(outcome.append)
    for delay in (0.5, 1.0, 0.0):
        bench.remote.sendings[-1].send(b"")
        bench.remote.sendings[-1].end(BadGateway("It was reset."))
        bench.clock.advance(delay)

    assert len(bench.remote.sendings) == 3
    assert outcome[0].check(Unavailable)
    content.close()
    assert list((tmp_path / "incoming").glob("*")) == []


def test_an_upstream_that_is_gone_when_it_is_asked_again_is_told(tmp_path: Path):
    bench = offering(tmp_path)
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_complete().addBoth(outcome.append)
    bench.remote.sendings[-1].end(Unavailable("It was reset."))
    bench.remote.bodies[URL] = Unavailable("It is down.")  # type: ignore[assignment]
    bench.clock.advance(0.5)
    bench.clock.advance(1.0)

    assert outcome[0].check(Unavailable)
    content.close()


def test_stopping_ends_the_wait_before_another_attempt(tmp_path: Path):
    bench = offering(tmp_path)
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_complete().addBoth(outcome.append)
    bench.remote.sendings[-1].end(Unavailable("It was reset."))
    bench.stop()
    content.close()

    assert outcome[0].check(Unavailable)
    assert bench.clock.getDelayedCalls() == []


def test_a_body_longer_than_promised_is_refused_at_once(tmp_path: Path):
    bench = offering(tmp_path)
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_complete().addBoth(outcome.append)
    bench.remote.sendings[0].send(BIG, b"!")

    assert outcome[0].check(BadGateway)
    assert bench.remote.sendings[0].aborted
    content.close()


WHEEL = make_wheel("demo", "1.0", files={"demo/data": bytes(range(256)) * 1000}, compress=False)
ARCHIVES = [
    WHEEL,
    *(make_sdist("demo", "1.0", extension=end) for end in (".tar.gz", ".zip", ".tar.bz2", ".tar.xz")),
]


def unproven(path: Path, made: BuiltFile, content: bytes) -> Bench:
    """Offer a file without digest and size, whose end only the end of the connection tells."""
    bench = Bench(path)
    one = remote_file(made.content, made.filename, promise=False, sized=False)
    bench.remote.offer(one)
    bench.remote.bodies[one.url] = content
    bench.remote.says_length = bench.remote.tells_end = False
    return bench


@pytest.mark.parametrize("made", ARCHIVES, ids=lambda made: made.filename)
def test_half_a_file_that_nothing_proves_is_neither_given_nor_remembered(tmp_path: Path, made: BuiltFile):
    bench = unproven(tmp_path, made, made.content)
    for cut in (1, made.size // 2, made.size - 1):
        bench.remote.bodies[f"https://files.example/{made.filename}"] = made.content[:cut]
        with pytest.raises(Unavailable, match="closed the connection"):
            bench.read(made.filename)
        assert (bench.page().files[0].size, bench.page().files[0].hashes) == (None, {})

    bench.remote.bodies[f"https://files.example/{made.filename}"] = made.content
    assert bench.read(made.filename) == made.content
    assert bench.page().files[0].hashes == {"sha256": made.sha256}


def test_a_file_that_is_no_archive_comes_if_its_end_is_told(tmp_path: Path):
    """As from any index: clients judge it. Only where its end could be anywhere it is doubted."""
    bench = unproven(tmp_path, WHEEL, b"x" * 1000)
    bench.remote.tells_end = True

    assert bench.read(WHEEL.filename) == b"x" * 1000


def test_a_digest_proves_what_only_the_connection_ended(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.remote.offer(remote_file(b"x" * 1000, sized=False))
    bench.remote.bodies[URL] = b"x" * 1000
    bench.remote.says_length = bench.remote.tells_end = False

    assert bench.read() == b"x" * 1000


def test_a_response_without_an_end_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "MAX_UNSIZED", 999)
    bench = unproven(tmp_path, WHEEL, b"x" * 1000)

    with pytest.raises(BadGateway, match="differs from what it promised"):
        bench.read(WHEEL.filename)


@pytest.mark.parametrize(
    "page", [b"<html>Sign in</html>", b"\n <!DOCTYPE html><title>x", b"<?xml version='1.0'?>"]
)
@pytest.mark.parametrize("keeps", [True, False], ids=["cache", "proxy"])
def test_a_page_is_never_the_first_of_a_file_that_nothing_proves(tmp_path: Path, page: bytes, keeps: bool):
    """It would be pinned, and the file itself refused from then on."""
    bench = Bench(tmp_path, keeps=keeps)
    bench.remote.offer(remote_file(WHEEL.content, promise=False, sized=False))
    bench.remote.bodies[URL] = page
    with pytest.raises(BadGateway, match="a page instead"):
        bench.read()

    bench.remote.bodies[URL] = WHEEL.content
    assert bench.read() == WHEEL.content


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_bytes_that_are_promised_are_taken_whatever_coding_they_are_said_to_have(tmp_path: Path, coding: str):
    """A redirect to a storage has lost the name by which a server calls an archive gzip."""
    for promise, name in ((True, NAME), (True, "demo-1.0.tar.gz"), (False, "demo-1.0.tar.gz"), (False, NAME)):
        bench = Bench(tmp_path / f"{promise} {name}")
        bench.remote.by_hand = True
        one = remote_file(BIG, name, promise=promise)
        bench.remote.offer(one)
        bench.remote.bodies[one.url] = BIG
        body = bench.open(name)
        assert body is not None
        outcome: list[Any] = []
        bench.remote.coding = coding
        body.content.wait_complete().addBoth(outcome.append)  # type: ignore[union-attr]
        if promise or (coding, name) == ("gzip", "demo-1.0.tar.gz"):
            assert outcome == []
        else:
            assert outcome[0].check(BadGateway)


def test_an_answer_of_another_length_is_refused_before_its_first_byte(tmp_path: Path):
    bench = offering(tmp_path)
    bench.remote.bodies[URL] = BIG[:-1]
    _body, content = arriving(bench)
    outcome: list[Any] = []
    content.wait_for(0).addBoth(outcome.append)
    content.close()

    assert outcome[0].check(BadGateway)


def test_a_wrong_file_fails_for_all_who_wait(tmp_path: Path):
    bench = offering(tmp_path)
    readers = [arriving(bench)[1] for _ in range(20)]
    outcomes: list[Any] = []
    for reader in readers:
        reader.wait_for(len(BIG) - 65536).addBoth(outcomes.append)
    bench.remote.sendings[0].send(BIG[::-1])
    bench.remote.sendings[0].end()

    assert [outcome.check(BadGateway) for outcome in outcomes] == [BadGateway] * 20
    for reader in readers:
        assert reader.read(0, 10) == b""
        reader.close()


# -- Whatever happens


class Client:
    """Reads at its own pace, and leaves when it has had so many bytes; None to stay."""

    def __init__(self, body: FileBody, leaves_at: int | None, piece: int) -> None:
        self.body = body
        self.got = b""
        self.left = False
        self.failed = False
        self._leaves_at = leaves_at
        self._piece = piece
        self._readable = 0
        self._waiting = False

    def step(self) -> bool:
        content = self.body.content
        if self.left or self._waiting:
            return False
        if not isinstance(content, StreamingContent):
            assert not isinstance(content, bytes)
            self.got = content.read()
            self._leave()
        elif len(self.got) == self.body.size or (
            self._leaves_at is not None and len(self.got) >= self._leaves_at
        ):
            self._leave()
        elif len(self.got) < self._readable:
            data = content.read(len(self.got), self._piece)
            self.got += data
            if not data:  # it has failed since
                self._leave()
        else:
            self._waiting = True
            content.wait_for(len(self.got)).addCallbacks(self._go_on, self._fail)
        return True

    def _go_on(self, readable: int) -> None:
        self._waiting = False
        assert readable > len(self.got)
        self._readable = readable

    def _fail(self, failure: Failure) -> None:
        self._waiting = False
        self.failed = True
        assert failure.check(Unavailable), failure
        self._leave()

    def _leave(self) -> None:
        self.left = True
        self.body.content.close()  # type: ignore[union-attr]


SIZE = 150_000
RIGHT = hashlib.sha512(b"seed").digest() * (SIZE // 64)

#: What an upstream does at each attempt: how much of the file comes, what becomes of it, and how it ends.
ATTEMPT = st.tuples(
    st.integers(0, len(RIGHT)),
    st.sampled_from(["as it is", "a byte changed", "one more"]),
    st.sampled_from(["end", "reset"]),
    st.integers(9_000, 70_000),
)
CLIENT = st.tuples(
    st.integers(0, 30), st.one_of(st.none(), st.integers(0, len(RIGHT))), st.integers(9_000, 90_000)
)


@examples(150, suppress_health_check=list(HealthCheck))
@given(
    attempts=st.lists(ATTEMPT, min_size=3, max_size=3),
    clients=st.lists(CLIENT, min_size=1, max_size=5),
    promise=st.booleans(),
    keeps=st.booleans(),
    says_length=st.booleans(),
    lie=st.sampled_from([0, 0, 0, -1, 1, 5000]),
    ranges=st.booleans(),
)
def test_no_wrong_byte_is_kept_and_no_wrong_file_is_complete(
    attempts: list[Any],
    clients: list[Any],
    promise: bool,
    keeps: bool,
    says_length: bool,
    lie: int,
    ranges: bool,
):
    before = open_files()
    with tempfile.TemporaryDirectory() as folder:
        worker = Later()
        bench = offering(Path(folder), RIGHT, keeps=keeps, worker=worker)
        bench.remote.offer(remote_file(RIGHT, promise=promise, hashes={"sha256": _sha256(RIGHT)}))
        bench.remote.says_length, bench.remote.knows_ranges = says_length, ranges
        script = deque(attempts)
        coming: list[deque[Callable[[], None]]] = []
        here: list[Client] = []
        asking = bench.begin(bench.source.project_page, "demo")
        worker.finish()
        assert asking
        seen = 0
        for turn in range(400):
            for joins_at, leaves_at, piece in clients:
                if joins_at == turn:
                    _join(bench, here, leaves_at, piece)
            while seen < len(bench.remote.sendings):
                sending = bench.remote.sendings[seen]
                if sending.length is not None:
                    sending.length += lie
                    sending.total = None if sending.total is None else sending.total + lie
                coming.append(_play(sending, script.popleft() if script else attempts[-1]))
                seen += 1
            moved = worker.step()
            for queue in coming:
                if queue and turn % 2:
                    queue.popleft()()
                    moved = True
            for client in here:
                moved = client.step() or moved
            if not moved and turn > 30:
                if not bench.clock.getDelayedCalls():
                    break
                bench.clock.advance(1.0)
        bench.begin(bench.source.stop)
        worker.finish()
        for client in here:
            while client.step():
                pass

        for client in here:
            assert client.left
            assert client.got == RIGHT[: len(client.got)] or len(client.got) < client.body.size
        for path in Path(folder, "files").rglob("*"):
            if path.is_file():
                assert path.read_bytes() == RIGHT
        assert list(Path(folder).glob("incoming/*")) == []
    assert open_files() <= before


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _join(bench: Bench, here: list[Client], leaves_at: int | None, piece: int) -> None:
    def begin(body: FileBody) -> None:
        here.append(Client(body, leaves_at, piece))

    outcome = bench.source.open_file("demo", NAME)
    if isinstance(outcome, FileBody):
        begin(outcome)
    else:
        outcome.addCallback(begin).addErrback(lambda failure: failure.trap(Unavailable))  # type: ignore[union-attr]


def _play(sending: Sending, attempt: Any) -> deque[Callable[[], None]]:
    """Make of an attempt what happens one after the other."""
    upto, change, ending, piece = attempt
    start = len(RIGHT) - (sending.length or 0) if sending.status == 206 else 0
    content = RIGHT[max(0, start) : max(0, start) + upto]
    if change == "a byte changed" and content:
        content = bytes([content[0] ^ 1]) + content[1:]
    elif change == "one more":
        content += b"!"
    happens: deque[Callable[[], None]] = deque()
    for at in range(0, len(content), piece):
        happens.append(lambda data=content[at : at + piece]: sending.send(data))  # type: ignore[misc]
    error = Unavailable("It was reset.") if ending == "reset" else None
    happens.append(lambda: sending.end(error))
    return happens


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537])
def test_files_of_all_sizes_come_whole(tmp_path: Path, size: int):
    bench = offering(tmp_path, BIG[:size])
    bench.remote.by_hand = False
    body = bench.open()
    assert body is not None
    assert read_body(body) == BIG[:size]
    assert isinstance(bench.remote, ScriptedRemote)


def test_what_every_reader_has_read_is_free_within_a_piece_too():
    """Else a large last piece, whose end is withheld until the file is complete, would pause the upstream."""
    buffer = DownloadBuffer(
        SynchronousRunner(),
        (),
        write=lambda *_: 0,
        on_change=lambda: None,
        on_failure=lambda failure: failure.raiseException(),
    )
    buffer.set_file(None)
    buffer.feed(bytes(1 << 20))
    assert buffer.backlog == 1 << 20
    buffer.trim((1 << 20) - 1000)
    assert buffer.backlog == 1000
    assert len(buffer.read((1 << 20) - 1000, 5000)) == 1000
