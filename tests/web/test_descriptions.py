"""When descriptions are rendered: once, beside all else, and again only if the machine was too busy."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.configured_server import ConfiguredServer
from tests.kit.uploads import upload_form
from twisted_index.testing import IndexInMemory, MemorySource, SynchronousRunner, make_wheel
from twisted_index.web.pages.description import rendered_html
from twisted_index.web.views.descriptions import Descriptions

HTML = {"Accept": "text/html"}
MARKDOWN = "text/markdown"


def described(name: str, text: str):
    lines = ["Description-Content-Type: text/markdown", "", text]
    return make_wheel(name, "1.0", extra_metadata=lines)


class Renderer:
    """Stands for the program; counts what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, html: str | None) -> None:
        self.html, self.asked = html, 0
        monkeypatch.setattr("twisted_index.web.views.descriptions.rendered_html", self._render)

    def _render(self, _text: str, _kind: str) -> str | None:
        self.asked += 1
        return self.html


class Waiting:
    """Threads that begin nothing yet."""

    def __init__(self) -> None:
        self.calls: list[Deferred[None]] = []

    def run(self, function, *arguments):
        begun: Deferred[None] = Deferred()
        self.calls.append(begun)
        return begun.addCallback(lambda _begun: function(*arguments))

    def stop(self):
        raise NotImplementedError


def html_of(descriptions: Descriptions, text: str = "*x*"):
    """Return the outcome; fails if it has to be waited for."""
    found: list[str | None] = []
    Deferred.fromCoroutine(descriptions.html(text, MARKDOWN)).addCallback(found.append)
    (html,) = found
    return html


def test_what_the_machine_was_too_busy_for_is_tried_again_twice_and_then_stays_text(
    monkeypatch: pytest.MonkeyPatch,
):
    clock, renderer = Clock(), Renderer(monkeypatch, None)
    descriptions = Descriptions(SynchronousRunner(), clock)
    assert html_of(descriptions) is None
    for pause, tries in ((60, 1), (600, 2)):
        clock.advance(pause - 1)
        assert html_of(descriptions) is None
        assert renderer.asked == tries
        clock.advance(1)
        html_of(descriptions)
        assert renderer.asked == tries + 1
    clock.advance(100_000)
    assert html_of(descriptions) == ""
    assert renderer.asked == 3


def test_what_is_rendered_at_last_is_kept(monkeypatch: pytest.MonkeyPatch):
    clock, renderer = Clock(), Renderer(monkeypatch, None)
    descriptions = Descriptions(SynchronousRunner(), clock)
    html_of(descriptions)
    renderer.html = "<p>x"
    clock.advance(60)
    assert [html_of(descriptions) for _time in range(3)] == ["<p>x"] * 3
    assert renderer.asked == 2


def test_what_is_too_much_for_the_renderer_is_tried_once(monkeypatch: pytest.MonkeyPatch):
    clock, renderer = Clock(), Renderer(monkeypatch, "")
    descriptions = Descriptions(SynchronousRunner(), clock)
    for _time in range(3):
        assert html_of(descriptions) == ""
        clock.advance(100_000)
    assert renderer.asked == 1


def test_a_page_waits_for_its_description_a_moment_and_the_next_one_has_it(monkeypatch: pytest.MonkeyPatch):
    Renderer(monkeypatch, "<p>x")
    clock, threads = Clock(), Waiting()
    descriptions = Descriptions(threads, clock)
    found: list[str | None] = []
    Deferred.fromCoroutine(descriptions.html("*x*", MARKDOWN)).addCallback(found.append)
    clock.advance(2.9)
    assert found == []
    clock.advance(0.2)
    assert found == [None]
    threads.calls[0].callback(None)
    assert html_of(descriptions) == "<p>x"
    assert len(threads.calls) == 1


def test_no_more_than_fifty_wait_to_be_rendered():
    clock, threads = Clock(), Waiting()
    descriptions = Descriptions(threads, clock)
    for number in range(60):
        Deferred.fromCoroutine(descriptions.html(f"*{number}*", MARKDOWN))
    assert len(threads.calls) == 50
    assert html_of(descriptions) is None


def test_what_is_text_anyway_is_no_work():
    threads = Waiting()
    descriptions = Descriptions(threads, Clock())
    for text, kind in (("x", "text/plain"), (" \n", MARKDOWN), ("x" * 1_000_000, MARKDOWN)):
        found: list[str | None] = []
        Deferred.fromCoroutine(descriptions.html(text, kind)).addCallback(found.append)
        assert found == [""]
    assert threads.calls == []


def test_a_page_says_that_its_description_is_not_rendered_yet(monkeypatch: pytest.MonkeyPatch):
    renderer = Renderer(monkeypatch, None)
    index = IndexInMemory(MemorySource(described("demo", "*Usage*")))
    page = index.get("/project/demo/", headers=HTML).text
    assert "*Usage*" in page
    assert "it is not rendered yet" in page
    renderer.html = "<em>Usage</em>"
    other = IndexInMemory(MemorySource(described("demo", "*Usage*")))
    page = other.get("/project/demo/", headers=HTML).text
    assert "<em>Usage</em>" in page
    assert "not rendered yet" not in page


def test_a_description_is_rendered_once_for_all_pages_that_have_it(monkeypatch: pytest.MonkeyPatch):
    renderer = Renderer(monkeypatch, "<p>x")
    index = IndexInMemory(MemorySource(described("demo", "*x*")))
    index.get("/project/demo/", headers=HTML)
    index.get("/project/demo/1.0/", headers=HTML)
    index.source.add(make_wheel("demo", "0.9"))
    index.get("/project/demo/", headers=HTML)
    assert renderer.asked == 1


# -- The program


def program(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    path = folder / "program.py"
    path.write_text(text)
    monkeypatch.setattr("twisted_index.web.pages.description._PROGRAM", path)


def test_a_wait_that_is_too_long_is_told_from_an_end_that_the_program_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("twisted_index.web.pages.description._PATIENCE", 0.2)
    program(monkeypatch, tmp_path, "import signal; signal.pause()")
    assert rendered_html("*x*", MARKDOWN) is None
    program(monkeypatch, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)")
    monkeypatch.setattr("twisted_index.web.pages.description._PATIENCE", 20)
    assert rendered_html("*x*", MARKDOWN) == ""


def test_it_is_less_urgent_than_the_server():
    code = "import os; from twisted_index.web.pages._rendering import _limit; _limit(); print(os.nice(0))"
    shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert int(shown.stdout) == min(os.nice(0) + 10, 19)


# -- A server whose renderer does not come to an end

#: Waits until nobody holds the lock.
STUCK = """
import fcntl, sys
with open({lock!r}) as file:
    fcntl.flock(file, fcntl.LOCK_SH)
sys.stdout.write("<p>rendered at last")
"""
SLOW = [f"slow-{number}" for number in range(20)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConfiguredServer]:
    server = ConfiguredServer(tmp_path)
    for name in (*SLOW, "quick"):
        text = f"*Usage of {name}*" if name != "quick" else ""
        described(name, text).write_to(tmp_path / "packages" / name)
    server.start("upload = true\nanonymous-upload = true\n[limits]\nthreads = 1\n")
    yield server
    server.stop()


def test_twenty_slow_descriptions_delay_neither_pages_nor_uploads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: ConfiguredServer
):
    lock = tmp_path / "lock"
    program(monkeypatch, tmp_path, STUCK.format(lock=str(lock)))
    with open(lock, "w") as held, ThreadPoolExecutor(len(SLOW)) as visitors:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            visits = [visitors.submit(server.visit, f"/project/{name}/") for name in SLOW]
            for name in SLOW:
                assert server.ask(f"/simple/{name}/")[0] == 200
            assert server.ask("/project/quick/")[0] == 200
            made = make_wheel("new", "1.0")
            assert server.ask("/legacy/", upload_form(made.content, made.filename))[0] == 200
            for name, visit in zip(SLOW, visits, strict=True):
                status, page = visit.result(60)
                assert status == 200
                assert f"*Usage of {name}*".encode() in page
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)
    for name in SLOW:
        assert server.becomes(f"/project/{name}/", lambda answer: b"rendered at last" in answer[1])
