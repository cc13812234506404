"""What is listed has been proven; what was there before the server is proven soon after it was asked for."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute, maybeDeferred, succeed

from tests.kit.at_once import answer
from tests.kit.folder_source import Folder, Times
from twisted_index.backends.folder import inspection_scheduler as scheduler
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.files.stamps import StatValidator
from twisted_index.testing import make_sdist, make_wheel

#: More than is verified at the first inspection.
FILLING = "x" * 100_000
WHEEL = make_wheel("demo", "1.0", files={"demo/data": FILLING}, compress=False)
#: Its directory and its METADATA are right; one member is not.
DAMAGED = WHEEL.content.replace(FILLING.encode(), bytes(len(FILLING)))
OTHER = make_wheel("demo", "2.0", compress=False)


class Later:
    """A worker whose calls are done one by one, at the test's command."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.waiting.append(lambda: execute(function, *args, **kwargs).chainDeferred(result))
        return result

    def stop(self) -> Deferred[None]:
        self.waiting.clear()
        return succeed(None)

    def finish(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


@pytest.fixture
def old(times: Times) -> StatValidator:
    """The freshness of a server that starts an hour after all that lies there was written."""
    return StatValidator(stat=times.stat, monotonic=times.clock.seconds, wall=lambda: time.time() + 3600)


def served(folder: Folder) -> dict[str, str]:
    """Give what the page says now, without a look that a question alone would cause."""
    page = folder.page("demo")
    assert page is not None
    return {file.filename: file.hashes["sha256"] for file in page.files}


class TestWhatComesWhileTheServerRuns:
    def test_a_damaged_wheel_is_never_listed_however_long_it_rests(self, folder: Folder):
        WHEEL.write_to(folder.path / "demo").write_bytes(DAMAGED)
        for _ in range(5):
            assert served(folder) == {}
            folder.later(2.1)
        reason = "The file's member demo/data is damaged, or was copied only in part."
        assert folder.problems() == {f"demo/{WHEEL.filename}": reason}

    def test_a_refusal_that_has_settled_is_not_looked_into_again(self, folder: Folder, monkeypatch):
        WHEEL.write_to(folder.path / "demo").write_bytes(DAMAGED)
        served(folder)
        folder.later()
        served(folder)
        monkeypatch.setattr(scheduler, "inspect", lambda *_a, **_k: pytest.fail("it was read again"))
        folder.later()
        assert served(folder) == {}

    def test_a_damaged_wheel_that_nobody_asked_for_while_it_was_young_is_not_listed_either(
        self, tmp_path: Path, times: Times, serve
    ):
        now = [time.time() - 100]
        fresh = StatValidator(stat=times.stat, monotonic=times.clock.seconds, wall=lambda: now[0])
        folder = serve(tmp_path, validator=fresh)
        WHEEL.write_to(tmp_path / "demo").write_bytes(DAMAGED)
        now[0] += 200
        assert served(folder) == {}

    def test_a_preallocated_copy_is_listed_with_the_digest_of_the_whole_and_no_other(self, folder: Folder):
        """Head and tail are written, then comes a pause that is longer than any clock's tick."""
        path = WHEEL.write_to(folder.path / "demo")
        path.write_bytes(DAMAGED)
        assert served(folder) == {}
        folder.later(3.5)
        assert served(folder) == {}
        with path.open("r+b") as file:
            file.seek(DAMAGED.index(bytes(100)))
            file.write(FILLING.encode())
        folder.later()
        assert served(folder) == {WHEEL.filename: WHEEL.sha256}

    def test_a_damaged_wheel_that_joins_a_known_project_is_not_taken_for_old_whatever_its_times_say(
        self, tmp_path: Path, serve, old: StatValidator
    ):
        """As on a file server whose clock is behind ours."""
        OTHER.write_to(tmp_path / "demo")
        folder = serve(tmp_path, validator=old)
        assert served(folder) == {OTHER.filename: OTHER.sha256}
        WHEEL.write_to(tmp_path / "demo").write_bytes(DAMAGED)
        assert served(folder) == {OTHER.filename: OTHER.sha256}

    def test_a_damaged_file_with_an_old_date_is_not_taken_for_old(self, folder: Folder, tmp_path: Path):
        (folder.path / "demo").mkdir()
        (tmp_path / "damaged").write_bytes(DAMAGED)
        os.utime(tmp_path / "damaged", (1_600_000_000, 1_600_000_000))
        (tmp_path / "damaged").rename(folder.path / "demo" / WHEEL.filename)
        assert served(folder) == {}
        folder.later()
        assert served(folder) == {}

    def test_a_good_file_that_is_overwritten_in_place_by_a_damaged_one_leaves(self, folder: Folder):
        path = WHEEL.write_to(folder.path / "demo")
        assert served(folder) == {WHEEL.filename: WHEEL.sha256}
        folder.later()
        path.write_bytes(DAMAGED)
        folder.later()
        assert served(folder) == {}

    def test_a_plain_tar_has_only_its_rest_to_show(self, folder: Folder):
        sdist = make_sdist("demo", "1.0", extension=".tar")
        sdist.write_to(folder.path / "demo")
        assert served(folder) == {}
        folder.later()
        assert served(folder) == {sdist.filename: sdist.sha256}


class TestARestart:
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> str:
        return str(tmp_path / "state" / "ledger.sqlite")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        WHEEL.write_to(tmp_path / "root" / "demo").write_bytes(DAMAGED)
        return tmp_path / "root"

    def test_a_young_refusal_is_remembered(self, root: Path, ledger: str, old: StatValidator, serve):
        assert served(serve(root, cache=InspectionCache(ledger))) == {}
        folder = serve(root, cache=InspectionCache(ledger), validator=old)
        assert served(folder) == {}
        folder.later()
        assert served(folder) == {}

    def test_a_proof_is_remembered(self, root: Path, ledger: str, old: StatValidator, serve, monkeypatch):
        WHEEL.write_to(root / "demo")
        assert served(serve(root, cache=InspectionCache(ledger), validator=old)) == {
            WHEEL.filename: WHEEL.sha256
        }
        monkeypatch.setattr(scheduler, "inspect", lambda *_a, **_k: pytest.fail("it was read again"))
        assert served(serve(root, cache=InspectionCache(ledger), validator=old)) == {
            WHEEL.filename: WHEEL.sha256
        }

    def test_what_was_not_proven_before_it_is_proven_after_it(
        self, root: Path, ledger: str, old: StatValidator, serve
    ):
        reader = Later()
        before = serve(root, cache=InspectionCache(ledger), validator=old, reader=reader)
        asked = ask(before)
        while not asked:
            reader.waiting.pop(0)()
        answer(before.source.stop)

        after = serve(root, cache=InspectionCache(ledger), validator=old)
        served(after)
        assert served(after) == {}

    def test_a_repaired_file_is_listed(self, root: Path, ledger: str, serve):
        assert served(serve(root, cache=InspectionCache(ledger))) == {}
        WHEEL.write_to(root / "demo")
        assert served(serve(root, cache=InspectionCache(ledger))) == {WHEEL.filename: WHEEL.sha256}


def ask(folder: Folder) -> list[Any]:
    answers: list[Any] = []
    maybeDeferred(folder.source.project_page, "demo").addBoth(answers.append)  # type: ignore[arg-type]
    return answers


class TestWhatWasThereBefore:
    @pytest.fixture
    def reader(self) -> Later:
        return Later()

    @pytest.fixture
    def folder(self, tmp_path: Path, old: StatValidator, serve, reader: Later) -> Folder:
        WHEEL.write_to(tmp_path / "demo").write_bytes(DAMAGED)
        OTHER.write_to(tmp_path / "demo")
        folder = serve(tmp_path, validator=old, reader=reader)
        assert isinstance(folder, Folder)
        return folder

    def look(self, folder: Folder, reader: Later) -> Any:
        """Ask for the page, doing no more work than its answer takes."""
        asked = ask(folder)
        while not asked:
            reader.waiting.pop(0)()
        return asked[0]

    def names(self, folder: Folder, reader: Later) -> list[str]:
        return [file.filename for file in self.look(folder, reader).value.files]

    def test_it_is_listed_at_once(self, folder: Folder, reader: Later):
        assert self.names(folder, reader) == [WHEEL.filename, OTHER.filename]

    def test_a_small_one_is_proven_before_it_is_listed(self, folder: Folder, reader: Later):
        """It is in memory as a whole, so that its members are checked by the same reading."""
        content = OTHER.content.replace(b"Wheel-Version", b"Wheel-Wersion")
        assert content != OTHER.content
        OTHER.write_to(folder.path / "demo").write_bytes(content)
        assert self.names(folder, reader) == [WHEEL.filename]

    def test_what_is_damaged_leaves_the_page_soon_and_says_why(self, folder: Folder, reader: Later):
        self.names(folder, reader)
        reader.finish()
        assert self.names(folder, reader) == [OTHER.filename]
        problems: list[Any] = []
        folder.source.problems().addCallback(problems.append)
        reader.finish()
        assert [problem.path for problem in problems[0].problems] == [f"demo/{WHEEL.filename}"]

    def test_a_page_without_a_damaged_file_stays_as_it_is(self, folder: Folder, reader: Later):
        WHEEL.write_to(folder.path / "demo")
        snapshot = self.look(folder, reader)
        reader.finish()
        assert self.look(folder, reader) is snapshot

    def test_a_damaged_file_cannot_be_fetched_after_its_proof_though_only_it_was_asked_for(
        self, folder: Folder, reader: Later
    ):
        for expected in (False, True):
            bodies: list[Any] = []
            Deferred.fromCoroutine(folder.source.open_file("demo", WHEEL.filename)).addBoth(bodies.append)
            reader.finish()
            assert (bodies[0] is None) is expected
            if bodies[0] is not None:
                bodies[0].content.close()

    def test_the_file_of_the_next_root_takes_its_place(
        self, tmp_path: Path, old: StatValidator, serve, reader: Later
    ):
        WHEEL.write_to(tmp_path / "first" / "demo").write_bytes(DAMAGED)
        WHEEL.write_to(tmp_path / "second" / "demo")
        folder = serve(tmp_path / "first", tmp_path / "second", validator=old, reader=reader)
        self.look(folder, reader)
        reader.finish()
        assert [file.hashes["sha256"] for file in self.look(folder, reader).value.files] == [WHEEL.sha256]

    def test_a_disk_that_fails_during_the_proof_says_nothing_lasting(
        self, folder: Folder, reader: Later, monkeypatch
    ):
        WHEEL.write_to(folder.path / "demo")
        self.look(folder, reader)
        with monkeypatch.context() as failing:
            failing.setattr("twisted_index.backends.layout.archive_facts.check_wheel_members", fail_to_read)
            reader.finish()
        # The small one was proven when it was first read.
        assert self.names(folder, reader) == [OTHER.filename]
        folder.later()
        assert self.names(folder, reader) == [WHEEL.filename, OTHER.filename]

    def test_a_server_that_is_short_of_means_proves_it_later(
        self, folder: Folder, reader: Later, monkeypatch
    ):
        snapshot = self.look(folder, reader)
        with monkeypatch.context() as short:
            short.setattr("twisted_index.backends.folder.inspection.open_regular_file", run_out)
            reader.finish()
        assert self.look(folder, reader) is snapshot
        folder.later(5)
        reader.finish()
        assert self.names(folder, reader) == [OTHER.filename]

    def test_a_server_that_stops_has_nothing_left_to_do(self, folder: Folder, reader: Later):
        self.look(folder, reader)
        answer(folder.source.stop)
        assert reader.waiting == []
        assert folder.times.clock.getDelayedCalls() == []

    def test_an_idle_server_has_nothing_scheduled(self, folder: Folder, reader: Later):
        self.look(folder, reader)
        reader.finish()
        assert folder.times.clock.getDelayedCalls() == []


def fail_to_read(*_args: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def run_out(*_args: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")
