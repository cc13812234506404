"""Documents of the legacy JSON API, asked of a source."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_index.errors import Unavailable
from twisted_index.interfaces import FileBody
from twisted_index.simple.model import Sidecar, Status
from twisted_index.testing import MemorySource, make_sdist, make_wheel
from twisted_index.testing.in_memory import SynchronousRunner
from twisted_index.web.views.legacy_json_document import LegacyDocument, legacy_document

WHEEL = make_wheel("demo", "1.0", requires=["attrs"])
NEWER = make_sdist("demo", "2.0", requires_python=">=3.9")


def ask(source: Any, *about: Any, **more: Any) -> dict[str, Any] | None:
    outcome: list[Any] = []
    Deferred.fromCoroutine(legacy_document(source, *about, **more)).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    document: dict[str, Any] | None = None if outcome[0] is None else json.loads(outcome[0].body)
    return document


def test_a_project_says_what_the_metadata_of_its_latest_wheel_says():
    document = ask(MemorySource(WHEEL), "demo")
    assert document is not None
    assert document["info"]["requires_dist"] == ["attrs"]
    assert set(document["releases"]) == {"1.0"}


def test_a_release_without_a_wheel_says_what_the_page_says():
    document = ask(MemorySource(WHEEL, NEWER), "demo")
    assert document is not None
    assert document["info"]["version"] == "2.0"
    assert document["info"]["requires_python"] == ">=3.9"
    assert document["info"]["requires_dist"] is None


def test_a_release_is_found_in_any_spelling():
    document = ask(MemorySource(WHEEL, NEWER), "demo", "1.0.0", base_url="https://index.test")
    assert document is not None
    assert document["info"]["version"] == "1.0"
    assert document["info"]["requires_dist"] == ["attrs"]
    assert document["urls"][0]["url"] == f"https://index.test/simple/demo/{WHEEL.filename}"


def test_what_is_not_there_is_nothing():
    source = MemorySource(WHEEL)
    assert ask(source, "other") is None
    assert ask(source, "demo", "3.0") is None
    source.set_status("demo", Status.QUARANTINED)
    assert ask(source, "demo") is None
    assert ask(source, "demo", "1.0") is None


def test_a_source_that_cannot_tell_is_no_absence():
    source = MemorySource(WHEEL)
    source.failure = Unavailable("Not now.")
    with pytest.raises(Unavailable):
        ask(source, "demo")


class Waiting:
    """A file that is still coming."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.arrived: Deferred[int] = Deferred()
        self.closed = False

    def wait_for(self, position: int) -> Deferred[int]:
        return self.arrived

    def read(self, position: int, size: int) -> bytes:
        return self.content[position : position + size]

    def wait_complete(self) -> Deferred[None]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


class Elsewhere(MemorySource):
    """A source whose metadata comes in another form."""

    content: Any = None

    def open_file(self, project: str, filename: str, sidecar: Sidecar | None = None) -> FileBody | None:
        if sidecar is not Sidecar.METADATA or self.content is None:
            return None
        return FileBody(content=self.content, size=len(WHEEL.metadata), sha256=None, modified=0.0)


def test_metadata_in_an_open_file_is_read_and_closed():
    source = Elsewhere(WHEEL)
    source.content = io.BytesIO(WHEEL.metadata)
    document = ask(source, "demo")
    assert document is not None
    assert document["info"]["requires_dist"] == ["attrs"]
    assert source.content.closed


def test_metadata_that_is_still_coming_is_waited_for_and_closed():
    source = Elsewhere(WHEEL)
    source.content = waiting = Waiting(WHEEL.metadata)
    outcome: list[LegacyDocument | None] = []
    Deferred.fromCoroutine(legacy_document(source, "demo")).addCallback(outcome.append)
    assert outcome == []
    waiting.arrived.callback(len(WHEEL.metadata))
    assert outcome[0] is not None
    assert json.loads(outcome[0].body)["info"]["requires_dist"] == ["attrs"]
    assert waiting.closed


def test_metadata_that_will_never_come_is_no_page_without_it():
    source = Elsewhere(WHEEL)
    source.content = waiting = Waiting(WHEEL.metadata)
    waiting.arrived.errback(Unavailable("The upstream is gone."))
    with pytest.raises(Unavailable):
        ask(source, "demo")
    assert waiting.closed


def test_metadata_that_went_away_meanwhile_is_done_without():
    document = ask(Elsewhere(WHEEL), "demo")
    assert document is not None
    assert document["info"]["requires_dist"] is None
    assert document["info"]["version"] == "1.0"


def test_a_large_document_is_written_in_a_thread():
    class Counting(SynchronousRunner):
        runs = 0

        def run(self, *work: Any, **more: Any) -> Any:
            self.runs += 1
            return super().run(*work, **more)

    worker = Counting()
    small = MemorySource(WHEEL)
    large = MemorySource(*(make_wheel("demo", f"{number}.0") for number in range(501)))
    assert ask(small, "demo", worker=worker) == ask(small, "demo")
    assert worker.runs == 0
    assert ask(large, "demo", worker=worker) == ask(large, "demo")
    assert worker.runs == 1
