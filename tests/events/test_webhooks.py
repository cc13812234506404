"""News of uploads to URLs: complete, in order, patient, and never in anybody's way."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IResolverSimple
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_index.errors import ConfigurationError
from twisted_index.events.webhooks import (
    BACK_OFF,
    DRAIN,
    GROWTH,
    QUEUE,
    TIMEOUT,
    TRIES,
    FileUploaded,
    Webhook,
    Webhooks,
    webhook_url,
)
from twisted_index.http_client.urls import origin_of
from twisted_index.testing.reactor_thread import BackgroundReactor

NEW = FileUploaded(
    project="demo",
    filename="demo-1.0.tar.gz",
    version="1.0",
    sha256="0f" * 32,
    size=1234,
    by="alice",
    time=datetime(2026, 3, 1, 12, 0, 0, 500000, UTC),
)
URL = "http://user:hunter2@127.0.0.1:9/secret?key=tell"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    def note(event: dict[str, Any]) -> None:
        lines.append(formatEvent(event) + str(event.get("log_failure", "")))

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)


class Receiver:
    """What stands in for the URL: gives these answers in turn, or keeps them back."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[dict[str, Any]] = []
        self.waiting: list[Deferred[int]] = []
        self.cancelled = 0

    def __call__(self, document: bytes) -> Deferred[int]:
        self.got.append(json.loads(document))
        if not self.answers:
            waiting: Deferred[int] = Deferred(self._cancel)
            self.waiting.append(waiting)
            return waiting
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            failed: Deferred[int] = Deferred()
            failed.errback(Failure(answer))
            return failed
        return succeed(answer)

    def _cancel(self, _answer: Deferred[int]) -> None:
        self.cancelled += 1

    @property
    def names(self) -> list[str]:
        return [document["filename"] for document in self.got]


def hook_to(receiver: Receiver, clock: Clock) -> Webhook:
    return Webhook(URL, reactor=clock, post=receiver, jitter=lambda: 1.0)


def numbered(number: int) -> FileUploaded:
    return replace(NEW, filename=str(number))


def stopped(hook: Webhook) -> list[object]:
    outcome: list[object] = []
    Deferred.fromCoroutine(hook.stop()).addBoth(outcome.append)
    return outcome


def test_the_document_says_what_was_uploaded():
    receiver = Receiver(204)
    hook_to(receiver, Clock()).notify(NEW)
    assert receiver.got == [
        {
            "project": "demo",
            "filename": "demo-1.0.tar.gz",
            "version": "1.0",
            "sha256": "0f" * 32,
            "size": 1234,
            "by": "alice",
            "time": "2026-03-01T12:00:00.500000Z",
        }
    ]


def test_one_is_told_at_a_time_and_in_order():
    receiver = Receiver()
    hook = hook_to(receiver, Clock())
    for number in range(3):
        hook.notify(numbered(number))
    assert receiver.names == ["0"]
    receiver.waiting[0].callback(200)
    assert receiver.names == ["0", "1"]
    receiver.waiting[1].callback(200)
    receiver.waiting[2].callback(200)
    hook.notify(numbered(3))
    assert receiver.names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("answer", [503, 500, 408, 429, ConnectionRefusedError()])
def test_what_may_pass_is_tried_again_after_longer_and_longer_waits(
    answer: int | Exception, logged: list[str]
):
    clock, receiver = Clock(), Receiver(answer, answer, 200)
    hook_to(receiver, clock).notify(NEW)
    for wait in (BACK_OFF, BACK_OFF * GROWTH):
        before = len(receiver.got)
        clock.advance(wait * 0.99)
        assert len(receiver.got) == before
        clock.advance(wait * 0.02)
        assert len(receiver.got) == before + 1
    assert logged == []
    assert clock.getDelayedCalls() == []


def test_after_some_tries_a_line_is_logged_and_the_next_file_is_told(logged: list[str]):
    clock, receiver = Clock(), Receiver(*[503] * TRIES, 200)
    hook = hook_to(receiver, clock)
    hook.notify(numbered(0))
    hook.notify(numbered(1))
    clock.pump([BACK_OFF, BACK_OFF * GROWTH])
    assert receiver.names == ["0"] * TRIES + ["1"]
    assert logged == ["Webhook http://127.0.0.1:9 failed for a new file: it responded with 503."]


@pytest.mark.parametrize("answer", [301, 307, 400, 404, 410])
def test_what_will_not_change_is_not_tried_again(answer: int, logged: list[str]):
    clock, receiver = Clock(), Receiver(answer)
    hook_to(receiver, clock).notify(NEW)
    assert len(receiver.got) == 1
    assert clock.getDelayedCalls() == []
    (line,) = logged
    assert f"responded with {answer}" in line


def test_an_answer_that_does_not_come_is_given_up(logged: list[str]):
    clock, receiver = Clock(), Receiver()
    hook_to(receiver, clock).notify(NEW)
    for wait in (BACK_OFF, BACK_OFF * GROWTH, 0):
        clock.advance(TIMEOUT)
        clock.advance(wait)
    assert len(receiver.got) == receiver.cancelled == TRIES
    assert logged == ["Webhook http://127.0.0.1:9 failed for a new file: it did not respond within 10 s."]


def test_waits_are_scattered():
    clock, receiver = Clock(), Receiver(503)
    Webhook(URL, reactor=clock, post=receiver).notify(NEW)
    (call,) = clock.getDelayedCalls()
    assert 0.5 * BACK_OFF <= call.getTime() <= 1.5 * BACK_OFF


def test_beyond_what_may_wait_the_oldest_are_dropped_with_one_line(logged: list[str]):
    receiver = Receiver()
    hook = hook_to(receiver, Clock())
    for number in range(QUEUE + 5):
        hook.notify(numbered(number))
    assert len(logged) == 1
    while receiver.waiting:
        receiver.waiting.pop().callback(200)
    assert receiver.names == ["0", *(str(number) for number in range(5, QUEUE + 5))]


def test_a_stop_waits_for_what_is_still_to_be_told_and_takes_no_more():
    clock, receiver = Clock(), Receiver()
    hook = hook_to(receiver, clock)
    hook.notify(numbered(0))
    hook.notify(numbered(1))
    outcome = stopped(hook)
    hook.notify(numbered(2))
    assert outcome == []
    receiver.waiting[0].callback(200)
    receiver.waiting[1].callback(200)
    assert outcome == [None]
    assert receiver.names == ["0", "1"]
    assert clock.getDelayedCalls() == []


def test_a_stop_does_not_wait_for_long(logged: list[str]):
    clock, receiver = Clock(), Receiver()
    hook = hook_to(receiver, clock)
    hook.notify(numbered(0))
    hook.notify(numbered(1))
    outcome = stopped(hook)
    clock.advance(DRAIN)
    assert outcome == [None]
    assert receiver.cancelled == 1
    assert logged == [
        "Webhook http://127.0.0.1:9 did not receive the notifications of 2 new files before the stop."
    ]
    assert clock.getDelayedCalls() == []


def test_a_stop_tries_nothing_again(logged: list[str]):
    clock, receiver = Clock(), Receiver()
    hook = hook_to(receiver, clock)
    hook.notify(NEW)
    outcome = stopped(hook)
    receiver.waiting[0].callback(503)
    assert outcome == [None]
    assert len(logged) == 1


def test_a_stop_cuts_a_wait_short():
    clock, receiver = Clock(), Receiver(503, 503)
    hook = hook_to(receiver, clock)
    hook.notify(NEW)
    clock.advance(BACK_OFF)
    outcome = stopped(hook)
    clock.advance(DRAIN)
    assert outcome == [None]
    assert clock.getDelayedCalls() == []


def test_a_stop_with_nothing_to_tell_is_done_at_once():
    assert stopped(hook_to(Receiver(), Clock())) == [None]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2@hooks.example/T0/secret?x#y", "https://hooks.example"),
        ("http://[::1]:8000/x", "http://[::1]:8000"),
    ],
)
def test_only_scheme_host_and_port_of_a_url_are_shown(url: str, shown: str):
    assert str(origin_of(webhook_url(url))) == shown


@pytest.mark.parametrize("url", ["", "hooks.example", "ftp://a/", "http://", "http://a:b/", "http://[::1/"])
def test_a_url_that_is_no_webhook_url_is_refused_without_being_repeated(url: str):
    with pytest.raises(ConfigurationError) as refusal:
        Webhook(url, reactor=Clock())
    assert str(refusal.value).startswith("A webhook URL begins with")


# -- Over a socket


class Server:
    """A small HTTP server on this machine, which answers with these statuses in turn."""

    def __init__(self, *statuses: int, hold: bool = False, host: str = "127.0.0.1") -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses = list(statuses)
        self.arrived, self.release = Event(), Event()
        if not hold:
            self.release.set()
        server = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append((self.path, fields, body))
                status = server.statuses.pop(0)
                if not server.statuses:
                    server.arrived.set()
                server.release.wait(20)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                # An answer whose end never comes must not keep anything open.
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(b"x" * 1000)

            def log_message(self, *_about: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def handle_error(self, *_about: object) -> None:
                """Say nothing: that the rest of an answer is cut off is what we do."""

        self._http = Listener((host, 0), Answers)
        self.port = self._http.server_address[1]
        Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(*statuses: int, **more: Any) -> Server:
        servers.append(Server(*statuses, **more))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture
def background() -> Iterator[BackgroundReactor]:
    running = BackgroundReactor()
    yield running
    running.stop(10)


def told(background: BackgroundReactor, hook: Webhook | Webhooks, *, times: int = 1) -> None:
    """Tell of a file, and wait until that is over."""

    async def tell() -> None:
        for _ in range(times):
            hook.notify(NEW)
        await hook.stop()

    background.call(lambda: Deferred.fromCoroutine(tell()), 20)


def test_a_url_gets_json_with_the_credentials_that_it_holds(
    background: BackgroundReactor, serve: Callable[..., Server], logged: list[str]
):
    server = serve(200, 200)
    url = f"http://al%40ice:p%C3%A4ss@127.0.0.1:{server.port}/hook/%20x?to=me#part"
    told(background, Webhook(url, reactor=background.reactor), times=2)
    assert len(server.requests) == 2
    path, fields, body = server.requests[0]
    assert path == "/hook/%20x?to=me"
    assert json.loads(body)["filename"] == NEW.filename
    assert fields["content-type"] == "application/json"
    assert fields["authorization"] == "Basic YWxAaWNlOnDDpHNz"
    assert fields["host"] == f"127.0.0.1:{server.port}"
    assert not [line for line in logged if "failed for" in line]


def test_an_address_of_ipv6_can_be_told(background: BackgroundReactor, serve: Callable[..., Server]):
    server = serve(200, host="::1")
    url = f"http://[::1]:{server.port}/hook?a=%2f"
    told(background, Webhook(url, reactor=background.reactor))
    ((path, fields, _body),) = server.requests
    assert path == "/hook?a=%2f"
    assert fields["host"] == f"[::1]:{server.port}"


def test_a_host_with_an_underscore_can_be_told(background: BackgroundReactor, serve: Callable[..., Server]):
    """As docker-compose names its services."""
    server = serve(200)

    @implementer(IResolverSimple)
    class Names:
        def getHostByName(self, name: str, *_more: object) -> Deferred[str]:
            return succeed("127.0.0.1") if name == "my_host" else fail(DNSLookupError(name))

    background.call(lambda: background.reactor.installResolver(Names()), 10)
    told(background, Webhook(f"http://my_host:{server.port}/a%2Fb", reactor=background.reactor))
    ((path, fields, _body),) = server.requests
    assert path == "/a%2Fb"
    assert fields["host"] == f"my_host:{server.port}"


def test_a_redirect_is_not_followed(
    background: BackgroundReactor, serve: Callable[..., Server], logged: list[str]
):
    server = serve(307)
    told(background, Webhook(f"http://127.0.0.1:{server.port}/", reactor=background.reactor))
    assert [path for path, _fields, _body in server.requests] == ["/"]
    assert any("redirects are not followed" in line for line in logged)


def test_a_server_that_is_not_there_costs_one_line_without_a_secret(
    background: BackgroundReactor, logged: list[str]
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://user:hunter2@127.0.0.1:{port}/secret?key=tell"
    told(background, Webhook(url, reactor=background.reactor))
    (line,) = [line for line in logged if "failed for" in line]
    assert line == f"Webhook http://127.0.0.1:{port} failed for a new file: The server cannot be reached."
    for secret in ("hunter2", "secret", "tell", "user"):
        assert not any(secret in line for line in logged)


def test_a_slow_url_delays_neither_uploads_nor_other_urls(
    background: BackgroundReactor, serve: Callable[..., Server]
):
    slow, quick = serve(200, hold=True), serve(200, 200, 200)
    hooks = Webhooks(
        [f"http://127.0.0.1:{slow.port}/", f"http://127.0.0.1:{quick.port}/"], reactor=background.reactor
    )
    background.call(lambda: [hooks.notify(NEW) for _ in range(3)], 10)
    assert slow.arrived.wait(10)
    assert quick.arrived.wait(10)
    assert len(quick.requests) == 3
    assert len(slow.requests) == 1
    slow.statuses += [200, 200]
    slow.release.set()
    background.call(lambda: Deferred.fromCoroutine(hooks.stop()), 20)
    assert len(slow.requests) == 3


def test_other_urls_can_be_told_from_now_on(background: BackgroundReactor, serve: Callable[..., Server]):
    left, kept, new = serve(200), serve(200, 200), serve(200)
    before, both, after = (f"http://127.0.0.1:{server.port}/" for server in (left, kept, new))
    hooks = Webhooks([before, both], reactor=background.reactor)

    def change() -> None:
        hooks.notify(NEW)
        with pytest.raises(ConfigurationError):
            hooks.set_urls(["ftp://example.org/", after])
        hooks.set_urls([both, after])
        hooks.notify(NEW)

    background.call(change, 10)
    background.call(lambda: Deferred.fromCoroutine(hooks.stop()), 20)
    assert [len(server.requests) for server in (left, kept, new)] == [1, 2, 1]


def test_the_document_names_the_index_where_it_has_a_name():
    """The only index of a server has none, and its document is what it always was."""
    assert "index" not in json.loads(NEW.as_json())
    assert json.loads(replace(NEW, index="dev").as_json())["index"] == "dev"
